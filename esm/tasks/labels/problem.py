"""Which problem a column of labels is: as it was described, else as its values suggest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from esm.common.errors import TaskError
from esm.tasks.labels.names import label_name
from esm.tasks.raw import LabelColumn, Values, is_missing, is_number
from esm.tasks.task import LABELLED, Problem

AUTO = "auto"

Label = str | bool | int | float

# Whole numbers with more distinct values than this are amounts, not classes.
_MOST_NUMBERED_CLASSES = 20

# A column with more distinct strings than this, most of them unique, holds texts or ids.
_MOST_RARE_CLASSES = 30

# With fewer rows than this, classes may well occur once each.
_FEWEST_ROWS_OF_TEXTS = 10


def problem_of(column: str, train: Values, known: LabelColumn, kind: str) -> Problem:
    """Return which problem a column's training values are.

    Args:
        column: Its name, for errors.
        train: Values of the training rows that have a label.
        known: What is known of the column.
        kind: The kind asked for, or ``auto``.

    Raises:
        TaskError: The values are mixed, of no kind of label, texts, or not of the kind asked for.
    """
    lists = sum(isinstance(value, list) for value in train)
    if lists not in (0, len(train)):
        raise TaskError(
            f"column {column!r} has {lists} lists and {len(train) - lists} single values",
            expected="one or the other",
        )
    odd = next((item for item in items(train) if not isinstance(item, Label | None)), None)
    if odd is not None:
        raise TaskError(
            f"column {column!r} holds {type(odd).__name__} values",
            expected="strings, numbers, truth values or lists of strings",
        )
    problem = _asked_for(column, kind) or known.problem or _guess(column, train)
    if problem is Problem.CLASSIFICATION and not (known.names or all(map(is_number, train))):
        _refuse_texts(column, train)
    if (problem in (Problem.MULTILABEL, Problem.TAGGING)) != bool(lists):
        raise TaskError(
            f"column {column!r} holds {'lists' if lists else 'single values'}, but {problem} was"
            " asked for",
            expected="lists of labels for multi-label and tagging, single values for the others",
            hint="cells such as 'a; b' become lists where the specification in TOML names their"
            f" separator under [columns.{column}]"
            if problem is Problem.MULTILABEL
            else "--kind multi-label",
        )
    return problem


def _asked_for(column: str, kind: str) -> Problem | None:
    if kind == AUTO:
        return None
    if kind not in LABELLED:
        raise TaskError(
            f"kind {kind!r} of column {column!r}", expected=f"one of {', '.join([AUTO, *LABELLED])}"
        )
    return Problem(kind)


def _guess(column: str, train: Values) -> Problem:
    if isinstance(train[0], list):
        return Problem.MULTILABEL
    numbers = [value for value in train if is_number(value) and not isinstance(value, str)]
    if len(numbers) < len(train):
        return Problem.CLASSIFICATION
    whole = all(float(value).is_integer() for value in numbers)
    if whole and len(set(numbers)) <= _MOST_NUMBERED_CLASSES:
        return Problem.CLASSIFICATION
    return Problem.REGRESSION


def _refuse_texts(column: str, train: Values) -> None:
    count = len(distinct(train))
    no_two_alike = count == len(train) > _FEWEST_ROWS_OF_TEXTS
    if no_two_alike or count > max(_MOST_RARE_CLASSES, len(train) / 2):
        raise TaskError(
            f"column {column!r} has {count} distinct values in {len(train)} rows: texts or ids",
            expected="classes, each in several rows",
            hint="name another column with --attribute",
        )


def distinct(values: Iterable[Any]) -> set[str]:
    """Return the names of the labels that occur; those inside the lists of a list column.

    Values that cannot be labels, such as dates and records, have no names.
    """
    # With the type, because True equals 1; as a set first, because columns have few values.
    found = {(type(item), item) for item in items(values) if isinstance(item, Label)}
    return {label_name(item) for _, item in found if not is_unlabelled(item)}


def items(values: Iterable[Any]) -> Iterator[Any]:
    """Return the values; those inside the lists of a list column. Missing ones are left out."""
    for value in values:
        if isinstance(value, list):
            yield from value
        elif value is not None:
            yield value


def is_unlabelled(value: object) -> bool:
    """Return whether a row has no label; ``nan`` is what a number column's null is printed as."""
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() == "nan")
