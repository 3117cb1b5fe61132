"""Expected labels follow from the cells as they are written here."""

from collections import Counter

import pytest

from esm.tasks.labels.sets import (
    Separated,
    as_sets,
    as_singles,
    find_separator,
    indicators,
    listed,
    num_indicators,
    split_cell,
)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("strach; hnev", ["strach", "hnev"]),
        ("strach;hnev;strach;", ["strach", "hnev"]),
        ("strach", ["strach"]),
        (" ; ", []),
        ("[]", []),
        ("  ", None),
        (None, None),
        (3.0, ["3"]),
        (["a"], ["a"]),
    ],
)
@pytest.mark.parametrize("separator", [";", "; "])
def test_cells_with_several_labels(cell, labels, separator):
    assert as_sets([cell], separator) == [labels]


def test_a_space_may_separate_labels():
    assert as_sets(["a  b"], " ") == [["a", "b"]]


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        (["a", 1], ["a", 1]),
        ('["a", "b"]', ["a", "b"]),
        (" ['a', 'b'] ", ["a", "b"]),
        ("[]", []),
        ('{"choices": ["a", "b"]}', ["a", "b"]),
        ('{"choices": "a"}', ["a"]),
        ({"choices": ["a"]}, ["a"]),
        ("{'choices': ['a']}", ["a"]),
        ('{"start": 3}', None),
        ("[a, b]", ["a", "b"]),
        ("[0 1 1]", ["0", "1", "1"]),
        ("('a',)", ["a"]),
        ("{'b', 'a'}", ["a", "b"]),
        (["a", None], ["a"]),
        ("(see below)", None),
        ("a; b", None),
        (None, None),
        (3, None),
    ],
)
def test_lists_however_they_are_written(cell, items):
    assert listed(cell) == items


def test_a_label_beside_records_of_choices_is_a_set_of_one():
    cells = ["diet", '{"choices": ["diet", "law"]}', None, "[]"]
    assert as_sets(cells) == [["diet"], ["diet", "law"], None, []]


@pytest.mark.parametrize(
    ("cell", "held"),
    [
        ([0, 1, 0], [False, True, False]),
        ([0.0, 1.0], [False, True]),
        ([True, False], [True, False]),
        (["0", "1"], [False, True]),
        ("[0, 1]", [False, True]),
        ("0 1 1", [False, True, True]),
        ("0,1,1", [False, True, True]),
        ("1;0", [True, False]),
        ("0110", [False, True, True, False]),
        ([2, 0], None),
        (["a"], None),
        ("01", None),
        ("a b", None),
        ([], None),
        ([[0, 1]], None),
    ],
)
def test_cells_that_say_0_or_1_for_each_label(cell, held):
    assert indicators(cell) == held


def test_indicators_are_as_many_in_every_cell():
    assert num_indicators([[0, 0, 0], None, [1, 0, 1]]) == 3
    assert num_indicators([[0, 1], [0, 1, 1]]) == 0
    assert num_indicators([["a"], ["b"]]) == 0
    assert num_indicators([None]) == 0
    # One item each is a class.
    assert num_indicators([[0], [1]]) == 0
    # Two of the four could as well be the amounts 0.1 and 1.
    assert num_indicators(["0,1", "1,0"]) == 0
    assert num_indicators(["0,1", "1,0", "0,0"]) == 2


def test_labels_of_indicators_are_named_by_their_place():
    assert as_sets([[0, 0, 0], [1, 0, 1], None], width=3) == [[], ["label_0", "label_2"], None]


def test_one_label_of_each_cell():
    assert as_singles([["a"], [], None, "b", '["c"]', {"choices": ["d"]}]) == [
        "a",
        None,
        None,
        "b",
        "c",
        "d",
    ]
    assert as_singles([[0, 1, 0], [1, 0, 0]]) == ["label_1", "label_0"]


@pytest.mark.parametrize(
    ("cells", "separator", "several"),
    [
        ({"strach; hnev": 3, "žiaľ": 2, "hnev;žiaľ": 1, ";": 1, "hnev": 3}, ";", 4),
        ({"a|b": 2, "b": 2, "a": 2}, "|", 2),
        ({"diet#law": 3, "diet": 4, "law": 4}, "#", 3),
        ({"a\nb": 3, "a": 4, "b": 4}, "\n", 3),
        ({"a; b": 3, "b; c": 4, "a; c": 4}, ";", 11),
        ({"strach, hnev": 2, "hnev": 2, "strach": 2, "hnev, žiaľ": 2, "žiaľ, strach": 1}, ",", 5),
        ({"diet & law": 2, "diet": 2, "law": 2}, "&", 2),
        ({"diet+law": 2, "diet": 2, "law": 2}, "+", 2),
        ({"gesund/teuer": 2, "teuer": 2, "gesund": 2}, "/", 2),
    ],
)
def test_what_separates_labels(cells, separator, several):
    found = find_separator(Counter(cells))
    assert found == Separated(separator, (), several)


@pytest.mark.parametrize(
    "cells",
    [
        {"yes, fully": 5, "yes, partly": 4, "no": 3},
        {"áno, určite": 5, "áno, asi": 5, "nie, určite": 4, "nie, asi": 4, "neviem": 3},
        {"C#": 5, "C": 4, "F#": 3},
        {"true; mostly": 5, "false; mostly": 4, "x": 3},
        {"Das ist gut, weil es hilft": 4, "Das ist schlecht, weil es schadet": 4, "egal": 3},
        {"N/A": 3, "yes": 5, "no": 5},
        {"A+": 3, "A": 5, "B": 5},
        # Once in a hundred rows is a slip of the pen.
        {"a; b": 1, "a": 60, "b": 60},
        {f"veta {i}; dodatok {i}": 1 for i in range(90)},
    ],
)
def test_marks_inside_single_labels_separate_nothing(cells):
    assert find_separator(Counter(cells)) is None


def test_parts_that_never_part_are_one_label():
    cells = {"food, drink": 9, "law": 9, "law, food, drink": 4, "vaccine": 5, "law, vaccine": 4}
    assert find_separator(Counter(cells)) == Separated(",", ("food, drink",), 8)
    assert split_cell("law, food, drink", ",", ["food, drink"]) == ["law", "food, drink"]
    # Without its other half, a part is what it says.
    assert split_cell("food, law", ",", ["food, drink"]) == ["food", "law"]
