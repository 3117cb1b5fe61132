"""Rows of several annotators to a row per text: by majority, or with a training row per vote."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from esm.common.errors import TaskError
from esm.common.runtime import warn_once
from esm.tasks.guess.words import ANNOTATORS, says
from esm.tasks.identity import row_keys
from esm.tasks.labels.names import label_name
from esm.tasks.raw import LabelColumn, RawData, Table, Values, is_missing, missing_column, num_rows
from esm.tasks.spec import ColumnSpec, TaskSpec, Voting
from esm.tasks.task import Examples, Problem, SplitName, Target, Task

_LOGGER = logging.getLogger(__name__)

TIED = "annotators are tied"


@dataclass
class ColumnVotes:
    """What annotators said of one attribute, in all splits.

    Attributes:
        of_text: Their labels by the key of the text, one for each who gave one.
        annotators: Who gave any.
        ties: Texts on which no label has most votes.
        halves: Sets of labels in which a label has half of the votes, and does not hold.
        repeated: Annotations that the same person gave again.
    """

    of_text: dict[str, Values] = field(default_factory=dict)
    annotators: set[str] = field(default_factory=set)
    ties: int = 0
    halves: int = 0
    repeated: int = 0


def find_annotator(table: Table, texts: Sequence[str]) -> str | None:
    """Return the column that names who annotated a row; None where each text has one annotator.

    It is named so, and tells apart rows of the same text.
    """
    for name, values in table.items():
        if name in texts or not says(name, ANNOTATORS):
            continue
        who: dict[Any, set[str]] = {}
        cells = (table[text] for text in texts)
        for key, person in zip(zip(*cells, strict=True), values, strict=True):
            if not (is_missing(person) or isinstance(person, list)):
                who.setdefault(str(key), set()).add(label_name(person))
        if any(len(people) > 1 for people in who.values()):
            return name
    return None


def choose_annotator(raw: RawData, spec: TaskSpec, texts: Sequence[str]) -> str | None:
    """Return the column that names who annotated a row; None where rows are taken as they are.

    Raises:
        TaskError: A column was named that is not there.
    """
    if spec.annotator is not None and spec.annotator not in raw.train:
        raise missing_column(spec.annotator, raw.train, f"training rows of {raw.id}")
    if spec.voting is Voting.SEPARATE:
        return None
    return spec.annotator or (None if raw.described else find_annotator(raw.train, texts))


def merge_annotators(
    raw: RawData, spec: TaskSpec, texts: Sequence[str], attributes: Sequence[str], who: str | None
) -> tuple[RawData, dict[str, ColumnVotes]]:
    """Return the data with one row per text, and the votes on each attribute.

    A class is the one that most annotators chose, an amount their mean, and a label of a set holds
    where more than half of them gave it; where the first two of the classes have as many votes,
    the row has no label. Without a column of annotators, the data are returned as they are.

    Args:
        raw: Rows as they were read, columns chosen.
        spec: How the labels are read, and what becomes of several annotators.
        texts: The column of the texts, and of second texts.
        attributes: The label columns.
        who: The column that names the annotator.

    Raises:
        TaskError: A text has several groups or splits.
    """
    if who is None:
        return raw, {}
    votes = {name: ColumnVotes() for name in attributes}
    splits = {
        split: _merge(table, who, texts, votes, raw, spec) if who in table else table
        for split, table in raw.splits.items()
    }
    people = set().union(*(of.annotators for of in votes.values()))
    rows = sum(map(num_rows, raw.splits.values()))
    merged = sum(map(num_rows, splits.values()))
    ties = ", ".join(f"{name} {of.ties}" for name, of in votes.items() if of.ties)
    halves = ", ".join(f"{name} {of.halves}" for name, of in votes.items() if of.halves)
    warn_once(
        _LOGGER,
        f"{raw.id}: {rows} annotations by {len(people)} people in column {who!r} are {merged} texts"
        + (f"; no majority, so no label: {ties}" if ties else "")
        + (f"; labels with half of the votes do not hold: {halves}" if halves else "")
        + f'; voting = "{spec.voting}", one of {", ".join(Voting)}',
    )
    return dataclasses.replace(raw, splits=splits), votes


def _merge(
    table: Table,
    who: str,
    texts: Sequence[str],
    votes: Mapping[str, ColumnVotes],
    raw: RawData,
    spec: TaskSpec,
) -> Table:
    keys = _keys(table, texts)
    places: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        places.setdefault(key, []).append(row)
    constant = {spec.split.group, spec.split.column}
    merged: dict[str, Values] = {}
    for name, values in table.items():
        if name in constant:
            _refuse_several(name, values, places)
        if name in votes:
            answers = _answers(values, spec.columns.get(name, ColumnSpec()))
            decide = _decision(name, answers, raw, spec)
            merged[name] = [
                _vote(key, rows, answers, table[who], votes[name], decide)
                for key, rows in places.items()
            ]
        else:
            merged[name] = [values[rows[0]] for rows in places.values()]
    return merged


def _answers(values: Values, how: ColumnSpec) -> Values:
    """Return values without those that stand for no answer, and merged ones as what they are."""
    if not (how.missing or how.merge):
        return values
    missing = set(map(label_name, how.missing))
    told = {label_name(old): new for old, new in how.merge.items()}

    def answer(value: Any) -> Any:
        if isinstance(value, list):
            return [told.get(label_name(each), each) for each in value]
        name = label_name(value)
        return None if name in missing else told.get(name, value)

    return [None if is_missing(value) else answer(value) for value in values]


def _keys(table: Table, texts: Sequence[str]) -> list[str]:
    """Return a key per row, the same for equal texts; a row without a text has its own."""
    cells = list(zip(*(table[name] for name in texts), strict=True))
    filled = [tuple("" if is_missing(text) else str(text) for text in row) for row in cells]
    seconds = [row[1] for row in filled] if len(texts) > 1 else None
    keys = row_keys([row[0] for row in filled], seconds)
    return [
        f"row {number}" if any(map(is_missing, cells[number])) else key
        for number, key in enumerate(keys)
    ]


def _refuse_several(name: str, values: Values, places: Mapping[str, list[int]]) -> None:
    several = sum(len({str(values[row]) for row in rows}) > 1 for rows in places.values())
    if several:
        raise TaskError(
            f"column {name!r} has several values for {several} texts",
            expected="one value per text, because a text stands on one side of a split",
            hint='give all rows of a text the same value, or set voting = "separate"',
        )


def _vote(
    key: str,
    rows: Sequence[int],
    values: Values,
    people: Values,
    votes: ColumnVotes,
    decide: _Decide,
) -> Any:
    given: dict[str, Any] = {}
    for row in rows:
        if is_missing(values[row]):
            continue
        person = f"row {row}" if is_missing(people[row]) else label_name(people[row])
        votes.repeated += person in given
        given[person] = values[row]
    if not given:
        return None
    votes.annotators.update(person for person in given if not person.startswith("row "))
    votes.of_text.setdefault(key, []).extend(given.values())
    return decide(list(given.values()), votes)


# ----------------------------------------------------------------------------- what is decided


class _Decide:
    """How the votes on one attribute become its value."""

    def __call__(self, given: Values, votes: ColumnVotes) -> Any:
        """Return the most frequent value; None where it is tied with another one."""
        counts = Counter(map(_name, given)).most_common(2)
        if len(counts) > 1 and counts[0][1] == counts[1][1]:
            votes.ties += 1
            return None
        return next(value for value in given if _name(value) == counts[0][0])


class _Mean(_Decide):
    def __call__(self, given: Values, votes: ColumnVotes) -> Any:
        return fmean(map(float, given))


class _Sets(_Decide):
    def __call__(self, given: Values, votes: ColumnVotes) -> Any:
        counts = Counter(
            label for value in given for label in dict.fromkeys(map(label_name, value))
        )
        votes.halves += any(2 * count == len(given) for count in counts.values())
        return [label for label, count in counts.items() if 2 * count > len(given)]


def _decision(name: str, values: Values, raw: RawData, spec: TaskSpec) -> _Decide:
    said = spec.columns.get(name, ColumnSpec()).kind
    kind = spec.kind if said == "auto" else said
    if kind == "auto":
        kind = raw.known.get(name, LabelColumn()).problem or "auto"
    filled = [value for value in values if not is_missing(value)]
    if kind == Problem.TAGGING:
        return _Decide()
    if any(isinstance(value, list) for value in filled):
        return _Sets()
    is_amount = kind == "auto" and any(
        isinstance(value, float) and not value.is_integer() for value in filled
    )
    return _Mean() if kind == Problem.REGRESSION or is_amount else _Decide()


def _name(value: Any) -> str:
    return str([*map(label_name, value)]) if isinstance(value, list) else label_name(value)


# -------------------------------------------------------------------------------- soft labels


def vote_codes(votes: ColumnVotes, task: Task) -> dict[str, tuple[Any, ...]]:
    """Return the votes as labels of a task, by the key of the text; those that have none are left.

    A class that was merged into another counts as that one.
    """
    into = {rare.name: rare.into for rare in task.rare}
    places = {name: code for code, name in enumerate(task.label_names)}

    def code(value: Any) -> Any:
        if task.problem is Problem.REGRESSION:
            return float(value)
        if task.problem is Problem.MULTILABEL:
            names = {label_name(label) for label in value}
            return np.array([float(name in names) for name in task.label_names])
        name = label_name(value)
        return places.get(into.get(name) or name)

    if task.problem is Problem.TAGGING:
        return {}
    coded = {key: tuple(map(code, values)) for key, values in votes.of_text.items()}
    return {key: tuple(each for each in found if each is not None) for key, found in coded.items()}


def with_soft_labels(target: Target) -> Target:
    """Return a target whose training rows stand once for each vote; its test rows stay as voted.

    The loss of a text is then the mean over its votes, which for a cross-entropy is that of their
    shares as soft labels. Texts on which annotators are tied stay out.
    """
    tasks = {name: _softened(task) for name, task in target.attributes.items()}
    return dataclasses.replace(target, attributes=tasks)


def _softened(task: Task) -> Task:
    if not task.votes:
        return task
    rows = task.train
    keys = row_keys(rows.texts, rows.pairs)
    taken: list[int] = []
    labels: list[Any] = []
    for row, key in enumerate(keys):
        found = task.votes.get(key) or (rows.labels[row],)
        taken += [row] * len(found)
        labels += found
    train = Examples(
        texts=tuple(rows.texts[row] for row in taken),
        pairs=None if rows.pairs is None else tuple(rows.pairs[row] for row in taken),
        labels=np.asarray(labels, dtype=rows.labels.dtype),
    )
    return dataclasses.replace(task, splits={**task.splits, SplitName.TRAIN: train}, votes={})
