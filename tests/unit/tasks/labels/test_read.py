import numpy as np
import pytest

from esm.common.errors import TaskError
from esm.tasks.labels.read import read_labels
from esm.tasks.raw import LabelColumn
from esm.tasks.spec import ColumnSpec
from esm.tasks.task import Problem, SplitName

TRAIN, TEST = SplitName.TRAIN, SplitName.TEST


def labels_of(train, test=None, known=None, **options):
    splits = {TRAIN: train} if test is None else {TRAIN: train, TEST: test}
    return read_labels("x", splits, known or LabelColumn(), **options)


@pytest.mark.parametrize(
    ("values", "problem", "names"),
    [
        (["b", "a", "b"], Problem.CLASSIFICATION, ("a", "b")),
        ([True, False], Problem.CLASSIFICATION, ("False", "True")),
        ([10, 9, 10], Problem.CLASSIFICATION, ("9", "10")),
        ([1.0, 0.0], Problem.CLASSIFICATION, ("0", "1")),
        ([True, 1, 1.0], Problem.CLASSIFICATION, ("1", "True")),
        (["1", 0], Problem.CLASSIFICATION, ("0", "1")),
        (list(range(20)), Problem.CLASSIFICATION, tuple(map(str, range(20)))),
        (list(range(21)), Problem.REGRESSION, ()),
        ([0.5, 1.0], Problem.REGRESSION, ()),
        ([["b", "a"], [], ["b"]], Problem.MULTILABEL, ("a", "b")),
        ([[2], [1, 2]], Problem.MULTILABEL, ("1", "2")),
    ],
)
def test_the_values_tell_the_problem(values, problem, names):
    labels = labels_of(values)
    assert (labels.problem, labels.names) == (problem, names)


def test_codes_of_each_problem():
    classes = labels_of(["b", "a", "b"])
    np.testing.assert_array_equal(classes.values[TRAIN], np.array([1, 0, 1]))
    assert classes.values[TRAIN].dtype == np.int64
    amounts = labels_of([0.5, 2])
    np.testing.assert_array_equal(amounts.values[TRAIN], np.array([0.5, 2.0]))
    sets = labels_of([["b", "a"], [], ["b"]])
    np.testing.assert_array_equal(sets.values[TRAIN], np.array([[1.0, 1], [0, 0], [0, 1]]))


def test_rows_without_a_label_are_left_out_and_counted():
    labels = labels_of(["a", None, "b", " ", "nan"], [None, "a", "c", "c"])
    assert labels.rows[TRAIN].tolist() == [0, 2]
    assert labels.rows[TEST].tolist() == [1]
    assert labels.dropped == {"no label": 4, "label not in train": 2}
    amounts = labels_of([0.5, float("nan"), 1.5])
    assert amounts.rows[TRAIN].tolist() == [0, 2]
    assert amounts.dropped == {"no label": 1}


def test_a_label_set_with_a_label_not_in_train_is_left_out():
    labels = labels_of([["a"], ["b"]], [["a", "c"], ["a", "b"], None])
    assert labels.rows[TEST].tolist() == [1]
    assert labels.dropped == {"label not in train": 1, "no label": 1}


def test_only_train_decides_on_the_classes():
    assert labels_of([1, 2, 1], [3, 2.5, "x", 2]).rows[TEST].tolist() == [3]


def test_described_names_come_first_and_only_where_they_occur():
    known = LabelColumn(names=("low", "middle", "high"))
    assert labels_of(["high", "low", "odd"], known=known).names == ("low", "high", "odd")


def test_a_reading_maps_labels_and_leaves_rows_out():
    known = LabelColumn(
        names=("2_no", "1_yes", "unsure"),
        readings={"binary": {"1_yes": "yes", "2_no": "no", "unsure": None}},
    )
    labels = labels_of(["1_yes", "unsure", "2_no", None], ["unsure"], known, reading="binary")
    assert labels.names == ("no", "yes")
    assert labels.values[TRAIN].tolist() == [1, 0]
    assert labels.rows[TRAIN].tolist() == [0, 2]
    assert labels.dropped == {"no label": 1, "left out by the reading 'binary'": 2}


def test_a_kind_overrides_the_guess():
    assert labels_of([1, 2, 3], kind="regression").problem is Problem.REGRESSION
    assert labels_of(list(range(50)), kind="classification").problem is Problem.CLASSIFICATION
    assert labels_of(["1", "2.5"], kind="regression").values[TRAIN].tolist() == [1.0, 2.5]
    described = LabelColumn(problem=Problem.REGRESSION)
    assert labels_of([1, 2, 3], known=described).problem is Problem.REGRESSION


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([None, float("nan")], {}, "has no labels: all 2 training rows are empty, NaN"),
        (["a", "a", None], {}, "one class or value only in its 2 training rows; expected at lea"),
        ([0.5, 0.5], {}, "one class or value only"),
        ([["a"], ["a"]], {}, "one class or value only"),
        ([["a"], "b"], {}, "1 lists and 1 single values"),
        ([{"a": 1}, {"a": 2}], {}, "holds dict values"),
        ([[{"a": 1}], []], {}, "holds dict values"),
        ([f"a text {i}" for i in range(40)], {}, "40 distinct values in 40 rows: texts or ids"),
        (
            [f"a text {i}" for i in range(12)],
            {"kind": "classification"},
            "12 distinct values in 12 rows: texts or ids",
        ),
        (["a", "b"], {"kind": "parsing"}, "'parsing' of column 'x'; expected one of auto"),
        (["a", "b"], {"kind": "tagging"}, "holds single values, but tagging was asked for"),
        (["a", "b"], {"kind": "regression"}, "not finite numbers"),
        ([0.5, float("inf")], {}, "not finite numbers"),
        (["a", "b"], {"kind": "multi-label"}, "single values, but multi-label was asked"),
        (["a; b", "b"], {"kind": "multi-label"}, r"their separator under \[columns.x\]"),
        ([["a"], ["b"]], {"kind": "regression"}, "holds lists, but regression was asked for"),
        (["a", "b"], {"reading": "binary"}, "no reading 'binary'; expected one of as-is"),
    ],
)
def test_labels_that_cannot_be_used(values, options, message):
    with pytest.raises(TaskError, match=message):
        labels_of(values, **options)


