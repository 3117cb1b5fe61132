"""Tables of classes and confusions."""

from __future__ import annotations

from esm.report.classes import class_tables
from esm.report.table import plain
from esm.trials.lines import ArmResult
from esm.trials.results import AttributeResult, Validation
from tests.unit.report.test_results import validation


def with_confusions(names, confusions, means) -> Validation:
    """The validation of the other tables with these confusions, by source."""
    base = validation()
    found = base.attributes["harmful"]
    arms = tuple(
        ArmResult.model_validate(
            arm.model_dump()
            | {
                "mean": means[arm.source],
                "confusion": confusions[arm.source],
                "classes": [
                    {"name": name, "support": 4, "precision": 0.5, "recall": None, "f1": 0.125}
                    for name in names
                ],
            }
        )
        for arm in found.arms
    )
    changed = AttributeResult.model_validate(
        found.model_dump() | {"label_names": names, "arms": [arm.model_dump() for arm in arms]}
    )
    winner = max(means, key=lambda source: (means[source], source == "none"))
    return base.model_copy(
        update={"attributes": {"harmful": changed}, "winners": {"harmful": winner}}
    )


def test_the_best_arm_stands_beside_no_transfer():
    result = with_confusions(
        ("no", "yes"),
        {"none": [[3, 1], [2, 2]], "a": [[4, 0], [1, 3]]},
        {"none": 0.5, "a": 0.6},
    )
    classes, after_a, after_none = class_tables(result)
    assert classes.title == "posts/harmful: classes"
    assert list(classes.columns) == ["class", "after", "test rows", "precision", "recall", "F1"]
    assert classes.rows[2:] == [
        ("yes", "a", "4", "50.0", "-", "12.5"),
        ("yes", "none", "4", "50.0", "-", "12.5"),
    ]
    assert plain(after_a) == (
        "posts/harmful after a: test rows by true and predicted class, 3 runs\n"
        "true class  no  yes\n"
        "no           4    0\n"
        "yes          1    3\n"
    )
    assert after_none.rows == [("no", "3", "1"), ("yes", "2", "2")]


def test_no_transfer_stands_alone_where_it_is_the_best():
    confusions = {"none": [[3, 1], [2, 2]], "a": [[4, 0], [1, 3]]}
    tables = class_tables(with_confusions(("no", "yes"), confusions, {"none": 0.6, "a": 0.6}))
    assert [table.title.split(":")[0] for table in tables] == [
        "posts/harmful",
        "posts/harmful after none",
    ]


def test_labels_of_a_set_have_a_line_each():
    counts = [[[5, 1], [2, 4]], [[6, 0], [0, 6]]]
    confusions = {"none": counts, "a": counts}
    _, table = class_tables(with_confusions(("x", "y"), confusions, {"none": 0.6, "a": 0.5}))
    assert plain(table).splitlines()[1:] == [
        "label  rightly absent  wrongly found  missed  rightly found",
        "x                   5              1       2              4",
        "y                   6              0       0              6",
    ]


def test_amounts_have_no_tables():
    assert class_tables(validation()) == []
