"""The order of classes, and the rules for rare ones, worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esm.common.errors import TaskError
from esm.tasks.labels.rare import choose_classes
from esm.tasks.spec import ColumnSpec, RareClasses
from esm.tasks.task import Problem, RareClass

NOMINAL, ORDINAL, SETS = Problem.CLASSIFICATION, Problem.ORDINAL, Problem.MULTILABEL


def chosen(counts, rule, fewest=5, problem=NOMINAL, described=(), order=()):
    how = ColumnSpec(order=order, min_per_class=fewest, rare=rule)
    return choose_classes("x", counts, problem, described, how)


def test_the_order_asked_for_comes_before_the_described_one_and_the_sorted_names():
    counts = {"10": 1, "b": 1, "2": 1, "a": 1}
    assert choose_classes("x", counts, NOMINAL).names == ("2", "10", "a", "b")
    assert choose_classes("x", counts, NOMINAL, ("b", "c")).names == ("b", "2", "10", "a")
    how = ColumnSpec(order=(" a ", "2", "a"))
    assert choose_classes("x", counts, NOMINAL, ("b",), how).names == ("a", "2", "10", "b")


def test_rare_classes_are_kept_where_nothing_was_said():
    classes = chosen({"a": 9, "b": 1}, "keep")
    assert (classes.names, classes.codes, classes.rare) == (("a", "b"), {"a": 0, "b": 1}, ())


def test_left_out():
    classes = chosen({"a": 9, "b": 4, "c": 5}, "leave-out")
    assert classes.names == ("a", "c")
    assert classes.codes == {"a": 0, "b": None, "c": 1}
    assert classes.rare == (RareClass("b", 4, None),)


def test_nominal_rare_classes_become_one():
    classes = chosen({"b": 4, "a": 9, "c": 1, "z": 7}, "merge")
    assert classes.names == ("a", "z", "other")
    assert classes.codes == {"a": 0, "z": 1, "b": 2, "c": 2}
    assert classes.rare == (RareClass("b", 4, "other"), RareClass("c", 1, "other"))


def test_a_merged_class_that_is_still_too_small_is_left_out():
    classes = chosen({"a": 9, "b": 2, "c": 2, "z": 7}, "merge")
    assert classes.names == ("a", "z")
    assert classes.rare == (RareClass("b", 2, None), RareClass("c", 2, None))


@pytest.mark.parametrize("others", [3, 8])
def test_a_class_that_is_called_other_takes_the_rare_ones_in(others):
    classes = chosen({"a": 9, "other": others, "b": 2}, "merge")
    assert classes.names == ("a", "other")
    assert classes.codes == {"a": 0, "other": 1, "b": 1}
    assert classes.rare == (RareClass("b", 2, "other"),)


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ((9, 9, 9, 9, 2), ("1", "2", "3", "4|5")),
        ((2, 9, 9, 9, 9), ("1|2", "3", "4", "5")),
        # The very middle joins the smaller neighbour, of equals the lower one.
        ((9, 8, 2, 7, 9), ("1", "2", "3|4", "5")),
        ((9, 7, 2, 7, 9), ("1", "2|3", "4", "5")),
        # 1 joins 2 (3 rows together), which joins the middle.
        ((1, 2, 9, 9, 9), ("1|2|3", "4", "5")),
        # Both ends: of equally small levels the outermost goes first.
        ((2, 2, 9, 2, 2), ("1|2|3|4|5",)),
        ((2, 3, 9, 3, 2), ("1|2", "3", "4|5")),
    ],
)
def test_levels_join_their_neighbour_towards_the_middle(rows, names):
    counts = {str(level): count for level, count in enumerate(rows, start=1)}
    if len(names) == 1:
        with pytest.raises(TaskError, match="too few training rows"):
            chosen(counts, "merge", problem=ORDINAL)
        return
    classes = chosen(counts, "merge", problem=ORDINAL)
    assert classes.names == names
    for name, code in classes.codes.items():
        assert name in names[code].split("|")


@given(st.lists(st.integers(1, 20), min_size=3, max_size=9))
def test_merged_levels_are_big_enough_and_keep_the_order(rows):
    counts = {str(level): count for level, count in enumerate(rows)}
    try:
        classes = chosen(counts, "merge", problem=ORDINAL)
    except TaskError:
        return
    assert "|".join(classes.names).split("|") == list(counts)
    for code in range(len(classes.names)):
        assert sum(counts[name] for name, of in classes.codes.items() if of == code) >= 5


def test_a_set_may_have_a_single_label_left():
    assert chosen({"a": 9, "b": 1}, "leave-out", problem=SETS).names == ("a",)
    with pytest.raises(TaskError, match="too few"):
        chosen({"a": 1, "b": 1}, "leave-out", problem=SETS)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [("refuse", NOMINAL), ("leave-out", NOMINAL), ("merge", NOMINAL), ("merge", ORDINAL)],
)
def test_too_rare_to_be_used(rule, problem):
    message = (
        rf"column 'x' has classes with too few training rows \(b 3, c 1\), which the rule '{rule}'"
        r" cannot mend; expected at least 10 rows per class, and two such classes; try: label more"
    )
    with pytest.raises(TaskError, match=message):
        chosen({"a": 90, "b": 3, "c": 1}, rule, fewest=10, problem=problem)


def test_a_refused_attribute_with_enough_rows_is_not_refused():
    assert chosen({"a": 5, "b": 5}, RareClasses.REFUSE).names == ("a", "b")
