"""Cells of spreadsheets and text tables to values: numbers, lists of labels, or texts as is."""

from __future__ import annotations

import ast
import datetime
import json
import re
from collections.abc import Sequence
from typing import Any

from esm.common.errors import TaskError
from esm.tasks.labels.names import label_name
from esm.tasks.labels.numbers import is_grouped
from esm.tasks.raw import Values, is_missing, is_number

# Without leading zeros: 007 is a code, not the number seven.
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_DECIMAL_COMMA = re.compile(r"-?(0|[1-9]\d*)(,\d+)?")
_LIST = re.compile(r"\s*\[.*\]\s*", re.DOTALL)


def column_names(header: Sequence[Any], where: object) -> list[str]:
    """Return the columns' names; those without one are called ``unnamed_0`` and so on.

    Raises:
        TaskError: Two columns have the same name.
    """
    names = [
        f"unnamed_{i}" if is_missing(cell) else label_name(cell) for i, cell in enumerate(header)
    ]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TaskError(
            f"{where} has several columns called {', '.join(map(repr, repeated))}",
            expected="a name of its own for each column",
        )
    return names


def parse_column(cells: Values, *, decimal_comma: bool = False) -> Values:
    """Return a column's values as what all of its cells are, with null where a cell is empty.

    A column holds whole numbers where every filled cell is one, likewise numbers, truth values
    and lists (written as JSON or as Python writes them); else it holds strings, and numbers
    among them are written out. Dates are written as in ISO 8601.

    Args:
        cells: Strings, or values as a spreadsheet holds them.
        decimal_comma: Whether ``0,5`` is a number.
    """
    if {*map(type, cells)} == {str}:  # as in text tables; the same, and quick
        cells = [cell if cell and not cell.isspace() else None for cell in cells]
    else:
        cells = [None if is_missing(cell) else cell for cell in cells]
    filled = [cell for cell in cells if cell is not None]
    kinds = {type(cell) for cell in filled}
    if kinds <= {int, float} or kinds == {bool} or list in kinds:
        return cells
    words = cells
    if kinds != {str}:
        words = [None if cell is None else written(cell) for cell in cells]
    return _from_strings(words, decimal_comma=decimal_comma)


def written(cell: Any) -> str:
    """Return a single value as a string: a date as in ISO 8601, 1.0 as ``1``."""
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    return cell if isinstance(cell, str) else label_name(cell)


def _from_strings(cells: list[str | None], *, decimal_comma: bool) -> Values:
    filled = [cell.strip() for cell in cells if cell is not None]
    if not filled:
        return list(cells)
    if all(_INTEGER.fullmatch(cell) for cell in filled):
        return [None if cell is None else int(cell) for cell in cells]
    if all(_is_measure(cell) for cell in filled):
        if is_grouped(filled):  # 1.200 beside 950: for whoever reads the labels to refuse
            return list(cells)
        return [None if cell is None else float(cell) for cell in cells]
    if decimal_comma and all(_DECIMAL_COMMA.fullmatch(cell) for cell in filled):
        return [None if cell is None else float(cell.replace(",", ".")) for cell in cells]
    if all(_LIST.fullmatch(cell) for cell in filled):
        lists = [None if cell is None else _list(cell.strip()) for cell in cells]
        if lists.count(None) == cells.count(None):
            return lists
    return list(cells)


def _is_measure(cell: str) -> bool:
    return (is_number(cell) and not re.match(r"-?0\d", cell)) or cell.lower() == "nan"


def _list(cell: str) -> list[str] | None:
    """Return the labels of a cell such as ``["a", "b"]`` or ``['a', 'b']``; None if it is none."""
    try:
        items = json.loads(cell)
    except ValueError:
        try:
            items = ast.literal_eval(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(items, list) or not all(isinstance(x, str | int | float) for x in items):
        return None
    return [label_name(item) for item in items]
