"""Tables of text: CSV, TSV and whatever else has one character between its cells."""

from __future__ import annotations

import csv
import io
import logging
import re
import sys
from itertools import islice
from pathlib import Path

from esm.common.errors import TaskError
from esm.common.runtime import warn_once
from esm.tasks.formats.cells import column_names, parse_column
from esm.tasks.raw import Table, Values, is_missing

_LOGGER = logging.getLogger(__name__)

# The first of equals is taken.
DELIMITERS = (",", ";", "\t", "|")
_ROWS_LOOKED_AT = 100
_LARGEST_CELL = 2**31 - 1

# Before the header.
_BLANK_LINES = re.compile(r"\A( *[\r\n])+")


def find_delimiter(text: str) -> str:
    """Return what separates a table's cells: a comma, a semicolon, a tab or a bar.

    It is the character that divides most of the first rows into as many cells as the header, and
    of these the one that makes most cells. What stands inside quotes separates nothing. A table
    with a single column has a comma.
    """
    return max(DELIMITERS, key=lambda delimiter: _consistency(text, delimiter))


def _consistency(text: str, delimiter: str) -> tuple[float, int]:
    widths: list[int] = []
    text = _BLANK_LINES.sub("", text)
    # All kinds of line ends count, that of old Macintosh programs too.
    lines = io.StringIO(text, newline=None)
    try:
        for row in islice(csv.reader(lines, delimiter=delimiter), _ROWS_LOOKED_AT):
            widths += [len(row)] if row else []
    except csv.Error:
        # A cell of more than 128 KiB, such as after an unclosed quote: the rows before it count.
        pass
    if not widths or widths[0] < 2:
        return 0.0, 1
    return widths.count(widths[0]) / len(widths), widths[0]


def read_delimited(
    path: Path, text: str, delimiter: str, *, as_strings: frozenset[str] = frozenset()
) -> Table:
    """Read a table of text; its first row names the columns.

    Cells are texts as they stand, so ``None``, ``NA`` and ``null`` are words; only empty cells
    are null. A column in which every cell is a number holds numbers, with a decimal comma where
    commas do not separate cells. A column without a name and without a value is left out, and so
    are blank lines, except between the rows of a single column, where they are empty cells. What
    a row lacks at its end is empty, and a note says of how many rows.

    Args:
        path: The file, for messages.
        text: What it holds.
        delimiter: One character.
        as_strings: Columns whose cells stay strings.

    Raises:
        TaskError: A row has more cells than the header, a quote is not closed, two columns have
            the same name, or the delimiter is not one character.
    """
    import pandas as pd

    if len(delimiter) != 1:
        raise TaskError(
            f"delimiter {delimiter!r} has {len(delimiter)} characters",
            expected="one character",
            hint="--delimiter ';', or 'tab'",
        )
    text = _BLANK_LINES.sub("", text)
    try:
        # With the header as a row: else a surplus first cell silently becomes an index.
        frame = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise TaskError(
            f"{path} cannot be read as cells between {delimiter!r}: {reason}",
            expected="as many cells in every row as in the header",
            hint="put quotes around texts that hold the delimiter, or name another one with"
            " --delimiter",
        ) from error
    columns = [frame[number].tolist() for number in frame.columns]
    if any(map(is_missing, columns[-1])):  # only then can a line be blank, or end early
        widths = _widths(text, delimiter, len(frame))
        taken = _taken_rows(columns, widths)
        columns = [[cells[row] for row in taken] for cells in columns]
        _note_short_rows(path, columns, [widths[row] for row in taken])
    names = column_names([column[0] for column in columns], path)
    table = {}
    for name, (header, *cells) in zip(names, columns, strict=True):
        if name in as_strings:
            table[name] = [None if is_missing(cell) else cell for cell in cells]
        elif not (is_missing(header) and all(map(is_missing, cells))):
            table[name] = parse_column(cells, decimal_comma=delimiter != ",")
    return table


def _widths(text: str, delimiter: str, count: int) -> list[int]:
    """Return how many cells each of so many lines has, which pandas fills up; 0 where blank."""
    previous = csv.field_size_limit(_LARGEST_CELL)
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
