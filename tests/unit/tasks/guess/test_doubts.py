"""Expected findings follow from the tables as written here."""

import csv

import pytest

from esm.tasks.guess.columns import unread_columns
from esm.tasks.load import load_target
from esm.tasks.raw import RawData
from esm.tasks.spec import ColumnSpec, TaskSpec
from esm.tasks.task import Problem, SplitName

TEXTS = [f"slovo číslo {row} je tu" for row in range(60)]
TABLE = {
    "text": TEXTS,
    "topic": ["jedlo", "liek"] * 30,
    "stars": [row / 10 + 0.05 for row in range(60)],
    "tags": ["a|b", "b", "c|a"] * 20,
    "id": [f"p{row:04}" for row in range(60)],
}


def test_what_is_left_out_or_taken_for_single_labels_is_named():
    raw = RawData(id="posts", splits={SplitName.TRAIN: TABLE})
    assert unread_columns(raw, ("text", None), ("topic", "tags")) == [
        "column 'stars' is left out, which may be an attribute (60 different numbers from 0.05 to"
        " 5.95 in 60 rows)",
        "column 'tags' is read as single labels, but 40 of 60 cells hold several labels between"
        " '|'",
    ]


def test_what_is_read_as_it_would_be_proposed_raises_no_doubt():
    table = {**TABLE, "tags": [["a", "b"], ["b"], []] * 20}
    raw = RawData(id="posts", splits={SplitName.TRAIN: table})
    assert unread_columns(raw, ("text",), ("topic", "stars", "tags")) == []


def test_lists_of_records_are_no_labels():
    raw = RawData(id="posts", splits={SplitName.TRAIN: {"text": TEXTS, "x": [[{"a": 1}]] * 60}})
    assert unread_columns(raw, ("text",), ()) == []


def test_of_many_rows_a_sample_is_looked_at():
    raw = RawData(id="posts", splits={SplitName.TRAIN: {"stars": [row / 8 for row in range(4001)]}})
    (said,) = unread_columns(raw, (), ())
    assert "1,334 different numbers from 0 to 499.875 in 1,334 rows; of 4,001, a sample" in said


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, True),
        ({"attributes": ("topic",)}, False),
        ({"kind": "classification"}, False),
        ({"columns": {"stars": ColumnSpec(kind=Problem.REGRESSION)}}, False),
    ],
)
def test_it_is_told_where_nothing_was_said_of_the_columns(tmp_path, caplog, said, told):
    path = tmp_path / "posts.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([list(TABLE), *zip(*TABLE.values(), strict=True)])
    load_target(TaskSpec(location=str(path), **said))
    assert ("column 'stars' is left out" in " ".join(caplog.messages)) is told
