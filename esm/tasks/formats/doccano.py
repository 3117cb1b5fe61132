"""doccano's exports: JSONL, JSON and CSV of text classification, also of versions before 1.5.

Shapes as in ``backend/data_export`` of doccano 1.8.4 and of 1.0 (github.com/doccano/doccano).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esm.tasks.formats.annotations import (
    ANNOTATOR,
    AS_WORDS,
    LABEL,
    Export,
    Labels,
    classes_or_sets,
    left_out,
    spans_error,
    unannotated,
    without,
)
from esm.tasks.formats.json_rows import JsonRow, as_columns, keys_of
from esm.tasks.raw import Table, is_missing

_BETWEEN = "#"
_TEXTS = ("text", "data")
_CATEGORIES = ("label", "labels", "cats")
_OWN = ("Comments", "comments", "annotation_approver", "annotations", "entities", "relations")
_SPANS = f"export a project of the kind Text Classification; {AS_WORDS}"
_LABEL_IDS = "labels are ids, 'label 1' and so on: export JSONL (Text Labels) to have their names"
_EMPTY = "without a label; give examples to which none applies a label of their own"


def from_rows(path: Path, rows: Sequence[JsonRow]) -> Export | None:
    """Read objects as doccano writes them; None where they are of another origin.

    Raises:
        TaskError: Their labels belong to spans of the text, or are texts.
    """
    keys = keys_of(rows)
    if not any(name in keys for name in _TEXTS) or "id" not in keys:
        return None
    if "annotations" in keys and _all_lists(rows, "annotations"):
        return _from_annotations(path, rows)
    if {"entities", "relations"} & keys and "cats" not in keys and _is_spans(rows, "entities"):
        raise spans_error(path, "doccano's export of relations or entities", _SPANS)
    name = next((name for name in _CATEGORIES if name in keys and _all_lists(rows, name)), None)
    if name is None:
        return None
    if _is_spans(rows, name):
        raise spans_error(path, "doccano's export of sequence labelling", _SPANS)
    if not all(isinstance(item, str) for row in rows for item in row.get(name) or ()):
        return None
    # Lists of single labels are doccano's in any case; others may be anybody's, and [] a label set.
    is_single = all(len(row.get(name) or ()) < 2 for row in rows)
    if not (is_single or {*_OWN} & keys or name == "cats"):
        return None
    labels = [row.get(name) or None for row in rows]
    leave = [each for each in (*_OWN, name) if each in keys]
    return _export("doccano JSON", [without(row, leave) for row in rows], labels, leave, name)


def _from_annotations(path: Path, rows: Sequence[JsonRow]) -> Export | None:
    """Read versions before 1.2: records of a label's id and of who chose it."""
    records = [record for row in rows for record in row.get("annotations") or ()]
    if not all(isinstance(record, dict) for record in records):
        return None
    if any("start_offset" in record for record in records):
        raise spans_error(path, "doccano's export of sequence labelling", _SPANS)
    if not records or not all("label" in record for record in records):
        return None
    users = sorted({str(record.get("user")) for record in records})
    found: list[JsonRow] = []
    labels: list[Labels] = []
    for row in rows:
        of_user: dict[str, list[str]] = {}
        for record in row.get("annotations") or ():
            of_user.setdefault(str(record.get("user")), []).append(f"label {record['label']}")
        for user, chosen in of_user.items() or [(None, None)]:
            labels.append(chosen)
            by = {ANNOTATOR: user} if len(users) > 1 else {}
            found.append(without(row, _OWN) | by)
    leave = [name for name in (*_OWN, "meta") if name in keys_of(rows)]
    found = [without(row, ["meta"]) for row in found]
    export = _export("doccano JSON before version 1.2", found, labels, leave, "annotations")
    return Export(export.tool, export.table, (_LABEL_IDS, *export.notes))


def from_table(path: Path, table: Table) -> Export | None:
    """Read columns as doccano writes them to CSV: several labels of a text with ``#`` between them.

    None where they are of another origin.
    """
    names = [*table]
    text = next((name for name in _TEXTS if name in names), None)
    has_own = "Comments" in names or (len(names) == 3 and _is_joined(table.get(LABEL, ())))
    if text is None or not {"id", LABEL} <= {*names} or not has_own:
        return None
    cells = table[LABEL]
    if not all(isinstance(cell, str) for cell in cells if not is_missing(cell)):
        return None
    labels: list[Labels] = [None if is_missing(cell) else _parts(cell) for cell in cells]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*table.values(), strict=True)]
    leave = [name for name in ("Comments", LABEL) if name in names]
    return _export("doccano CSV", [without(row, leave) for row in rows], labels, leave, LABEL)


def _export(
    tool: str, rows: Sequence[JsonRow], labels: Sequence[Labels], leave: Sequence[str], name: str
) -> Export:
    column, about = classes_or_sets(LABEL, labels)
    columns = as_columns(rows)
    if "data" in columns and "text" not in columns:
        columns = {"text" if old == "data" else old: cells for old, cells in columns.items()}
    several = any(label is not None and len(label) > 1 for label in labels)
    empty = unannotated(sum(label is None for label in labels), len(labels))
    if empty and several:
        empty = f"{empty} ({_EMPTY})"
    own = left_out(each for each in leave if each != name)
    return Export(tool, {**columns, LABEL: column}, (about, empty, own))


def _all_lists(rows: Sequence[JsonRow], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(isinstance(value, list) for value in values)


def _is_spans(rows: Sequence[JsonRow], name: str) -> bool:
    items = [item for row in rows for item in row.get(name) or ()]
    return bool(items) and all(_is_span(item) for item in items)


def _is_span(item: Any) -> bool:
    if isinstance(item, dict):
        return {"start_offset", "end_offset"} <= item.keys()
    return isinstance(item, list) and len(item) == 3 and isinstance(item[0], int)


def _is_joined(cells: Sequence[Any]) -> bool:
    """Return whether some cells join, in the alphabet's order, what other cells hold alone."""
    found = {cell for cell in cells if isinstance(cell, str)}
    joined = [_parts(cell) for cell in found if len(_parts(cell)) > 1]
    return bool(joined) and all(
        parts == sorted(parts) and any(part in found for part in parts) for parts in joined
    )


def _parts(cell: str) -> list[str]:
    """Return the labels of a cell; ``C#`` is one label."""
    parts = cell.split(_BETWEEN)
    return parts if all(part.strip() for part in parts) else [cell]
