"""Sheets of XLSX workbooks to columns of values."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from esm.common.errors import TaskError
from esm.tasks.formats.cells import column_names, parse_column, written
from esm.tasks.raw import Table, is_missing

_LOGGER = logging.getLogger(__name__)


def read_workbook(
    path: Path, sheet: str | None = None, *, as_strings: frozenset[str] = frozenset()
) -> Table:
    """Read one sheet; its first row that is not empty names the columns.

    Of formulas the values are read that the spreadsheet program stored. Dates become strings as
    in ISO 8601, errors such as ``#N/A`` become null, empty rows are left out, and a header cell
    that is empty or merged into another becomes ``unnamed_1`` and so on.

    Args:
        path: The workbook.
        sheet: Name of the sheet; None takes the first, and says so where there are others.
        as_strings: Columns whose values become strings.

    Raises:
        TaskError: The file is no workbook, has no such sheet, or two columns have the same name.
    """
    rows = _rows(path, sheet)
    if not rows:
        return {}
    header, *body = rows
    names = column_names(header, path)
    table = {}
    for name, title, cells in zip(names, header, zip(*body, strict=True), strict=False):
        if is_missing(title) and all(map(is_missing, cells)):
            continue
        if name in as_strings:
            table[name] = [None if is_missing(cell) else written(cell) for cell in cells]
        else:
            table[name] = parse_column(list(cells), decimal_comma=True)
    return table


def sheet_names(path: Path) -> list[str]:
    """Return the names of a workbook's sheets of cells.

    Raises:
        TaskError: The file is no workbook.
    """
    with _opened(path) as book:
        return [sheet.title for sheet in book.worksheets]


def _rows(path: Path, sheet: str | None) -> list[tuple[Any, ...]]:
    """Return the rows that are not empty, all of the same width."""
    with _opened(path) as book:
        chosen = book[_sheet_name(path, book, sheet)]
        # What a program wrote of the sheet's size may be wrong.
        chosen.reset_dimensions()
        found = [tuple(map(_value, row)) for row in chosen.iter_rows(values_only=True)]
    filled = [row for row in found if not all(map(is_missing, row))]
    width = max(map(len, filled), default=0)
    return [(*row, *[None] * (width - len(row))) for row in filled]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a workbook; faults of the file, found at once or later, become a TaskError."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with warnings.catch_warnings():
            # Of styles and extensions that it does not know; the values are all there.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            try:
                yield book
            finally:
                book.close()
    except TaskError:
        raise
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, EOFError) as error:
        raise TaskError(
            f"{path} is truncated, encrypted or no XLSX workbook",
            expected="a workbook without a password",
            hint="save it again as .xlsx or as CSV UTF-8",
        ) from error


def _sheet_name(path: Path, book: Any, sheet: str | None) -> str:
    names: Sequence[str] = [each.title for each in book.worksheets]
    if sheet is None and len(names) > 1:
        _LOGGER.warning(
            f"{path.name}: sheet {names[0]!r} is read, the first of {len(names)}; --sheet chooses"
        )
    if (sheet is None and not names) or (sheet is not None and sheet not in names):
        raise TaskError(
            f"{path} has no sheet {'of cells' if sheet is None else repr(sheet)}",
            expected=f"one of {', '.join(map(repr, names))}" if names else "a sheet with rows",
            hint="--sheet NAME",
        )
    return names[0] if sheet is None else sheet


def _value(cell: Any) -> Any:
    from openpyxl.cell.cell import ERROR_CODES

    if not isinstance(cell, str):
        return cell
    # Excel writes the carriage returns of pasted texts as an escape.
    return None if cell in ERROR_CODES else cell.replace("_x000D_", "")
