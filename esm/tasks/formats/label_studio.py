"""Label Studio's exports: JSON, JSON-MIN, CSV and TSV of labels of whole texts.

Shapes as in label-studio-sdk 2.1.2, ``converter/converter.py`` and ``converter/exports/csv2.py``
(github.com/HumanSignal/label-studio-sdk), and in its page "Label Studio Task Format". CoNLL files
are read like all others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from esm.tasks.formats.annotations import (
    ANNOTATOR,
    Export,
    Labels,
    classes_or_sets,
    left_out,
    spans_error,
    unannotated,
)
from esm.tasks.formats.json_rows import JsonRow, as_columns, keys_of
from esm.tasks.raw import Table, Values, is_missing

_OWN = {
    "annotation_id",
    "created_at",
    "updated_at",
    "updated_by",
    "lead_time",
    "agreement",
    "was_cancelled",
    "ground_truth",
    "history",
}
_FLAT = {"annotation_id", "lead_time"}
_SPANS = (
    "export CoNLL2003 (Label Studio: Export, or label-studio-converter export --format CONLL2003)"
    " and read the .conll file"
)
_RATED = ("rating", "number")
_PATHS = "taxonomy"


def from_tasks(path: Path, rows: Sequence[JsonRow]) -> Export | None:
    """Read tasks with their annotations (JSON); None where the rows are of another origin.

    Each annotation becomes a row, that of the ground truth alone where a task has one; a task that
    was skipped, or that nobody annotated, becomes a row without labels.

    Raises:
        TaskError: The labels belong to spans of the text.
    """
    if not all(isinstance(row.get("data"), dict) for row in rows) or not (
        keys_of(rows) & {"annotations", "completions", "predictions"}
    ):
        return None
    found: list[JsonRow] = []
    results: list[dict[str, list[Any]] | None] = []
    counts: Counter[str] = Counter()
    unread: set[str] = set()
    for row in rows:
        given = [each for each in _annotations(row) if isinstance(each, dict)]
        done = [each for each in given if not _is_skipped(each)]
        gold = [each for each in done if each.get("ground_truth")]
        counts["skipped"] += bool(given) and not done
        counts["gold"] += bool(gold) and len(done) > 1
        taken: list[dict[str, Any] | None] = [*(gold[:1] or done)]
        for annotation in taken or [None]:
            by = {} if annotation is None else {ANNOTATOR: _annotator(annotation)}
            found.append(_inputs(row) | by)
            results.append(None if annotation is None else _results(annotation, unread))
    if unread and not any(results):
        raise spans_error(path, "Label Studio JSON", _SPANS)
    names = list(dict.fromkeys(name for result in results for name in result or ()))
    columns = as_columns([_plain(row) for row in found])
    notes = [
        f"{counts['skipped']} tasks were skipped by the annotator" if counts["skipped"] else "",
        f"{counts['gold']} tasks have a ground truth, which alone is taken"
        if counts["gold"]
        else "",
        left_out(unread, "they label parts of the text"),
        left_out({key for row in found for key in row} - columns.keys(), "they hold objects"),
    ]
    return _export("Label Studio JSON", columns, {n: _column(results, n) for n in names}, notes)


def _annotations(row: JsonRow) -> list[Any]:
    return list(row.get("annotations") or row.get("completions") or ())


def _is_skipped(annotation: Mapping[str, Any]) -> bool:
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))


def _annotator(annotation: Mapping[str, Any]) -> str | None:
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("email", who.get("id"))
    return None if who is None else str(who)


def _inputs(row: JsonRow) -> JsonRow:
    identifier = {} if row.get("id") is None else {"id": row["id"]}
    return {**identifier, **row["data"]}


def _plain(row: JsonRow) -> JsonRow:
    return {name: value for name, value in row.items() if not isinstance(value, dict | list)}


def _results(annotation: Mapping[str, Any], unread: set[str]) -> dict[str, list[Any]]:
    """Return what one annotation says, by control; those that are not read go into a set."""
    found: dict[str, list[Any]] = {}
    for result in annotation.get("result") or ():
        name, value = result.get("from_name"), result.get("value") or {}
        if name is None:
            continue
        read = _read(value)
        if read is None:
            unread.add(str(name))
        else:
            found.setdefault(str(name), []).extend(read)
    return found


def _read(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the labels, ratings, numbers or texts of one result; None where it is about a part."""
    if {"start", "end", "x", "ranges"} & value.keys():
        return None
    if isinstance(value.get("choices"), list):
        return [str(choice) for choice in value["choices"]]
    if isinstance(value.get(_PATHS), list):
        return [" / ".join(map(str, steps)) for steps in value[_PATHS]]
    for kind in _RATED:
        if isinstance(value.get(kind), int | float):
            return [value[kind]]
    if isinstance(value.get("text"), list):
        return ["\n".join(map(str, value["text"]))]
    single = value.get("datetime", value.get("selected", value.get("text")))
    return None if single is None else [str(single)]


