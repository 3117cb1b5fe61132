"""JSON to rows: an object a line, a list of objects, or a table as pandas writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from esm.common.errors import TaskError
from esm.tasks.raw import Values

JsonRow = dict[str, Any]

_HINT = 'mend the line, or write the file again with pandas: to_json(FILE, orient="records")'
_PAIR = 2
_TEXTS = ("text", "data")


def read_json_rows(path: Path, text: str) -> list[JsonRow]:
    """Read the objects of a file, whichever of the usual ways they are written in.

    These are an object in every line, a list of objects (also as the only list in an object), the
    tables that pandas writes (``columns``, ``index``, ``split``, ``table``), in .json files an
    object with a list for every column, and spaCy's pairs of a text and an object.

    Args:
        path: The file, for messages.
        text: What it holds.

    Raises:
        TaskError: It is not JSON, or no list of objects.
    """
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if "Extra data" not in error.msg and text.lstrip().startswith("["):
            raise _broken(path, error.lineno, f"{error.msg} at character {error.colno}") from error
        return _lines(path, text)
    rows = _of_lists(whole) if path.suffix.lower() == ".json" else None
    rows = _rows(whole) if rows is None else rows
    if rows is None:
        raise TaskError(
            f"{path} is JSON, but no list of objects with keys",
            expected="an object in every line, or a list of objects",
            hint="a folder with task.json or target.json is read as a whole: give the folder",
        )
    return rows


def _lines(path: Path, text: str) -> list[JsonRow]:
    rows: list[JsonRow] = []
    # Not splitlines: texts may hold other characters that count as ends of lines.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _row(json.loads(line))
        except json.JSONDecodeError as error:
            raise _broken(path, number, f"{error.msg} at character {error.colno}") from error
        if row is None:
            raise _broken(path, number, "not an object with keys")
        rows.append(row)
    return rows


def _broken(path: Path, line: int, fault: str) -> TaskError:
    # Only the place: the file's texts stay out of messages.
    return TaskError(
        f"{path} cannot be read: line {line}: {fault}",
        expected="a JSON object in every line, or a list of objects",
        hint=_HINT,
    )


def _row(item: Any) -> JsonRow | None:
    if isinstance(item, dict):
        return item
    is_pair = isinstance(item, list) and len(item) == _PAIR
    if is_pair and isinstance(item[0], str) and isinstance(item[1], dict):
        return {"text": item[0], **item[1]}
    return None


def _rows(whole: Any) -> list[JsonRow] | None:
    if isinstance(whole, list):
        rows = [_row(item) for item in whole]
        return None if None in rows else [row for row in rows if row is not None]
    if not isinstance(whole, dict):
        return None
    if {"columns", "data"} <= whole.keys():
        return [dict(zip(whole["columns"], cells, strict=True)) for cells in whole["data"]]
    lists = [value for value in whole.values() if isinstance(value, list)]
    is_text = any(isinstance(whole.get(name), str) for name in _TEXTS)  # then it is one row
    if (
        len(lists) == 1
        and not is_text
        and lists[0]
        and all(isinstance(item, dict) for item in lists[0])
    ):
        return list(lists[0])
    if whole and all(isinstance(value, dict) for value in whole.values()):
        return _of_frame(whole)
    is_row = whole and not any(isinstance(value, dict) for value in whole.values())
    return [whole] if is_row else None


def _of_lists(whole: Any) -> list[JsonRow] | None:
    """Return the rows of an object with a list of single values for every column."""
    if not isinstance(whole, dict) or not whole or {"columns", "data"} <= whole.keys():
        return None
    columns = list(whole.values())
    if not all(isinstance(column, list) and len(column) > 1 for column in columns):
        return None
    is_nested = any(isinstance(cell, dict) for column in columns for cell in column)
    if is_nested or len({len(column) for column in columns}) > 1:
        return None
    return [dict(zip(whole, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _of_frame(whole: dict[str, dict[str, Any]]) -> list[JsonRow] | None:
    """Return the rows of a table by columns, or by rows where rows have numbers for names."""
    by_rows = all(name.lstrip("-").isdigit() for name in whole)
    if by_rows:
        return list(whole.values())
    keys = list(dict.fromkeys(key for column in whole.values() for key in column))
    if not all(key.lstrip("-").isdigit() for key in keys):
        return None
    return [{name: column.get(key) for name, column in whole.items()} for key in keys]


def as_columns(rows: Sequence[JsonRow]) -> dict[str, Values]:
    """Return the columns of rows, with null where a row lacks a key."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def keys_of(rows: Iterable[JsonRow]) -> set[str]:
    """Return all keys that occur."""
    return {key for row in rows for key in row}
