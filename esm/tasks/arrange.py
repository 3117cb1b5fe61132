"""From columns as they stand in a file to a column per attribute, with lists of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from esm.common.errors import TaskError
from esm.tasks.formats.cells import parse_column, written
from esm.tasks.formats.sentences import TEXT
from esm.tasks.guess.columns import check_texts
from esm.tasks.guess.facts import Facts
from esm.tasks.labels.sets import as_sets, as_singles, listed, num_indicators
from esm.tasks.raw import LabelColumn, RawData, Table, Values, is_missing, missing_column
from esm.tasks.spec import ColumnSpec, TaskSpec
from esm.tasks.task import Problem, SplitName

_LONG = "name them with attribute_column and value_column"

# The texts of a row, the second one of a pair task: what rows of a long file are grouped by.
_Key = tuple[Any, ...]


def arrange(raw: RawData, spec: TaskSpec) -> RawData:
    """Return the data with a column per attribute and lists where cells hold several labels.

    A long file (a row per text and attribute) becomes wide: a row per text, in the order in which
    the texts come first. The same value given twice counts once. Of the other columns only those
    of the split are kept.

    Raises:
        TaskError: A column that the specification names is absent; or a text of a long file has
            several values of one attribute that is not multi-label, or several groups.
    """
    if spec.attribute_column is not None or spec.value_column is not None:
        raw = _widen(raw, spec)
    for name in spec.columns:
        if name not in raw.train:
            raise missing_column(name, raw.train, f"training rows of {raw.id}")
    readers = {
        name: reader
        for name, column in spec.columns.items()
        if (reader := _reader(raw, name, column)) is not None
    }
    splits = {split: _read(table, readers) for split, table in raw.splits.items()}
    # A column of which it is said how to read it is an attribute, however many values it has.
    named = {} if raw.described else dict.fromkeys(spec.columns, LabelColumn())
    return dataclasses.replace(raw, splits=splits, known={**named, **raw.known})


def _reader(raw: RawData, name: str, column: ColumnSpec) -> Callable[[Values], Values] | None:
    """Return what makes labels of a column's cells; None where they stay as they are."""
    if column.kind == Problem.TAGGING:
        return None
    separator = None if column.separator is None else _separator(name, column.separator)
    if column.kind == Problem.MULTILABEL or separator is not None:
        width = 0 if separator else column.indicators or num_indicators(raw.train[name])
        return lambda cells: as_sets(cells, separator, column.options, width)
    facts = Facts(name, raw.train[name])
    if column.kind == "auto" or not (facts.has_lists or num_indicators(facts.values)):
        return None
    lists = [found for cell in facts.filled if (found := listed(cell)) is not None]
    is_single = all(len(found) <= 1 for found in lists) or num_indicators(facts.values) > 0
    return as_singles if is_single else None


def _separator(column: str, separator: str) -> str:
    if not separator:
        raise TaskError(
            f"the separator of column {column!r} is empty",
            expected="what stands between the labels of a cell",
            hint="for instance ';'",
        )
    return separator


def _read(table: Table, readers: Mapping[str, Callable[[Values], Values]]) -> Table:
    return {
        name: readers[name](values) if name in readers else values for name, values in table.items()
    }


# ---------------------------------------------------------------------------------- long files


def _widen(raw: RawData, spec: TaskSpec) -> RawData:
    if spec.attribute_column is None or spec.value_column is None:
        raise TaskError(
            f"of the long file {raw.id} only one column is named",
            expected="the column of the attributes and the column of their values",
            hint=_LONG,
        )
    texts = _text_columns(raw, spec)
    names = _attribute_names(raw, spec.attribute_column)
    kept = {spec.split.group, spec.split.column} & raw.train.keys()
    taken = [name for name in names if name in {*texts, *kept}]
    if taken:
        raise TaskError(
            f"attribute {taken[0]!r} of {raw.id} is called like a column",
            expected="attributes with names of their own",
            hint="rename the column or the attribute",
        )
    splits = {split: _wide(raw, split, spec, texts, names) for split in raw.splits}
    known = {name: raw.known.get(name, LabelColumn()) for name in names}
    return dataclasses.replace(raw, splits=splits, known=known, described=True)


def _text_columns(raw: RawData, spec: TaskSpec) -> tuple[str, ...]:
    """Return the columns to group by: they cannot be guessed, because their values come again."""
    text = spec.text or TEXT
    pair = () if spec.text_pair is None else (spec.text_pair,)
    for name in (text, *pair, spec.attribute_column, spec.value_column):
        if name not in raw.train:
            raise missing_column(str(name), raw.train, f"training rows of {raw.id}")
    for name in (text, *pair):
        check_texts(name, raw.train[name], raw.id)
    if spec.annotator is None:
        return text, *pair
    nameless = sum(map(is_missing, raw.column(SplitName.TRAIN, spec.annotator)))
    if nameless:
        raise TaskError(
            f"{nameless} rows of {raw.id} do not say in column {spec.annotator!r} who annotated",
            expected="a name in every row of a long file",
            hint="fill the names in",
        )
    # Rows of several annotators stay apart until their votes are counted.
    return text, *pair, spec.annotator


