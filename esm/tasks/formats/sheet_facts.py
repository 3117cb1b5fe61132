"""What a sheet's values do not show: merged cells, hidden rows, formulas without a value."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, iterparse

from esm.common.runtime import warn_once
from esm.tasks.raw import is_missing

_LOGGER = logging.getLogger(__name__)

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/spreadsheetml/main}"
_YES = frozenset({"1", "true"})


@dataclass(frozen=True)
class SheetFacts:
    """What stands beside the values of a sheet.

    Attributes:
        merged: First column, first row, last column and last row of every merge, from 1.
        hidden: Rows that are hidden, by a filter or by hand, from 1.
        uncomputed: Columns of the formulas that have no stored value, from 1, one for each.
    """

    merged: tuple[tuple[int, int, int, int], ...]
    hidden: frozenset[int]
    uncomputed: tuple[int, ...]

    @property
    def spread(self) -> frozenset[int]:
        """Rows with a cell that reaches over several columns, from 0."""
        return frozenset(first - 1 for left, first, right, _ in self.merged if right > left)


def read_sheet_facts(stream: IO[bytes]) -> SheetFacts:
    """Read them from a sheet's XML, one row at a time.

    Raises:
        xml.etree.ElementTree.ParseError: It is no XML.
    """
    from openpyxl.utils.cell import range_boundaries

    merged: list[tuple[int, int, int, int]] = []
    hidden: set[int] = set()
    uncomputed: list[int] = []
    row = 0
    for _, element in iterparse(stream):
        name = element.tag.removeprefix(_MAIN).removeprefix(_STRICT)
        if name == "row":
            row = int(element.get("r", row + 1))
            if element.get("hidden") in _YES:
                hidden.add(row)
            uncomputed += map(_column, filter(_lacks_value, element))
            element.clear()
        elif name == "mergeCell":
            merged.append(range_boundaries(element.get("ref", "A1")))
    return SheetFacts(tuple(merged), frozenset(hidden), tuple(uncomputed))


def _lacks_value(cell: Element) -> bool:
    parts = {part.tag.rpartition("}")[2]: part for part in cell}
    # The empty text is a value as well.
    is_text = cell.get("t") == "str"
    return "f" in parts and ("v" not in parts or (parts["v"].text is None and not is_text))


def _column(cell: Element) -> int:
    from openpyxl.utils.cell import column_index_from_string

    letters = re.match("[A-Z]+", cell.get("r", "A"))
    return int(column_index_from_string(letters[0] if letters else "A"))


def fill_merged(rows: list[list[Any]], facts: SheetFacts) -> list[tuple[int, int]]:
    """Give every row of a merge the value that the file stores in the first one alone.

    Merges are filled downwards: one that reaches over several columns, as titles do, in the first.

    Args:
        rows: All rows of the sheet; changed in place.
        facts: Where the merges are.

    Returns:
        Row and column, from 0, of every cell that was filled.
    """
    filled: list[tuple[int, int]] = []
    for column, first, _, last in facts.merged:
        place = column - 1
        cells = rows[first - 1 : last]
        if not cells or len(cells[0]) <= place or is_missing(cells[0][place]):
            continue
        for number, row in enumerate(cells[1:], start=first):
            row += [None] * (place + 1 - len(row))
            row[place] = cells[0][place]
            filled.append((number, place))
    return filled


def note_sheet_facts(
    path: Path, names: Sequence[str], filled: Iterable[int], hidden: int, uncomputed: Sequence[int]
) -> None:
    """Tell what was done with merged cells, hidden rows and formulas without a value.

    Args:
        path: The workbook.
        names: Names of its columns.
        filled: The column, from 0, of each merged cell of the table that was filled.
        hidden: Number of rows of the table that are hidden.
        uncomputed: Columns of formulas without a stored value, from 1.
    """
    parts = []
    counted = sorted(Counter(filled).items())
    if counted:
        counts = ", ".join(f"{count} in {names[place]!r}" for place, count in counted)
        parts.append(f"merged cells have the value of their first one ({counts})")
    if hidden:
        parts.append(f"{hidden} hidden rows are read as well: remove the ones that do not belong")
    if uncomputed:
        places = sorted({column - 1 for column in uncomputed})
        which = ", ".join(repr(names[place]) for place in places if place < len(names))
        parts.append(
            f"{len(uncomputed)} formulas have no stored value and are read as empty (in {which}):"
            " open and save the workbook in a spreadsheet program"
        )
    if parts:
        warn_once(_LOGGER, f"{path.name}: {'; '.join(parts)}")