def _column(results: Sequence[Mapping[str, list[Any]] | None], name: str) -> list[list[Any] | None]:
    return [None if result is None else result.get(name) or None for result in results]


def _export(
    tool: str, inputs: Table, outputs: Mapping[str, list[list[Any] | None]], notes: Sequence[str]
) -> Export:
    """Return inputs and outputs side by side; an output called like an input replaces it."""
    told = []
    columns: dict[str, Values] = dict(inputs)
    for name, rows in outputs.items():
        columns[name], about = _values(name, rows)
        empty = unannotated(sum(row is None for row in rows), len(rows), "lack it and count as")
        told.append(f"{about}{', ' if empty else ''}{empty}")
    who = {each for each in columns.get(ANNOTATOR, ()) if not is_missing(each)}
    several = f"{len(who)} annotators" if len(who) > 1 else ""
    return Export(tool, columns, (*told, several, *notes))


def _values(name: str, rows: Sequence[list[Any] | None]) -> tuple[Values, str]:
    numbers = [row for row in rows if row and not isinstance(row[0], str)]
    if numbers:
        return [row[-1] if row else None for row in rows], f"{name!r} holds ratings or numbers"
    labels: list[Labels] = [
        None if row is None else list(dict.fromkeys(map(str, row))) for row in rows
    ]
    return classes_or_sets(name, labels)


# ------------------------------------------------------------------------- JSON-MIN, CSV and TSV


def from_rows(path: Path, rows: Sequence[JsonRow]) -> Export | None:
    """Read flat rows (JSON-MIN); None where they are of another origin.

    Raises:
        TaskError: The labels belong to spans of the text.
    """
    return _from_columns(path, "JSON-MIN", as_columns(rows)) if keys_of(rows) >= _FLAT else None


def from_table(path: Path, table: Table) -> Export | None:
    """Read the columns of CSV or TSV; None where they are of another origin.

    Raises:
        TaskError: The labels belong to spans of the text.
    """
    return _from_columns(path, "CSV", table) if table.keys() >= _FLAT else None


def _from_columns(path: Path, kind: str, table: Table) -> Export:
    """Read columns whose cells hold one label as it is and other results as JSON."""
    skipped = [str(cell).casefold() == "true" for cell in table.get("was_cancelled", ())]
    if any(skipped):
        kept = [row for row, is_skipped in enumerate(skipped) if not is_skipped]
        table = {name: [cells[row] for row in kept] for name, cells in table.items()}
    inputs: dict[str, Values] = {}
    outputs: dict[str, list[list[Any] | None]] = {}
    unread: set[str] = set()
    for name, cells in table.items():
        if name in _OWN:
            continue
        values = [_from_json(cell) for cell in cells]
        if not any(isinstance(value, dict | list) for value in values):
            inputs[name] = list(cells)
            continue
        read = [_read_cell(value) for value in values]
        if any(row is None and not is_missing(cell) for row, cell in zip(read, cells, strict=True)):
            unread.add(name)
        else:
            outputs[name] = read
    if unread and not outputs and not _has_labels(inputs):
        raise spans_error(path, f"Label Studio {kind}", _SPANS)
    notes = [
        f"{sum(skipped)} rows that the annotator skipped are left out" if any(skipped) else "",
        left_out(unread, "they hold objects or label parts of the text"),
        left_out(_OWN & table.keys()),
    ]
    return _export(f"Label Studio {kind}", inputs, outputs, notes)


def _from_json(cell: Any) -> Any:
    """Return what a cell with JSON holds; others as they are."""
    if isinstance(cell, str) and cell[:1] in ("{", "["):
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell


def _read_cell(value: Any) -> list[Any] | None:
    """Return the results of one cell; None where it is empty or cannot be read."""
    if is_missing(value):
        return None
    found: list[Any] = []
    for item in value if isinstance(value, list) else [value]:
        read = _read(item) if isinstance(item, dict) else [item]
        if read is None:
            return None
        found += read
    return found or None


def _has_labels(columns: Iterable[str]) -> bool:
    return len({*columns} - {"id", ANNOTATOR}) > 1
