"""Predictions of outside systems: a file of labels for the test rows, as another column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from esm.common.arrays import Array
from esm.common.errors import TaskError
from esm.common.storage import hash_file
from esm.pool.pool import Skipped
from esm.tasks.formats.files import read_table
from esm.tasks.identity import row_keys
from esm.tasks.raw import Table, Values, attribute_id, is_missing, is_number
from esm.tasks.task import Problem, Target, Task


@dataclass(frozen=True)
class Outside:
    """What an outside system predicted.

    Attributes:
        name: How it is called.
        file_hash: SHA-256 of the file.
        outputs: For each attribute the outputs (n, c) for the test rows of each fold, None being
            the only one; as :func:`~esm.metrics.predictions.performance` takes them.
        skipped: Attributes for which the file has no use, with the reason.
    """

    name: str
    file_hash: str
    outputs: Mapping[str, Mapping[int | None, Array]]
    skipped: tuple[Skipped, ...]


def read_outside(
    name: str, path: Path, targets: Sequence[Target], attributes: Sequence[str]
) -> Outside:
    """Read a file of predicted labels.

    It holds the texts, by which rows are found, in the target's column or in one called ``text``;
    second texts of a pair task likewise; and a column per attribute with the names of classes,
    lists of labels (JSON in a cell of a CSV file, as ``esm predict`` writes them) or numbers.
    Further rows and columns do not matter.

    Args:
        name: How the system is called.
        path: A .csv, .tsv, .jsonl, .xlsx or .parquet file.
        targets: The target, in all its folds.
        attributes: Names of attributes to look for.

    Raises:
        TaskError: The file cannot be read, has no texts, or labels for no attribute.
    """
    table = read_table(path.expanduser())
    outputs: dict[str, dict[int | None, Array]] = {}
    skipped = []
    for attribute in attributes:
        try:
            outputs[attribute] = {
                fold.fold: _outputs(table, fold.attributes[attribute], attribute, path)
                for fold in targets
            }
        except TaskError as error:
            where = f"{name} on {attribute_id(targets[0].id, attribute)}"
            skipped.append(Skipped(where, str(error)))
    if not outputs:
        raise TaskError(
            f"{path} is of no use for {', '.join(attributes)}: {skipped[0].reason}",
            expected="a column with the texts, and one with labels for each attribute",
        )
    return Outside(name, hash_file(path.expanduser()), outputs, tuple(skipped))


def _outputs(table: Table, task: Task, attribute: str, path: Path) -> Array:
    if task.problem is Problem.TAGGING:
        raise TaskError(
            f"{attribute!r} has a tag per word, and {path} is read as labels of texts",
            expected="an attribute of texts",
            hint="leave it out with --attribute",
        )
    if attribute not in table:
        raise TaskError(f"{path} has no column {attribute!r}", expected=f"one of {list(table)}")
    found = _labels_by_row(table, task, attribute, path)
    rows, absent = task.test, 0
    values = []
    for key in row_keys(rows.texts, rows.pairs):
        waiting = found.get(key)
        if not waiting:
            absent += 1
            continue
        # Equal texts take the predictions in the file's order, the last one for all that follow.
        values.append(waiting.pop(0) if len(waiting) > 1 else waiting[0])
    if absent:
        raise TaskError(
            f"{path} has no label in {attribute!r} for {absent} of {len(rows)} test rows",
            expected="a label for the text of every test row",
        )
    return as_outputs(task, [_parsed(value, task, attribute, path) for value in values])


def _labels_by_row(table: Table, task: Task, attribute: str, path: Path) -> dict[str, Values]:
    texts = _column(table, task, 0, path)
    pairs = _column(table, task, 1, path) if task.is_pair else None
    found: dict[str, Values] = {}
    for key, value in zip(row_keys(texts, pairs), table[attribute], strict=True):
        if not is_missing(value):
            found.setdefault(key, []).append(value)
    return found


def _column(table: Table, task: Task, place: int, path: Path) -> list[str]:
    usual = ("text", "text_pair")[place]
    names = [*task.text_columns[place : place + 1], usual]
    name = next((name for name in names if name in table), None)
    if name is None:
        raise TaskError(
            f"{path} has no column {' or '.join(map(repr, names))}",
            expected="the texts, by which rows are found",
        )
    return [str(value) for value in table[name]]


def _parsed(value: Any, task: Task, attribute: str, path: Path) -> Any:
    """Return a class number, a set of label numbers, or a number."""
    if task.problem is Problem.REGRESSION:
        if not is_number(value):
            raise TaskError(f"{path} says {value!r} for {attribute!r}", expected="a number")
        return float(value)
    if task.problem is Problem.MULTILABEL:
        return [_code(one, task, attribute, path) for one in _as_list(value)]
    return _code(value, task, attribute, path)


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return [value]
    return list(value) if isinstance(value, list | tuple | np.ndarray) else [value]


def _code(value: Any, task: Task, attribute: str, path: Path) -> int:
    name = str(value).strip()
    if name not in task.label_names:
        raise TaskError(
            f"{path} says {name!r} for {attribute!r}",
            expected=f"one of {', '.join(task.label_names)}",
        )
    return task.label_names.index(name)


def as_outputs(task: Task, values: Sequence[Any]) -> Array:
    """Return outputs (n, c) that mean these labels: 1 for what holds and -1 for what does not."""
    if task.problem in (Problem.REGRESSION, Problem.ORDINAL):
        return np.asarray(values, dtype=np.float64)[:, None]
    outputs = np.full((len(values), task.num_outputs), -1.0)
    for row, value in enumerate(values):
        outputs[row, value] = 1.0
    return outputs
