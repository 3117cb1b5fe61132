"""Quotes in tables of text that do not follow the rule: escaped by backslashes, or never closed."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from esm.common.runtime import warn_once

_LOGGER = logging.getLogger(__name__)

LARGEST_CELL = 2**31 - 1

# Before an ordinary character: at the end of a cell it is a backslash and a closing quote.
_ESCAPED = re.compile(r"\\\"(?=[^\s,;|\"])")
_BACKSLASHES = re.compile(r"\\([\\\"])|\\")
_MOST_LISTED = 5


def are_escaped(text: str, delimiter: str) -> bool:
    r"""Return whether quotes inside cells are written ``\"``, as MySQL does, and not ``""``.

    They are where such quotes occur and more rows are then as wide as the header.
    """
    if '\\"' not in text or not _ESCAPED.search(text):
        return False
    doubled = _num_fitting(text, delimiter)
    escaped = _num_fitting(keep_backslashes(text), delimiter, escape="\\")
    return escaped > doubled


def keep_backslashes(text: str) -> str:
    r"""Return text in which a backslash before anything but ``"`` and itself is doubled."""
    return _BACKSLASHES.sub(lambda found: found[0] if found[1] else "\\\\", text)


def _num_fitting(text: str, delimiter: str, escape: str | None = None) -> float:
    """Return the share of well-formed rows, by a strict reader, that are as wide as the first."""
    widths: list[int] = []
    reader = csv.reader(
        io.StringIO(text, newline=None), delimiter=delimiter, escapechar=escape, strict=True
    )
    while True:
        try:
            widths.append(len(next(reader)))
        except StopIteration:
            break
        except csv.Error:
            widths.append(0)
    return widths.count(widths[0]) / len(widths) if widths else 0.0


def find_fault(text: str, delimiter: str) -> int:
    """Return the first line in which a quoted cell does not end where a cell has to; else 0."""
    previous = csv.field_size_limit(LARGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    try:
        for _ in reader:
            pass
    except csv.Error:
        return reader.line_num
    finally:
        csv.field_size_limit(previous)
    return 0


def line_by_line(text: str, delimiter: str) -> tuple[list[list[str]], list[int]] | None:
    """Return a row per line as wide as the first, and the lines whose quotes are no quotes.

    A line is read by the rule of quotes, or else cut at every delimiter.

    Returns:
        The rows and the numbers of the lines that were cut; None where a line fits in neither way.
    """
    rows: list[list[str]] = []
    cut: list[int] = []
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        line = line.rstrip("\n")
        if not line.strip():
            continue
        width = len(rows[0]) if rows else None
        row = _by_the_rule(line, delimiter)
        if row is None or (width is not None and len(row) != width):
            row = line.split(delimiter)
            cut.append(number)
        if width is not None and len(row) != width:
            return None
        rows.append(row)
    return rows, cut


def _by_the_rule(line: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def note_cut_lines(path: Path, lines: Sequence[int]) -> None:
    """Tell of lines in which a quote was never closed."""
    shown = ", ".join(map(str, lines[:_MOST_LISTED])) + (", …" if lines[_MOST_LISTED:] else "")
    warn_once(
        _LOGGER,
        f"{path.name}: quotes do not fit in {len(lines)} lines ({shown}), such as one that is never"
        " closed: each line is read as a row and these quotes as they stand",
    )
