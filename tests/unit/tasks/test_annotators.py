"""Several annotators of one text: what counts, what is said, what is trained on."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from esm.common.errors import TaskError
from esm.report.tasks import agreement_notes, task_details
from esm.tasks.annotators import TIED, find_annotator
from esm.tasks.faults.describe import describe
from esm.tasks.guess.propose import propose
from esm.tasks.load import load_target, load_targets, load_task
from esm.tasks.spec import ColumnSpec, SplitMethod, SplitSpec, TaskSpec, Voting
from esm.tasks.task import Problem, SplitName

WORDS = "čaj med liek lekár správa rada dôkaz obrad mesto jedlo".split()  # noqa: SIM905


def sentence(number):
    return f"{WORDS[number % 10]} a {WORDS[(3 * number) % 10]} podľa správy číslo {number}"


def save(path, rows, header=("text", "anotátor", "postoj")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def spec_of(path, **more):
    given = {"text": "text", "attributes": ("postoj",)}
    columns = {"postoj": ColumnSpec(kind="classification")}
    return TaskSpec(location=str(path), **(given | {"columns": columns} | more))


FOLDS = SplitSpec(method=SplitMethod.K_FOLD, folds=2)
# Three people, thirty texts: the first twenty are clear, of the others each third one is tied.
VOTES = [
    (number, person, label)
    for number in range(30)
    for person, label in (
        ("ana", "áno" if number % 2 else "nie"),
        ("ben", "áno" if number % 2 else "nie"),
        ("eva", "áno"),
    )
    if not (number >= 20 and person == "ben")
]


@pytest.fixture
def votes(tmp_path):
    return save(tmp_path / "a.csv", [(sentence(n), who, label) for n, who, label in VOTES])


def test_the_label_of_most_counts_and_ties_have_none(votes, caplog):
    (fold, _) = load_targets(spec_of(votes, split=FOLDS))
    task = fold.attributes["postoj"]
    labels = {
        text: task.label_names[label]
        for rows in task.splits.values()
        for text, label in zip(rows.texts, rows.labels, strict=True)
    }
    # From 20 on ben is missing: where ana says no, eva's yes makes a tie.
    assert labels == {sentence(n): "áno" if n % 2 else "nie" for n in range(30) if n < 20 or n % 2}
    assert task.dropped == {TIED: 5}
    said = " ".join(caplog.messages)
    assert (
        "a: 80 annotations by 3 people in column 'anotátor' are 30 texts; no majority, so no label:"
        ' postoj 5; voting = "majority", one of majority, soft, separate'
    ) in said


def test_agreement_is_described_and_shown(votes):
    described = describe(load_target(spec_of(votes, split=FOLDS)))
    agreement = described["attributes"]["postoj"]["agreement"]
    assert (agreement["annotators"], agreement["texts"], agreement["ties"]) == (3, 30, 5)
    # By hand: 80 values, 55 yes and 25 no; disagreeing pairs: of 10 texts with three votes 4 of 6
    # ordered pairs (each weighted 1/2), of 5 with two votes 2: D_o = (10*4/2 + 5*2)/80 = 0.375;
    # D_e = 2*55*25/(80*79).
    alpha = 1 - 0.375 / (2 * 55 * 25 / (80 * 79))
    assert agreement["alpha"] == pytest.approx(alpha)
    (table,) = task_details(described)
    assert (
        f"agreement of 3 annotators: Krippendorff's alpha {alpha:.2f} (nominal) over 30 texts that"
        " several annotated; 5 have no majority"
    ) in table.notes
    assert any("below 0.667, Krippendorff (2004) calls conclusions" in note for note in table.notes)


def test_notes_on_agreement_without_a_value():
    assert agreement_notes(None) == []
    found = {
        "alpha": None, "level": "nominal", "annotators": 2, "texts": 4, "ties": 0, "repeated": 3,
        "why_none": "all annotations are the same",
    }  # fmt: skip
    first, second = agreement_notes(found)
    assert "alpha none (all annotations are the same) over 4 texts" in first
    assert second == "3 annotations came again from the same person: the last counts"


def test_soft_labels_train_on_every_vote_and_are_judged_by_most(votes):
    hard = load_targets(spec_of(votes, split=FOLDS))
    soft = load_targets(spec_of(votes, split=FOLDS, voting=Voting.SOFT))
    for before, after in zip(hard, soft, strict=True):
        old, new = before.attributes["postoj"], after.attributes["postoj"]
        assert new.test.texts == old.test.texts
        assert np.array_equal(new.test.labels, old.test.labels)
        expected = {}
        for text in old.train.texts:
            number = int(text.split()[-1])
            expected[text] = sorted(label for n, _, label in VOTES if n == number)
        found = {}
        for text, label in zip(new.train.texts, new.train.labels, strict=True):
            found.setdefault(text, []).append(new.label_names[label])
        assert {text: sorted(labels) for text, labels in found.items()} == expected
        assert new.content_hash() != old.content_hash()


def test_annotations_can_stay_rows_of_their_own(votes):
    target = load_target(spec_of(votes, split=FOLDS, voting=Voting.SEPARATE))
    assert len(target.attributes["postoj"].train) == 80
    assert target.attributes["postoj"].agreement is None


def test_one_text_is_on_one_side_of_a_hold_out(votes):
    task = load_task(spec_of(votes, split=SplitSpec(method=SplitMethod.STRATIFIED)))
    assert not set(task.train.texts) & set(task.test.texts)
    assert len(task.train) + len(task.test) == 25


def test_who_annotated_is_found_and_proposed(votes):
    proposal = propose(votes)
    assert proposal.spec.annotator == "anotátor"
    assert "several people annotated the same texts" in proposal.reasons["annotator"]
    assert find_annotator({"text": ["a", "b"], "anotátor": ["x", "y"]}, ["text"]) is None
    assert find_annotator({"text": ["a", "a"], "anotátor": ["x", None]}, ["text"]) is None
    assert find_annotator({"text": ["a", "a"], "kto": ["x", "y"]}, ["text"]) is None
    pairs = {"text": ["a", "a"], "text_pair": ["b", "c"], "coder": ["x", "y"]}
    assert find_annotator(pairs, ["text", "text_pair"]) is None
    assert find_annotator(pairs, ["text"]) == "coder"


def test_a_named_column_needs_no_telling_name(tmp_path):
    rows = [(sentence(n), who, "áno" if n % 2 else "nie") for n in range(10) for who in "xyz"]
    path = save(tmp_path / "a.csv", rows, ("text", "kto", "postoj"))
    task = load_task(spec_of(path, annotator="kto", split=FOLDS))
    assert (len(task.train), task.agreement.alpha) == (10, 1.0)
    with pytest.raises(TaskError, match="no column 'niekto' in the training rows"):
        load_task(spec_of(path, annotator="niekto", split=FOLDS))


def test_the_same_person_again_and_rows_without_a_person(tmp_path):
    rows = [(sentence(n), "ana", "áno") for n in range(8)]
    rows += [(sentence(n), "ana", "nie") for n in range(4)]  # changed her mind
    rows += [(sentence(0), "", "nie"), (sentence(1), "ben", "nie")]
    task = load_task(spec_of(save(tmp_path / "a.csv", rows), split=FOLDS))
    labels = dict(zip(task.train.texts, task.train.labels, strict=True))
    assert [task.label_names[labels[sentence(n)]] for n in range(8)] == ["nie"] * 4 + ["áno"] * 4
    assert (task.agreement.repeated, task.agreement.annotators) == (4, 2)


def test_amounts_are_means_and_labels_of_sets_hold_by_more_than_half(tmp_path, caplog):
    rows = []
    for n in range(10):
        rows += [(sentence(n), "ana", n % 3 + 0.5, "a;b"), (sentence(n), "ben", n % 3 + 1, "a;c")]
        rows += [(sentence(n), "eva", n % 3, "c")] if n % 2 else []
    path = save(tmp_path / "a.csv", rows, ("text", "coder", "škoda", "témy"))
    columns = {
        "škoda": ColumnSpec(kind="regression"),
        "témy": ColumnSpec(kind="multi-label", separator=";"),
    }
    spec = spec_of(path, attributes=("škoda", "témy"), columns=columns, split=FOLDS)
    target = load_target(spec)
    harm, topics = target.attributes.values()
    assert harm.train.labels.tolist() == [n % 3 + (0.5 if n % 2 else 0.75) for n in range(10)]
    chosen = [
        [name for name, holds in zip(topics.label_names, row, strict=True) if holds]
        for row in topics.train.labels
    ]
    assert chosen == [["a", "c"] if n % 2 else ["a"] for n in range(10)]
    said = " ".join(caplog.messages)
    assert "labels with half of the votes do not hold: témy 5" in said
    assert (harm.agreement.level, topics.agreement.level) == ("interval", "MASI")
    soft = load_target(spec.model_copy(update={"voting": Voting.SOFT}))
    assert soft.attributes["škoda"].train.labels[:2].tolist() == [0.5, 1.0]
    # What most never chose, here b, is no label.
    assert soft.attributes["témy"].train.labels[:2].tolist() == [[1, 0], [1, 1]]
    assert len(soft.attributes["témy"].train) == 25


def test_tags_by_most_annotators(tmp_path):
    import json

    rows = [
        {"text": ["Jana", "Nová", f"spí{n}"], "annotator": who, "tags": tags}
        for n in range(6)
        for who, tags in (
            ("a", ["B-X", "I-X", "O"]),
            ("b", ["B-X", "I-X", "O"]),
            ("c", ["B-X", "O", "O"]),
        )
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    columns = {"tags": ColumnSpec(kind="tagging")}
    spec = spec_of(path, attributes=("tags",), columns=columns, split=FOLDS, voting="soft")
    task = load_task(spec)
    assert task.problem is Problem.TAGGING
    assert len(task.train) == 6  # votes on tags are not trained on
    assert {task.label_names[code] for code in task.train.labels[0]} == {"B-X", "I-X", "O"}
    assert task.agreement.texts == 6


def test_a_given_test_file_is_merged_too(tmp_path, votes):
    test = save(
        tmp_path / "t.csv",
        [("iná správa o čaji", who, "áno") for who in ("ana", "ben")]
        + [("ďalšia správa o mede", "ana", "nie")],
    )
    task = load_task(spec_of(votes, test=str(test)))
    assert len(task.splits[SplitName.TEST]) == 2


def test_a_text_in_several_groups(tmp_path):
    rows = [
        (sentence(n // 2), who, "áno" if n % 3 else "nie", n) for n in range(20) for who in "ab"
    ]
    path = save(tmp_path / "a.csv", rows, ("text", "coder", "postoj", "autor"))
    split = SplitSpec(method=SplitMethod.GROUPED, group="autor")
    with pytest.raises(TaskError, match=r"'autor' has several values for 10 texts.*\"separate\""):
        load_task(spec_of(path, split=split))


def test_long_files_of_several_annotators(tmp_path):
    rows = [
        (sentence(n), who, name, "áno" if (n + (who == "b" and n == 0)) % 2 else "nie")
        for n in range(10)
        for who in "abc"
        for name in ("postoj", "lož")
    ]
    path = save(tmp_path / "a.csv", rows, ("text", "coder", "čo", "hodnota"))
    spec = TaskSpec(
        location=str(path), text="text", attribute_column="čo", value_column="hodnota",
        annotator="coder", split=FOLDS,
    )  # fmt: skip
    target = load_target(spec)
    assert [len(task.train) for task in target.attributes.values()] == [10, 10]
    assert target.attributes["lož"].agreement.annotators == 3
    rows[0] = (rows[0][0], "", *rows[0][2:])
    save(path, rows, ("text", "coder", "čo", "hodnota"))
    with pytest.raises(TaskError, match="1 rows of a do not say in column 'coder' who annotated"):
        load_target(spec)


def test_no_answer_is_no_vote_and_merged_labels_are_one(tmp_path):
    rows = []
    for n in range(10):
        label = "áno" if n % 2 else "nie"
        rows += [(sentence(n), "ana", label), (sentence(n), "ben", "neviem")]
        rows += [(sentence(n), "eva", "určite áno" if n % 2 else "neviem")]
    path = save(tmp_path / "a.csv", rows)
    how = ColumnSpec(kind="classification", missing=("neviem",), merge={"určite áno": "áno"})
    task = load_task(spec_of(path, columns={"postoj": how}, split=FOLDS))
    assert len(task.train) == 10
    assert task.dropped == {}
    assert (task.agreement.texts, task.agreement.why_none) == (5, "all annotations are the same")


def test_a_long_file_of_several_annotators_is_proposed_as_such(tmp_path):
    rows = [
        (sentence(n), who, name, "áno" if (n + (who == "b")) % 2 else "nie")
        for n in range(12)
        for who in "ab"
        for name in ("postoj", "lož")
    ]
    path = save(tmp_path / "a.csv", rows, ("text", "coder", "attribute", "value"))
    spec = propose(path).spec
    assert (spec.annotator, spec.attribute_column, spec.value_column) == (
        "coder",
        "attribute",
        "value",
    )
    assert {how.kind for how in spec.columns.values()} == {"classification"}
