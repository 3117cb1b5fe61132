"""What results say of their rows; every count follows from the tables as written here."""

import csv

import pytest

from esm.common.errors import TaskError
from esm.tasks.faults.findings import FindingKind
from esm.tasks.faults.inspect import inspect_target
from esm.tasks.faults.labels import data_notes, untested_classes
from esm.tasks.load import load_target, load_targets
from esm.tasks.spec import SplitSpec, TaskSpec

N = 60


def write(path, labels, kind="text"):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "verdict"])
        writer.writerows([f"{kind} číslo {row} je tu", label] for row, label in enumerate(labels))
    return path


def target_of(tmp_path, train, test):
    train = write(tmp_path / "train.csv", train)
    test = write(tmp_path / "test.csv", test, "skúška")
    return load_target(TaskSpec(location=str(train), test=str(test)))


def test_labels_that_no_training_row_has_are_named_with_what_they_look_like(tmp_path):
    train = ["reliable", "misleading"] * 30
    test = ["reliable"] * 10 + ["réliable"] * 28 + ["satire"] * 2 + ["misleading"] * 10
    target = target_of(tmp_path, train, test)
    assert data_notes([target]) == {
        "verdict": (
            "rows left out because no training row has their label: 30 of 50 test rows:"
            " réliable 28 (looks like 'reliable'), satire 2",
        )
    }
    finding = next(f for f in inspect_target(target) if f.kind is FindingKind.NOT_IN_TRAIN)
    assert (finding.attribute, finding.count) == ("verdict", 30)
    assert "say what it is under [columns.verdict.merge]" in finding.hint


def test_a_class_without_test_rows_is_named(tmp_path):
    target = target_of(tmp_path, ["a", "b", "c"] * 20, ["a", "b"] * 10)
    assert untested_classes([target]) == {"verdict": ("c",)}
    assert data_notes([target])["verdict"] == (
        "classes without a test row: 1 of 3; in train: c 20; scores say nothing of them",
    )


def test_spellings_and_no_answers_are_counted(tmp_path):
    train = ["áno", "nie", "A\u0301NO", "neviem"] * 15
    target = target_of(tmp_path, train, ["áno", "nie\u200b"] * 10)
    notes = data_notes([target])["verdict"]
    assert notes == (
        "rows left out because their label stands for no answer: 15, namely neviem 15",
        "rows whose label is another spelling of a class: 25; read A\u0301NO as áno 15,"
        " 'nie\\u200b' as nie 10",
    )
    hint = next(f.hint for f in inspect_target(target) if f.kind is FindingKind.NO_ANSWER)
    assert hint == "where one of them is a class, take it out of missing under [columns.verdict]"


def test_classes_that_look_alike_are_named_and_can_be_merged(tmp_path):
    # The second one begins with a Cyrillic letter.
    labels = ["ano", "\u0430no", "nie"] * 20
    target = target_of(tmp_path, labels, labels)
    assert data_notes([target])["verdict"] == (
        "classes that look alike: ano 20, \u0430no 20 training rows",
    )
    finding = next(f for f in inspect_target(target) if f.kind is FindingKind.LOOK_ALIKES)
    assert '"\u0430no" = "ano" under [columns.verdict.merge]' in finding.hint


def test_nothing_is_said_where_all_is_well(tmp_path):
    target = target_of(tmp_path, ["a", "b"] * 30, ["a", "b"] * 10)
    assert data_notes([target]) == {"verdict": ()}
    assert untested_classes([target]) == {"verdict": ()}


def test_in_folds_every_row_is_a_test_row_once(tmp_path):
    path = write(tmp_path / "train.csv", ["a", "b", "c"] * 20)
    spec = TaskSpec(location=str(path), split=SplitSpec(method="k-fold"))
    folds = load_targets(spec)
    assert data_notes(folds) == {"verdict": ()}
    assert untested_classes(folds) == {"verdict": ()}


def test_a_test_of_other_labels_alone_says_which(tmp_path):
    target = target_of(tmp_path, ["a", "b"] * 30, ["c"] * 10)
    with pytest.raises(TaskError, match=r"no test rows: no training row has the label .* \(c\)"):
        _ = target.attributes["verdict"].test
