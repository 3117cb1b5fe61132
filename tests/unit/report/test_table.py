from __future__ import annotations

import io

import pytest
from rich.console import Console

from esm.report.table import Table, duration, number, plain, print_framed, print_tables, size

TABLE = Table(
    "title",
    ("source", "score"),
    [("a", "1.5"), ("long name", "-10")],
    ["a note"],
    frozenset({"source"}),
)


def test_plain_text_aligns_names_left_and_numbers_right():
    assert plain(TABLE) == ("title\nsource     score\na            1.5\nlong name    -10\na note\n")


def test_a_pipe_gets_plain_text_without_frames(capsys):
    print_tables([TABLE])
    assert capsys.readouterr().out == plain(TABLE) + "\n"


def test_names_are_shown_as_they_are_and_not_read_as_markup():
    console = Console(record=True, width=80, file=io.StringIO())
    names = ["[b]title", "[red]column", "[i]cell", "[/]note"]
    title, column, cell, line = names
    print_framed([Table(title, (column,), [(cell,)], [line])], console)
    shown = console.export_text()
    assert all(name in shown for name in names)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (float("nan"), "-"), (0.12345, "0.123"), (-2.0, "-2.000")]
)
def test_numbers(value, text):
    assert number(value) == text


def test_units():
    assert number(0.5, 1, sign=True) == "+0.5"
    assert [duration(s) for s in (3.21, 59, 61, 3725)] == ["3.2 s", "59 s", "1 min", "1 h 2 min"]
    assert [size(b) for b in (12, 57_300, 2_360_000, 1.2e9)] == [
        "12 B",
        "57.3 kB",
        "2.4 MB",
        "1.2 GB",
    ]
