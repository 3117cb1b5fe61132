"""Tables of text: CSV, TSV and whatever else has one character between its cells."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from esm.common.errors import TaskError
from esm.common.runtime import warn_once
from esm.tasks.formats.cells import column_names, parse_column
from esm.tasks.formats.header import (
    ROWS_LOOKED_AT,
    find_header,
    note_dates,
    note_surroundings,
    num_second_headers,
    num_totals,
    without_errors,
)
from esm.tasks.formats.quotes import (
    LARGEST_CELL,
    are_escaped,
    find_fault,
    keep_backslashes,
    line_by_line,
    note_cut_lines,
)
from esm.tasks.raw import Table, Values, is_missing

_LOGGER = logging.getLogger(__name__)

# The first of equals is taken.
DELIMITERS = (",", ";", "\t", "|")
_ROWS_FOR_DELIMITERS = 100
_ROWS_AT_THE_END = 4

# Before the header.
_BLANK_LINES = re.compile(r"\A( *[\r\n])+")
# What Excel writes, and reads, to say which delimiter a file has.
_SEPARATOR_LINE = re.compile(r"\A\s*\"?sep=(.)\"?[;,\t|]*[\r\n]+", re.IGNORECASE)


def find_delimiter(text: str) -> str:
    """Return what separates a table's cells: a comma, a semicolon, a tab or a bar.

    It is the character that divides most of the first rows into as many cells as the header, and
    of these the one that makes most cells. What stands inside quotes separates nothing. A table
    with a single column has a comma. A line ``sep=;`` says it.
    """
    if told := _SEPARATOR_LINE.match(text):
        return told[1]
    return max(DELIMITERS, key=lambda delimiter: _consistency(text, delimiter))


def _consistency(text: str, delimiter: str) -> tuple[float, int]:
    rows = _first_rows(text, delimiter, _ROWS_FOR_DELIMITERS)
    widths = [len(row) for row in rows[_num_titles(rows) :] if row]
    if not widths or widths[0] < 2:
        return 0.0, 1
    return widths.count(widths[0]) / len(widths), widths[0]


def _first_rows(text: str, delimiter: str, most: int) -> list[list[str]]:
    rows: list[list[str]] = []
    # All kinds of line ends count, that of old Macintosh programs too.
    lines = io.StringIO(_BLANK_LINES.sub("", text), newline=None)
    # A cell of more than 128 KiB, such as after an unclosed quote: the rows before it count.
    with contextlib.suppress(csv.Error):
        rows.extend(islice(csv.reader(lines, delimiter=delimiter), most))
    return rows


def _num_titles(rows: Sequence[Sequence[str]]) -> int:
    """Return how many of the first rows are titles: each a sentence, or filled up with blanks."""
    count = find_header(rows)
    are_titles = all(len(row) > 1 or " " in " ".join(row).strip() for row in rows[:count] if row)
    return count if are_titles else 0


def read_delimited(
    path: Path, text: str, delimiter: str, *, as_strings: frozenset[str] = frozenset()
) -> Table:
    r"""Read a table of text; its first row names the columns.

    Cells are texts as they stand, so ``None``, ``NA`` and ``null`` are words; only empty cells and
    the errors of spreadsheets are null. A column in which every cell is a number holds numbers,
    with a decimal comma where commas do not separate cells. A column without a name and without a
    value is left out, and so are blank lines, except between the rows of a single column, where
    they are empty cells.

    Titles above the header, second headers and totals are left out, and a note says so. What a row
    lacks at its end is empty, and a note says of how many rows. Quotes inside cells are doubled or,
    where the rows fit better so, escaped (``\"``); where quotes are not closed, every line is a
    row, or else a note says where rows may stand in one cell.

    Args:
        path: The file, for messages.
        text: What it holds.
        delimiter: One character.
        as_strings: Columns whose cells stay strings.

    Raises:
        TaskError: A row has more cells than the header, a quote is not closed, two columns have
            the same name, or the delimiter is not one character.
    """
    if len(delimiter) != 1:
        raise TaskError(
            f"delimiter {delimiter!r} has {len(delimiter)} characters",
            expected="one character",
            hint="--delimiter ';', or 'tab'",
        )
    text = _BLANK_LINES.sub("", _SEPARATOR_LINE.sub("", text))
    first = _first_rows(text, delimiter, ROWS_LOOKED_AT)
    above = first[: _num_titles(first)]
    text = _without_rows(text, delimiter, len(above))
    titles = sum(not all(map(is_missing, row)) for row in above)
    columns = _columns(path, text, delimiter)
    second, totals = 0, 0
    if len(columns) > 1:
        second = num_second_headers(_rows(columns, range(1, min(3, len(columns[0])))))
        totals = num_totals(_rows(columns, range(1 + second, len(columns[0]))[-_ROWS_AT_THE_END:]))
        end = len(columns[0]) - totals
        columns = [[*cells[:1], *cells[1 + second : end]] for cells in columns]
    note_surroundings(path, titles, second, totals)
    names = column_names([column[0] for column in columns], path)
    cells_of = without_errors(
        path, {name: cells[1:] for name, cells in zip(names, columns, strict=True)}
    )
    table = {}
    for name, (header, *_) in zip(names, columns, strict=True):
        cells = cells_of[name]
        note_dates(path, name, cells)
        if name in as_strings:
            table[name] = [None if is_missing(cell) else cell for cell in cells]
        elif not (is_missing(header) and all(map(is_missing, cells))):
            table[name] = parse_column(cells, decimal_comma=delimiter != ",")
    return table


def _without_rows(text: str, delimiter: str, count: int) -> str:
    if not count:
        return text
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
    list(islice(reader, count))
    lines = io.StringIO(text, newline=None)
    list(islice(lines, reader.line_num))
    return _BLANK_LINES.sub("", lines.read())


def _rows(columns: Sequence[Values], places: Iterable[int]) -> list[list[Any]]:
    return [[cells[place] for cells in columns] for place in places]


def _columns(path: Path, text: str, delimiter: str) -> list[Values]:
    """Return the cells of every column, its name first."""
    escape = "\\" if are_escaped(text, delimiter) else None
    fault = 0
    try:
        columns = _parse(keep_backslashes(text) if escape else text, delimiter, escape)
        # Only then can a cell hold several lines.
        if text.count("\n") > len(columns[0]) and not escape:
            fault = find_fault(text, delimiter)
    except (ValueError, csv.Error) as error:  # pandas' errors of both kinds are ValueErrors
        found = line_by_line(text, delimiter)
        if found is None:
            raise _no_table(path, delimiter, error) from error
        fault, columns = 0, _from_lines(path, *found)
    if fault and (found := line_by_line(text, delimiter)) is not None:
        return _from_lines(path, *found)
    if fault:
        warn_once(
            _LOGGER,
            f"{path.name}: the quotes around line {fault} do not fit: rows may stand in one cell;"
            " double the quotes inside cells, and close those around them",
        )
    if any(map(is_missing, columns[-1])):  # only then can a line be blank, or end early
        widths = _widths(text, delimiter, len(columns[0]))
        taken = _taken_rows(columns, widths)
        columns = [[cells[row] for row in taken] for cells in columns]
        _note_short_rows(path, columns, [widths[row] for row in taken])
    return columns


def _parse(text: str, delimiter: str, escape: str | None) -> list[Values]:
    import pandas as pd

    # With the header as a row: else a surplus first cell silently becomes an index.
    frame = pd.read_csv(
        io.StringIO(text),
        sep=delimiter,
        header=None,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        escapechar=escape,
    )
    return [frame[number].tolist() for number in frame.columns]


def _from_lines(path: Path, rows: list[list[str]], cut: Sequence[int]) -> list[Values]:
    note_cut_lines(path, cut)
    return [list(cells) for cells in zip(*rows, strict=True)]


def _no_table(path: Path, delimiter: str, error: Exception) -> TaskError:
    reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
    return TaskError(
        f"{path} cannot be read as cells between {delimiter!r}: {reason}",
        expected="as many cells in every row as in the header",
        hint="put quotes around texts that hold the delimiter, or name another one with"
        " --delimiter",
    )


def _widths(text: str, delimiter: str, count: int) -> list[int]:
    """Return how many cells each of so many lines has, which pandas fills up; 0 where blank."""
    previous = csv.field_size_limit(LARGEST_CELL)
    lines = io.StringIO(text, newline=None)
    try:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        widths = []
    finally:
        csv.field_size_limit(previous)
    # Where the two understand quotes in different ways, nothing is known.
    return widths if len(widths) == count else [sys.maxsize] * count


def _taken_rows(columns: list[Values], widths: list[int]) -> list[int]:
    """Return which lines are rows of the table: of a single column, blank ones before its end."""
    if len(columns) > 1:
        return [
            row
            for row, width in enumerate(widths)
            if width > 1 or not all(is_missing(cells[row]) for cells in columns)
        ]
    (cells,) = columns
    # A cell of blanks ends a file without quotes; one that was quoted and empty is a row.
    ends = (row for row, width in enumerate(widths) if width and not cells[row].isspace())
    return list(range(max(ends, default=0) + 1))


def _note_short_rows(path: Path, columns: list[Values], widths: list[int]) -> None:
    """Tell of rows that end early: an export that was cut, or a line break without quotes."""
    filled = [place for place, cells in enumerate(columns) if not all(map(is_missing, cells))]
    if len(columns) < 2 or not filled:
        return
    short = [number for number, width in enumerate(widths[1:], 1) if width <= filled[-1]]
    if short:
        warn_once(
            _LOGGER,
            f"{path.name}: {len(short)} of {len(widths) - 1} rows have fewer cells than the header"
            f" (the first is row {short[0]}); what they lack is taken as empty",
        )
