from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from esm.report.table import Table, plain, print_styled, print_tables

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
    print_styled([Table(title, (column,), [(cell,)], [line])], console)
    shown = console.export_text()
    assert all(name in shown for name in names)


WIDE = Table(
    "a title",
    ("rank", "source", "score", "what it is", "licence"),
    [
        ("1", "garden-claims", "0.5", "claims about gardens", "MIT"),
        ("2", "kitchen", "0.25", "swaps", "-"),
    ],
    ["a note of more than forty letters: see /data/pools/garden"],
    frozenset({"source", "what it is", "licence"}),
    frozenset({"licence"}),
    keys=2,
)


def test_further_columns_are_shown_with_wide_alone():
    assert plain(WIDE).splitlines()[1] == "rank  source         score  what it is"
    assert plain(WIDE, wide=True).splitlines()[1].endswith("what it is            licence")


def test_texts_fold_between_words_and_numbers_stay_whole():
    assert plain(WIDE, width=40) == (
        "a title\n"
        "rank  source         score  what it is\n"
        "   1  garden-claims    0.5  claims about\n"
        "                            gardens\n"
        "   2  kitchen         0.25  swaps\n"
        "a note of more than forty letters: see\n"
        "  /data/pools/garden\n"
    )


def test_names_fold_behind_their_separators_where_nothing_else_helps():
    names = Table("", ("source", "at"), [("garden-claims-of-2024", "hub/gardens/claims")])
    names = replace(names, left=frozenset(names.columns))
    assert plain(names, width=30).splitlines() == [
        "source          at",
        "garden-claims-  hub/gardens/",
        "of-2024         claims",
    ]


def test_columns_that_do_not_fit_stand_below_with_the_names_repeated():
    table = Table("", ("class", *"abcdefgh"), [("yes", *["1000"] * 8)], left=frozenset({"class"}))
    assert plain(table, width=30).splitlines() == [
        "class     a     b     c     d",
        "yes    1000  1000  1000  1000",
        "",
        "class     e     f     g     h",
        "yes    1000  1000  1000  1000",
    ]


def test_a_pipe_is_told_its_width_and_which_columns_there_are_besides(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_tables([WIDE])
    told = "--wide also shows: licence\n\n"
    assert capsys.readouterr().out == plain(WIDE, width=40) + "\n" + told
    print_tables([WIDE], wide=True)
    assert capsys.readouterr().out == plain(WIDE, wide=True, width=40) + "\n"


def test_a_terminal_gets_the_same_lines_with_a_rule_below_the_heads():
    console = Console(record=True, width=40, file=io.StringIO())
    print_styled([WIDE], console)
    lines = console.export_text().splitlines()
    assert lines.pop(2).split() == ["─" * n for n in (4, 13, 5, 12)]
    assert "\n".join([*lines, ""]) == plain(WIDE, width=40) + "\n"


def test_wide_letters_take_two_cells():
    table = Table("", ("名前", "n"), [("評判", "1"), ("ab", "2")], left=frozenset({"名前"}))
    assert plain(table).splitlines() == ["名前  n", "評判  1", "ab    2"]


def test_a_line_break_in_a_name_does_not_break_the_table():
    table = Table("", ("class", "n"), [("one\ntwo", "1")], left=frozenset({"class"}))
    assert plain(table).splitlines() == ["class    n", "one two  1"]
