"""Sheets of XLSX workbooks to columns of values."""

from __future__ import annotations

import datetime
import logging
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from esm.common.errors import TaskError
from esm.common.runtime import warn_once
from esm.tasks.formats.cells import column_names, parse_column, written
from esm.tasks.formats.header import (
    ROWS_LOOKED_AT,
    find_header,
    note_dates,
    note_surroundings,
    num_second_headers,
    num_totals,
    without_errors,
)
from esm.tasks.formats.sheet_facts import (
    SheetFacts,
    fill_merged,
    note_sheet_facts,
    read_sheet_facts,
)
from esm.tasks.raw import Table, is_missing

_LOGGER = logging.getLogger(__name__)


def read_workbook(
    path: Path, sheet: str | None = None, *, as_strings: frozenset[str] = frozenset()
) -> Table:
    """Read one sheet; its first row that is not empty, or below titles, names the columns.

    Of formulas the values are read that the spreadsheet program stored. Dates become strings as
    in ISO 8601, errors such as ``#N/A`` become null, empty rows are left out, and a header cell
    that is empty or merged into another becomes ``unnamed_1`` and so on. Merged cells have the
    value of the first, hidden rows are read, titles and totals are left out: notes say of how many.

    Args:
        path: The workbook.
        sheet: Name of the sheet; None takes the first that is not hidden, and says so where there
            are others.
        as_strings: Columns whose values become strings.

    Raises:
        TaskError: The file is no workbook, has no such sheet, or two columns have the same name.
    """
    found, facts, yearless = _rows(path, sheet)
    filled = fill_merged(found, facts)
    numbered = [(row, cells) for row, cells in enumerate(found) if not _is_empty(cells)]
    if not numbered:
        return {}
    first = [cells for _, cells in numbered[:ROWS_LOOKED_AT]]
    spread = {place for place, (row, _) in enumerate(numbered) if row in facts.spread}
    titles = find_header(first, spread)
    header, kept = numbered[titles][1], numbered[titles + 1 :]
    second = num_second_headers([cells for _, cells in kept])
    totals = num_totals([cells for _, cells in kept]) if len(header) > 1 else 0
    kept = kept[second : len(kept) - totals]
    width = max(map(len, (header, *(cells for _, cells in kept))))
    header += [None] * (width - len(header))
    columns = [
        [cells[place] if place < len(cells) else None for _, cells in kept]
        for place in range(width)
    ]
    names = column_names(header, path)
    note_surroundings(path, titles, second, totals)
    rows = {row for row, _ in kept}
    merged = [place for row, place in filled if row in rows]
    hidden = sum(row + 1 in facts.hidden for row in rows)
    note_sheet_facts(path, names, merged, hidden, facts.uncomputed)
    table = {}
    cells_of = without_errors(path, dict(zip(names, columns, strict=True)))
    for place, (name, cells) in enumerate(cells_of.items()):
        title = header[place]
        if is_missing(title) and all(map(is_missing, cells)):
            continue
        note_dates(path, name, cells, yearless=place in yearless)
        if name in as_strings:
            table[name] = [None if is_missing(cell) else written(cell) for cell in cells]
        else:
            table[name] = parse_column(cells, decimal_comma=True)
    return table


def sheet_names(path: Path) -> list[str]:
    """Return the names of a workbook's sheets of cells that are not hidden, or else of all.

    Raises:
        TaskError: The file is no workbook.
    """
    with _opened(path) as book:
        return _visible(book)


def _visible(book: Any) -> list[str]:
    shown = [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"]
    return shown or [sheet.title for sheet in book.worksheets]


def _is_empty(cells: Sequence[Any]) -> bool:
    return all(map(is_missing, cells))


def _rows(path: Path, sheet: str | None) -> tuple[list[list[Any]], SheetFacts, set[int]]:
    """Return a sheet's rows, what stands beside them, and the columns of dates without years."""
    with _opened(path) as book:
        chosen = book[_sheet_name(path, book, sheet)]
        # What a program wrote of the sheet's size may be wrong.
        chosen.reset_dimensions()
        rows = [list(map(_value, row)) for row in chosen.iter_rows(values_only=True)]
        # A second pass over the XML: openpyxl keeps none of this unless it keeps every cell.
        with chosen._get_source() as stream:
            facts = read_sheet_facts(stream)
        first = chosen.iter_rows(max_row=ROWS_LOOKED_AT)
        yearless = {
            place
            for row in first
            for place, cell in enumerate(row)
            if isinstance(cell.value, datetime.date) and "y" not in cell.number_format.lower()
        }
        return rows, facts, yearless


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
    except (
        zipfile.BadZipFile,
        InvalidFileException,
        ParseError,
        KeyError,
        ValueError,
        EOFError,
    ) as error:
        raise TaskError(
            f"{path} is truncated, encrypted or no XLSX workbook",
            expected="a workbook without a password",
            hint="save it again as .xlsx or as CSV UTF-8",
        ) from error


def _sheet_name(path: Path, book: Any, sheet: str | None) -> str:
    names: Sequence[str] = [each.title for each in book.worksheets]
    shown = _visible(book)
    hidden = [name for name in names if name not in shown]
    if sheet is None and len(names) > 1:
        which = f"the first of {len(shown)}" if len(shown) > 1 else "the only one that is shown"
        others = f" (hidden: {', '.join(map(repr, hidden))})" if hidden else ""
        warn_once(
            _LOGGER, f"{path.name}: sheet {shown[0]!r} is read, {which}{others}; --sheet chooses"
        )
    elif sheet in hidden:
        warn_once(_LOGGER, f"{path.name}: sheet {sheet!r} is hidden in the workbook")
    if (sheet is None and not names) or (sheet is not None and sheet not in names):
        raise TaskError(
            f"{path} has no sheet {'of cells' if sheet is None else repr(sheet)}",
            expected=f"one of {', '.join(map(repr, names))}" if names else "a sheet with rows",
            hint="--sheet NAME",
        )
    return shown[0] if sheet is None else sheet


def _value(cell: Any) -> Any:
    # Excel writes the carriage returns of pasted texts as an escape.
    return cell.replace("_x000D_", "") if isinstance(cell, str) else cell
