"""A raw column to labels: which problem it is, its classes, and which rows have a label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import TaskError
from esm.tasks.formats.sentences import UNEQUAL, fitting_tags, in_iob2
from esm.tasks.labels.missing import NO_ANSWER, says_nothing
from esm.tasks.labels.names import label_name
from esm.tasks.labels.numbers import read_amounts
from esm.tasks.labels.problem import AUTO, distinct, is_unlabelled, items, problem_of
from esm.tasks.labels.rare import Classes, choose_classes
from esm.tasks.labels.spellings import find_spellings
from esm.tasks.raw import LabelColumn, Values, is_number
from esm.tasks.spec import ColumnSpec, RareClasses
from esm.tasks.tagging import padded, tag_names
from esm.tasks.task import Problem, RareClass, Spelling, SplitName

AS_IS = "as-is"
NO_LABEL = "no label"
NOT_IN_TRAIN = "label not in train"


@dataclass(frozen=True)
class Labels:
    """The labels of one column.

    Attributes:
        problem: Kind of output.
        names: Names of the c classes; empty for regression.
        values: Labels of the rows kept, by split, as in :class:`~esm.tasks.task.Examples`.
        rows: Positions of the rows kept, by split.
        dropped: How many rows of all splits were left out, by reason.
        rare: Classes that were merged or left out because they have too few training rows.
        spellings: Labels that are read as a class which is written in another way.
        unknown: Rows whose label is no class of the training rows, by split and label.
        unanswered: Rows whose label stands for no answer, by label.
    """

    problem: Problem
    names: tuple[str, ...]
    values: Mapping[SplitName, npt.NDArray[Any]]
    rows: Mapping[SplitName, npt.NDArray[np.int64]]
    dropped: Mapping[str, int]
    rare: tuple[RareClass, ...] = ()
    spellings: tuple[Spelling, ...] = ()
    unknown: Mapping[SplitName, Mapping[str, int]] = field(default_factory=dict)
    unanswered: Mapping[str, int] = field(default_factory=dict)


def read_labels(
    column: str,
    splits: Mapping[SplitName, Values],
    known: LabelColumn,
    *,
    kind: str = AUTO,
    reading: str = AS_IS,
    how: ColumnSpec | None = None,
    texts: Mapping[SplitName, Sequence[str]] | None = None,
) -> Labels:
    """Read one column as labels.

    Strings and truth values are classes; whole numbers are classes where there are at most 20
    distinct ones; other numbers are amounts; lists are sets of labels, or tags of words where the
    description or the kind says so. Problem and classes come
    from the training rows alone, so that nothing is learnt of the test rows.

    Args:
        column: The column's name, for messages.
        splits: Raw values by split; train is there.
        known: What the task's description says of the column.
        kind: "auto", or a problem that overrides the guess.
        reading: "as-is", or the name of a reading in ``known``.
        how: What was said of this column: its kind, which comes before ``kind``, the order of its
            classes, what stands for no answer, and what becomes of rare ones.
        texts: The rows' texts by split, whose words tags belong to; needed for tagging alone.

    Raises:
        TaskError: No labels, one class only, an unknown reading or kind, values that are neither
            numbers, strings nor lists of strings, a label without a place on its ordered scale,
            or classes that are too rare.
    """
    how = how or ColumnSpec()
    read = _reader(column, known, reading)
    dropped: Counter[str] = Counter()
    unanswered: Counter[str] = Counter()
    values: dict[SplitName, Values] = {}
    for split, raw in splits.items():
        cleaned = _filled(raw, how.empty)
        read_as = [None if value is None else read(value) for value in cleaned] if read else cleaned
        dropped[NO_LABEL] += cleaned.count(None)
        dropped[f"left out by the reading {reading!r}"] += read_as.count(None) - cleaned.count(None)
        values[split] = _answered(read_as, how.missing, unanswered)
    train = [value for value in values[SplitName.TRAIN] if value is not None]
    if not train:
        raise TaskError(
            f"column {column!r} has no labels: all {len(splits[SplitName.TRAIN])} training rows"
            " are empty, NaN or left out",
            expected="labels",
        )
    problem = problem_of(column, train, known, kind if how.kind == AUTO else how.kind)
    described = known.names if reading == AS_IS else ()
    spellings: tuple[Spelling, ...] = ()
    if problem is Problem.TAGGING:
        values, dropped[UNEQUAL] = fitting_tags(column, values, texts or {})
        values = in_iob2(column, values)
    elif problem is Problem.REGRESSION:
        values = _amounts(column, values)
    else:
        values, spellings = _spelled(values, how.order or described, how)
    train = [value for value in values[SplitName.TRAIN] if value is not None]
    classes = _classes(column, train, problem, described, how)
    encode = _encoder(column, train, problem, classes)
    too_few = _too_few(problem, classes)
    unknown: dict[SplitName, Counter[str]] = {}
    encoded: dict[SplitName, npt.NDArray[Any]] = {}
    rows: dict[SplitName, npt.NDArray[np.int64]] = {}
    for split, of_split in values.items():
        codes = [None if value is None else encode(value) for value in of_split]
        kept = [row for row, code in enumerate(codes) if code is not None]
        for value, code in zip(of_split, codes, strict=True):
            if value is None or code is not None:
                continue
            names = sorted(distinct([value]))
            if not isinstance(value, list) and says_nothing(names[0]):
                unanswered[names[0]] += 1
            elif reason := too_few.get(names[0]):
                dropped[reason] += 1
            else:
                dropped[NOT_IN_TRAIN] += 1
                none = [name for name in names if name not in classes.codes]
                unknown.setdefault(split, Counter()).update(none)
        rows[split] = np.asarray(kept, dtype=np.int64)
        encoded[split] = _array([codes[row] for row in kept], problem, len(classes.names))
    dropped[NO_ANSWER] += unanswered.total()
    return Labels(
        problem=problem,
        names=classes.names,
        values=encoded,
        rows=rows,
        dropped={reason: count for reason, count in dropped.items() if count},
        rare=classes.rare,
        spellings=spellings,
        unknown={split: dict(counts.most_common()) for split, counts in unknown.items()},
        unanswered=dict(unanswered.most_common()),
    )


def _filled(values: Values, empty: str | None) -> Values:
    """Return values with null, or the class of empty cells, where there is no label."""
    if set(map(type, values)) <= {str, type(None)}:
        blank = {value for value in set(values) if is_unlabelled(value)}
        return [empty if value in blank else value for value in values]
    return [empty if is_unlabelled(value) else value for value in values]


def _answered(values: Values, missing: Sequence[str], counts: Counter[str]) -> Values:
    """Return values with null where a label, or each of a set of them, stands for no answer."""
    if not missing:
        return values
    names = set(map(label_name, missing))
    kept: Values = []
    for value in values:
        labels = distinct(value) if isinstance(value, list) else {label_name(value)}
        answered = value is None or not labels or not labels <= names
        if not answered:
            counts.update(labels)
        kept.append(value if answered else None)
    return kept


def _spelled(
    values: Mapping[SplitName, Values], declared: Sequence[str], how: ColumnSpec
) -> tuple[dict[SplitName, Values], tuple[Spelling, ...]]:
    """Return labels by the names of their classes, and which ones are written in another way."""
    of_train = (item for item in items(values[SplitName.TRAIN]))
    counts = Counter(map(label_name, of_train))
    spellings = find_spellings(counts, declared, how.merge)
    other: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[type, Any], str] = {}

    def name(item: Any) -> str:
        key = (type(item), item)
        if key not in found:
            found[key] = spellings.find(label_name(item))
        written = item.strip(" \t\r\n") if isinstance(item, str) else label_name(item)
        if written != found[key]:
            other[written, found[key]] += 1
        return found[key]

    named = {
        split: [
            None
            if value is None
            else [name(item) for item in value if not is_unlabelled(item)]
            if isinstance(value, list)
            else name(value)
            for value in of_split
        ]
        for split, of_split in values.items()
    }
    listed = (Spelling(written, label, rows) for (written, label), rows in other.most_common())
    return named, tuple(listed)


def _amounts(column: str, values: Mapping[SplitName, Values]) -> dict[SplitName, Values]:
    """Return numbers, also of strings that are written for people."""
    given = [value for of_split in values.values() for value in of_split if value is not None]
    words = dict.fromkeys(value for value in given if isinstance(value, str))
    amounts = read_amounts(map(str.strip, words))
    numbers = {word: amounts.values[word.strip()] for word in words if amounts.values}
    read = {
        split: [
            numbers.get(value, value) if isinstance(value, str) else value for value in of_split
        ]
        for split, of_split in values.items()
    }
    found = [value for of_split in read.values() for value in of_split if value is not None]
    _refuse_no_amounts(column, found, amounts.why_not)
    return read


def _reader(column: str, known: LabelColumn, reading: str) -> Callable[[Any], Any] | None:
    if reading == AS_IS:
        return None
    if reading not in known.readings:
        raise TaskError(
            f"column {column!r} has no reading {reading!r}",
            expected=f"one of {', '.join([AS_IS, *known.readings])}",
            hint="leave --reading out, or name the attributes that have it",
        )
    mapping = known.readings[reading]

    def read(value: Any) -> Any:
        name = label_name(value)
        if name not in mapping:
            raise TaskError(
                f"reading {reading!r} of column {column!r} does not say what {name[:60]!r} is",
                expected="an entry for every label, null to leave the row out",
                hint="mend target.json",
            )
        return mapping[name]

    return read


# ------------------------------------------------------------------------------- which problem


# ------------------------------------------------------------------------------------ encoding


def _classes(
    column: str, train: Values, problem: Problem, described: tuple[str, ...], how: ColumnSpec
) -> Classes:
    """Return the classes of the training rows; an amount has none."""
    if problem is Problem.REGRESSION:
        return Classes((), {})
    if problem is Problem.TAGGING:
        if how.rare is not RareClasses.KEEP:
            raise TaskError(
                f"a rule for rare classes, {how.rare.value!r}, for the tags of column {column!r}",
                expected=f"{RareClasses.KEEP.value!r}: a word without its tag has none",
                hint=f"take min_per_class and rare out of [columns.{column}]",
            )
        names = tag_names(column, distinct(train), tuple(map(label_name, how.order or described)))
        return Classes(names, {name: code for code, name in enumerate(names)})
    counts = Counter(name for value in train for name in _names(value))
    return choose_classes(column, counts, problem, tuple(map(label_name, described)), how)


def _names(value: str | list[str]) -> set[str]:
    """Return the names of the classes of a row."""
    return set(value) if isinstance(value, list) else {value}


def _too_few(problem: Problem, classes: Classes) -> dict[str, str]:
    """Return why rows with these labels are left out; in a set of labels, only the label is."""
    if problem is Problem.MULTILABEL:
        return {}
    return {
        rare.name: f"class {rare.name[:60]!r} has too few training rows ({rare.rows})"
        for rare in classes.rare
        if rare.into is None
    }


def _encoder(
    column: str, train: Values, problem: Problem, classes: Classes
) -> Callable[[Any], Any]:
    """Return what turns a value into its code, or into None where its row is left out."""
    if problem is Problem.REGRESSION:
        _refuse_constant(column, set(map(float, train)), len(train))
        return float
    if problem is not Problem.MULTILABEL:
        found = distinct(train) if problem is Problem.TAGGING else set(classes.names)
        _refuse_constant(column, found, len(train))
        if problem is Problem.TAGGING:
            return lambda tags: _all_of([classes.codes.get(label_name(tag)) for tag in tags])
        return classes.codes.get

    def codes(value: list[Any]) -> list[int] | None:
        names = _names(value)
        if not names <= classes.codes.keys():
            return None
        return sorted({code for name in names if (code := classes.codes[name]) is not None})

    _refuse_constant(column, {tuple(codes(value) or ()) for value in train}, len(train))
    return codes


def _all_of(codes: list[int | None]) -> list[int] | None:
    """Return the codes of all tags of a row; None where one of them is not known."""
    known = [code for code in codes if code is not None]
    return known if len(known) == len(codes) else None


def _refuse_constant(column: str, values: set[Any], count: int) -> None:
    if len(values) < 2:
        raise TaskError(
            f"column {column!r} has one class or value only in its {count} training rows",
            expected="at least two that differ",
            hint="leave the attribute out, or give rows of the other classes",
        )


def _refuse_no_amounts(column: str, values: Values, why_not: str) -> None:
    odd = [value for value in values if not is_number(value) or not math.isfinite(float(value))]
    if why_not and not odd:
        odd = [value for value in values if isinstance(value, str)]
    if odd:
        raise TaskError(
            f"column {column!r} holds values that are not finite numbers: {len(odd)} of"
            f" {len(values)}, such as {label_name(odd[0])[:30]!r}"
            + (f" ({why_not})" if why_not else ""),
            expected="numbers for regression",
            hint="empty those cells, or --kind classification",
        )


def _array(codes: list[Any], problem: Problem, num_classes: int) -> npt.NDArray[Any]:
    if problem is Problem.REGRESSION:
        return np.asarray(codes, dtype=np.float64)
    if problem is Problem.TAGGING:
        return padded(codes)
    if problem is not Problem.MULTILABEL:
        return np.asarray(codes, dtype=np.int64)
    indicators = np.zeros((len(codes), num_classes), dtype=np.float64)
    for row, of_row in enumerate(codes):
        indicators[row, of_row] = 1.0
    return indicators
