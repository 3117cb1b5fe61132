"""What people put around a table: titles above its header, second headers, totals, error cells."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from esm.common.runtime import warn_once
from esm.tasks.raw import Values, is_missing, is_number

_LOGGER = logging.getLogger(__name__)

Row = Sequence[Any]

_ERRORS = "#NULL! #DIV/0! #VALUE! #REF! #NAME? #NUM! #N/A #GETTING_DATA #SPILL! #CALC! #FIELD!"
ERRORS = frozenset(_ERRORS.split())
"""What a spreadsheet shows in place of a value that it cannot compute."""

ROWS_LOOKED_AT = 200
_MOST_TITLES = 10
_FEWEST_ROWS = 5
_MOST_TOTALS = 3
_TOTAL_WORDS = (
    "total totals sum average mean count spolu celkom celkem suma súčet součet priemer průměr"
    " počet razem średnia gesamt summe insgesamt mittelwert összesen"
)
_TOTALS = frozenset(_TOTAL_WORDS.split()) | {
    "grand total",
    "celkový súčet",
    "celkový součet",
    "suma końcowa",
    "gesamtergebnis",
}
# Qualtrics writes the names, the wordings of the questions and then this.
_IMPORT_ID = '{"ImportId"'
_MOST_LABELS = 30
_MONTHS = (
    "jan feb mar apr máj maj may mai jún jun júl jul aug sep sept okt oct nov dec dez"
    " led úno bře dub kvě čvn čvc srp zář říj lis pro i ii iii iv v vi vii viii ix x xi xii"
)
_DAY_AND_MONTH = re.compile(
    r"\d{{1,2}}[-. ]+({0})\.?|({0})[-. ]+\d{{1,2}}".format("|".join(_MONTHS.split())),
    re.IGNORECASE,
)


def find_header(rows: Sequence[Row], spread: Collection[int] = ()) -> int:
    """Return which of a table's first rows names the columns.

    It is the first one, unless the rows above a later one are titles: they fill at most half as
    many cells as the rows below, and what follows them looks like names: different texts none of
    which comes again in its column.
    """
    counts = [_num_filled(row) for row in rows]
    widest = max(counts, default=0)
    place = next((i for i, count in enumerate(counts) if 2 * count > widest), 0)
    if place in spread and len(rows) - place > _FEWEST_ROWS and counts[place + 1] > counts[place]:
        place += 1
    if not 0 < place <= _MOST_TITLES or widest < 2:
        return 0
    return place if _are_names(rows[place], rows[place + 1 :]) else 0


def _num_filled(row: Row) -> int:
    return sum(not is_missing(cell) for cell in row)


def _are_names(row: Row, below: Sequence[Row]) -> bool:
    filled = [cell for cell in row if not is_missing(cell)]
    are_words = all(isinstance(cell, str) and not is_number(cell) for cell in filled)
    if not are_words or len(set(filled)) < len(filled):
        return False
    return not any(
        not is_missing(name) and any(len(other) > place and other[place] == name for other in below)
        for place, name in enumerate(row)
    )


def num_second_headers(rows: Sequence[Row]) -> int:
    """Return how many rows after the header belong to it, as Qualtrics writes them."""
    for place, row in enumerate(rows[:2]):
        named = sum(isinstance(cell, str) and cell.startswith(_IMPORT_ID) for cell in row)
        if named and 2 * named >= _num_filled(row):
            return place + 1
    return 0


def num_totals(rows: Sequence[Row]) -> int:
    """Return how many of a table's last rows sum up the others."""
    count = 0
    for row in list(rows)[: -_MOST_TOTALS - 1 : -1]:
        if not _is_total(row):
            break
        count += 1
    return count if count < len(rows) else 0


def _is_total(row: Row) -> bool:
    cells = [cell for cell in row if isinstance(cell, str) and cell.strip()]
    words = [re.sub(r"[\s:=]+[\d\s.,]+$", "", cell).strip(" :").casefold() for cell in cells]
    named = [word for word in words if word in _TOTALS]
    others = [word for word in words if word not in _TOTALS and not _is_figure(word)]
    return bool(named) and not others


def _is_figure(word: str) -> bool:
    return re.fullmatch(r"[-+]?[\d\s.,]*\d\s*%?", word) is not None


def note_surroundings(path: Path, titles: int, headers: int, totals: int) -> None:
    """Tell which rows were left out because they are no rows of the table."""
    parts = [
        f"{count} {what}"
        for count, what in (
            (titles, "above the header (titles)"),
            (headers, "below it (a second header)"),
            (totals, "at the end (totals)"),
        )
        if count
    ]
    if parts:
        warn_once(_LOGGER, f"{path.name}: rows left out: {', '.join(parts)}")


def without_errors(path: Path, columns: Mapping[str, Values]) -> dict[str, Values]:
    """Return columns in which a spreadsheet's errors are empty, and tell where there were any.

    A cell that begins with ``=``, ``+`` or ``-`` is taken for a formula while it is typed or
    opened: a text that began so stands in the file as ``#NAME?``.

    Args:
        path: The file, for messages.
        columns: Cells by column, none of them a list.
    """
    found = dict(columns)
    told: list[str] = []
    for name, cells in columns.items():
        if ERRORS.isdisjoint(cells):
            continue
        wrong = [cell for cell in cells if cell in ERRORS]
        found[name] = [None if cell in ERRORS else cell for cell in cells]
        told.append(f"{len(wrong)} in {name!r} ({', '.join(sorted(set(wrong)))})")
    if told:
        warn_once(
            _LOGGER,
            f"{path.name}: cells with a spreadsheet's error are read as empty: {', '.join(told)};"
            " a text that begins with = + or - was taken for a formula: format the column as text"
            " and enter it again",
        )
    return found


def note_dates(path: Path, name: str, cells: Values, *, yearless: bool = False) -> None:
    """Tell of a column in which labels such as 1-2 seem to have become dates (2 January).

    Args:
        path: The file, for messages.
        name: The column.
        cells: Its cells.
        yearless: Whether its dates are shown without the year, as those that were typed as 1-2.
    """
    distinct = {cell for cell in cells[:ROWS_LOOKED_AT] if not is_missing(cell)}
    if not 1 < len(distinct) <= _MOST_LABELS or not any(map(_is_date, distinct)):
        return
    filled = [cell for cell in cells if not is_missing(cell)]
    dates = [cell for cell in filled if _is_date(cell)]
    # Days without a year are no dates of anything; whole dates may be what the column is about.
    if len(dates) < len(filled) or yearless or all(isinstance(cell, str) for cell in dates):
        warn_once(
            _LOGGER,
            f"{path.name}: column {name!r} has dates for labels ({len(dates)} of {len(filled)}"
            " cells): a spreadsheet makes a date of a label such as 1-2; format the column as text"
            " and enter them again",
        )


def _is_date(cell: object) -> bool:
    if isinstance(cell, datetime.date | datetime.time):
        return True
    return isinstance(cell, str) and _DAY_AND_MONTH.fullmatch(cell.strip()) is not None
