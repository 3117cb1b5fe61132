"""Tables of text: CSV, TSV and whatever else has one character between its cells."""

from __future__ import annotations

import csv
import io
import re
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from esm.errors import TaskError
from esm.runtime import note
from esm.tasks.cells import column_names, settle
from esm.tasks.raw import Table, is_missing

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
    widths = _widths(text, delimiter, len(frame))
    rows = [list(row) for row in frame.itertuples(index=False, name=None)]
    taken = _without_blank_lines(rows, widths)
    header, *body = [rows[row] for row in taken]
    names = column_names(header, path)
    kept = [
        place
        for place, cell in enumerate(header)
        if not (is_missing(cell) and all(is_missing(row[place]) for row in body))
    ]
    if len(header) > 1 and kept:
        _note_short_rows(path, [widths[row] for row in taken[1:]], kept[-1] + 1)
    table = {}
    for place in kept:
        name, cells = names[place], [row[place] for row in body]
        if name in as_strings:
            table[name] = [None if is_missing(cell) else cell for cell in cells]
        else:
            table[name] = settle(cells, decimal_comma=delimiter != ",")
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


def _without_blank_lines(rows: list[list[Any]], widths: list[int]) -> list[int]:
    """Return which rows a table has; in a single column, a blank line before its end is one."""
    if len(rows[0]) > 1:
        return [
            row
            for row, cells in enumerate(rows)
            if widths[row] > 1 or not all(map(is_missing, cells))
        ]
    last = max((row for row, width in enumerate(widths) if width), default=0)
    return list(range(last + 1))


def _note_short_rows(path: Path, widths: list[int], needed: int) -> None:
    """Tell of rows that end early: an export that was cut, or a line break without quotes."""
    short = [number for number, width in enumerate(widths, 1) if width < needed]
    if short:
        note(
            f"{path.name}: {len(short)} of {len(widths)} rows have fewer cells than the header"
            f" (the first is row {short[0]}); what they lack is taken as empty",
            once=True,
        )
