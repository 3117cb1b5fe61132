"""spaCy's categories: a text beside ``cats``, how far each label holds, from 0 to 1.

Shape as in spaCy's page "Data formats" (spacy.io/api/data-formats); spaCy's own scorer, too, takes
a label to hold from 0.5 on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esm.tasks.formats.annotations import (
    AS_WORDS,
    LABEL,
    Export,
    classes_or_sets,
    left_out,
    spans_error,
    unannotated,
    without,
)
from esm.tasks.formats.json_rows import JsonRow, as_columns, keys_of

_CATS = "cats"
_HOLDS = 0.5


def from_rows(path: Path, rows: Sequence[JsonRow]) -> Export | None:
    """Read rows with ``cats``; None where the rows are of another origin.

    Raises:
        TaskError: The rows have entities and no categories.
    """
    keys = keys_of(rows)
    if "text" not in keys:
        return None
    cats = [row.get(_CATS) for row in rows]
    given = [each for each in cats if isinstance(each, dict)]
    if not any(given) or len(given) + cats.count(None) < len(rows):
        entities = [item for row in rows for item in _entities(row)]
        if not given and entities and all(map(_is_span, entities)) and keys <= {"text", "entities"}:
            raise spans_error(path, "spaCy's training data of entities", AS_WORDS)
        return None
    rest = [without(row, (_CATS, "entities")) for row in rows]
    names = list(dict.fromkeys(name for each in given for name in each))
    columns, notes = _labels(cats, names)
    taken = {name: f"label {name}" if name in keys_of(rest) else name for name in columns}
    spans = left_out({"entities"} & keys, "spans of the text")
    table = {**as_columns(rest), **{taken[name]: cells for name, cells in columns.items()}}
    empty = unannotated(len(rows) - sum(map(bool, cats)), len(rows))
    return Export("spaCy's cats", table, (*notes, empty, spans))


def _labels(
    cats: Sequence[Mapping[str, float] | None], names: Sequence[str]
) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    filled = [each for each in cats if each]
    between = sum(value not in (0, 1) for each in filled for value in each.values())
    soft = f"{between} values between 0 and 1 hold from {_HOLDS} on" if between else ""
    holding = [
        None if not each else [name for name in names if each.get(name, 0) >= _HOLDS]
        for each in cats
    ]
    only_holding = all(value >= _HOLDS for each in filled for value in each.values())
    if all(len(each) == len(names) for each in filled) or only_holding:
        column, about = classes_or_sets(LABEL, holding)
        none = sum(row == [] for row in holding)
        if none:  # a row in which every label is denied is annotated
            column, about = list(holding), f"{LABEL!r} holds sets of labels ({none} are empty)"
        return {LABEL: column}, (about, soft)
    columns: dict[str, list[Any]] = {
        name: [
            None if not each or name not in each else str(each[name] >= _HOLDS).lower()
            for each in cats
        ]
        for name in names
    }
    about = f"rows differ in the labels that they speak of: {len(names)} attributes, true or false"
    return columns, (about, soft)


def _entities(row: JsonRow) -> list[Any]:
    found = row.get("entities")
    return found if isinstance(found, list) else []


def _is_span(item: object) -> bool:
    return isinstance(item, list) and len(item) == 3 and isinstance(item[0], int)