def _attribute_names(raw: RawData, column: str) -> tuple[str, ...]:
    cells = raw.column(SplitName.TRAIN, column)
    names = tuple(dict.fromkeys(written(cell).strip() for cell in cells if not is_missing(cell)))
    if not names:
        raise TaskError(
            f"column {column!r} of {raw.id} names no attribute",
            expected="the name of an attribute in every row",
            hint=_LONG,
        )
    return names


def _wide(
    raw: RawData,
    split: SplitName,
    spec: TaskSpec,
    texts: tuple[str, ...],
    names: tuple[str, ...],
) -> Table:
    """Return a row per text; rows without a text stay rows of their own, without labels."""
    attributes = raw.column(split, str(spec.attribute_column))
    values = raw.column(split, str(spec.value_column))
    _refuse_nameless(raw.id, attributes, values)
    keys = _keys([raw.column(split, name) for name in texts])
    cells: dict[str, dict[_Key, Values]] = {name: {} for name in names}
    for key, attribute, value in zip(keys, attributes, values, strict=True):
        if is_missing(attribute) or is_missing(value) or any(map(is_missing, key[: len(texts)])):
            continue
        of_attribute = cells.get(written(attribute).strip())
        if of_attribute is not None:
            of_attribute.setdefault(key, []).append(value)
    rows = list(dict.fromkeys(keys))
    table: dict[str, Values] = {name: [key[i] for key in rows] for i, name in enumerate(texts)}
    for name in (spec.split.group, spec.split.column):
        if name is not None and name in raw.splits[split]:
            table[name] = _constant(name, keys, rows, raw.column(split, name))
    for name in names:
        column = spec.columns.get(name, ColumnSpec())
        kind = spec.kind if column.kind == "auto" else column.kind
        several = kind == Problem.MULTILABEL or column.separator is not None
        merged = _together if several else _single
        found = merged(name, cells[name], column)
        values = [found.get(key) for key in rows]
        table[name] = values if column.separator else parse_column(values, decimal_comma=True)
    return table


def _keys(columns: list[Values]) -> list[_Key]:
    """Return what rows of one text share; a row without a text shares it with no other row."""
    rows = enumerate(zip(*columns, strict=True))
    return [(*row, number) if any(map(is_missing, row)) else row for number, row in rows]


def _refuse_nameless(task: str, attributes: Values, values: Values) -> None:
    count = sum(
        is_missing(name) and not is_missing(value)
        for name, value in zip(attributes, values, strict=True)
    )
    if count:
        raise TaskError(
            f"{count} rows of {task} have a value and name no attribute",
            expected="the name of an attribute beside every value",
            hint="fill the names in, or empty the values",
        )


def _constant(name: str, keys: list[_Key], rows: list[_Key], values: Values) -> Values:
    """Return the one value that each text has in a column of the split."""
    found: dict[_Key, list[Any]] = {}
    for key, value in zip(keys, values, strict=True):
        if not is_missing(value) and value not in found.setdefault(key, []):
            found[key].append(value)
    several = sum(len(of_key) > 1 for of_key in found.values())
    if several:
        raise TaskError(
            f"column {name!r} has several values for {several} texts",
            expected="one value per text, because a text stands on one side of a split",
            hint="give all rows of a text the same value",
        )
    return [next(iter(found.get(key, [])), None) for key in rows]


def _single(name: str, cells: Mapping[_Key, Values], column: ColumnSpec) -> dict[_Key, Any]:
    """Return the value of each text; values that are written alike are the same."""
    several = sum(len({_name(value) for value in values}) > 1 for values in cells.values())
    if several:
        raise TaskError(
            f"attribute {name!r} has several values for {several} of its {len(cells)} texts",
            expected="one value per text, unless the attribute is multi-label",
            hint=f'decide on one of them, or set kind = "{Problem.MULTILABEL}" for the column',
        )
    return {key: values[0] for key, values in cells.items()}


def _together(name: str, cells: Mapping[_Key, Values], column: ColumnSpec) -> dict[_Key, Any]:
    """Return all the labels of each text, those that come in one cell and in several rows."""
    separator = column.separator
    joined: dict[_Key, Any] = {}
    for key, values in cells.items():
        separator = None if separator is None else _separator(name, separator)
        lists = as_sets(values, separator, column.options)
        labels = [item for of_row in lists for item in of_row]
        joined[key] = list(dict.fromkeys(map(_name, labels)))
    return joined


def _name(value: Any) -> str:
    if isinstance(value, list):
        return str(sorted(map(_name, value)))
    return written(value).strip()