def test_an_incomplete_reading():
    known = LabelColumn(readings={"binary": {"a": "yes"}})
    with pytest.raises(TaskError, match="does not say what 'b' is"):
        labels_of(["a", "b"], known=known, reading="binary")
    with pytest.raises(TaskError, match="no reading 'other'; expected one of as-is, binary"):
        labels_of(["a", "b"], known=known, reading="other")


# ------------------------------------------------------------------------- ordered and rare classes


def test_an_ordinal_column_has_ranks_in_the_order_asked_for():
    how = ColumnSpec(kind="ordinal", order=("nízka", "stredná", "vysoká"))
    labels = labels_of(["vysoká", "nízka", None, "stredná"], ["stredná", "iná"], how=how)
    assert (labels.problem, labels.names) == (Problem.ORDINAL, ("nízka", "stredná", "vysoká"))
    assert labels.values[TRAIN].tolist() == [2, 0, 1]
    assert labels.values[TRAIN].dtype == np.int64
    assert labels.rows[TEST].tolist() == [0]


def test_the_order_is_the_described_one_else_that_of_the_names():
    known = LabelColumn(names=("none", "some", "all"))
    assert labels_of(["all", "none"], known=known, kind="ordinal").names == ("none", "all")
    assert labels_of([10, 9, 2.0], kind="ordinal").names == ("2", "9", "10")
    assert labels_of(["3_high", "1_low"], kind="ordinal").names == ("1_low", "3_high")


def test_what_is_said_of_a_column_comes_before_what_is_said_of_all():
    how = ColumnSpec(kind="regression")
    assert labels_of([1, 2, 3], kind="classification", how=how).problem is Problem.REGRESSION
    assert labels_of([1, 2], kind="ordinal", how=ColumnSpec()).problem is Problem.ORDINAL


def test_a_label_without_a_place_on_the_scale_is_named():
    how = ColumnSpec(kind="ordinal", order=("low", "high"))
    message = r"order of the ordinal column 'x' has no place for huge, odd; expected every label"
    with pytest.raises(TaskError, match=message):
        labels_of(["low", "odd", "high", "huge"], how=how)
    assert labels_of(["low", "odd"], how=ColumnSpec(order=("odd",))).names == ("odd", "low")


def test_rows_of_rare_classes_are_left_out_and_counted_by_train_alone():
    how = ColumnSpec(min_per_class=2, rare="leave-out")
    labels = labels_of(["a", "b", "a", "c", "c"], ["b", "b", "b", "a", "z"], how=how)
    assert labels.names == ("a", "c")
    assert labels.values[TRAIN].tolist() == [0, 0, 1, 1]
    assert labels.rows[TEST].tolist() == [3]
    assert labels.dropped == {
        "class 'b' has too few training rows (1)": 4,
        "label not in train": 1,
    }


def test_rare_classes_are_merged_in_train_and_test():
    how = ColumnSpec(min_per_class=2, rare="merge")
    labels = labels_of(["a", "b", "a", "c"], ["b", "c", "a"], how=how)
    assert labels.names == ("a", "other")
    assert labels.values[TRAIN].tolist() == [0, 1, 0, 1]
    assert labels.values[TEST].tolist() == [1, 1, 0]
    assert labels.dropped == {}


@pytest.mark.parametrize(
    ("rule", "names", "train"),
    [
        ("leave-out", ("a", "b"), [[1, 0], [1, 1], [0, 1], [0, 0]]),
        ("merge", ("a", "b", "other"), [[1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_a_rare_label_of_a_set_costs_no_row(rule, names, train):
    how = ColumnSpec(min_per_class=2, rare=rule)
    labels = labels_of([["a"], ["a", "b", "c"], ["b"], ["d"]], [["d", "b"]], how=how)
    assert labels.names == names
    assert labels.values[TRAIN].tolist() == train
    assert labels.values[TEST].tolist() == [[0, 1, 1][: len(names)]]
    assert labels.dropped == {}


def test_amounts_have_no_rare_classes():
    how = ColumnSpec(kind="regression", min_per_class=5, rare="refuse")
    assert labels_of([1, 2], how=how).problem is Problem.REGRESSION


def test_values_that_are_no_amounts_are_counted_and_one_is_shown():
    values = {SplitName.TRAIN: [0.5, 1.5, 2.5, None], SplitName.TEST: ["n/a", float("inf"), 1.0]}
    with pytest.raises(
        TaskError, match=r"not finite numbers: 2 of 6, such as 'n/a'; .*empty those"
    ):
        read_labels("skóre", values, LabelColumn(), kind="regression")
