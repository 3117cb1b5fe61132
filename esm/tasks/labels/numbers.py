"""Numbers written for people: decimal commas, blanks between thousands, percent, currencies."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_UNITS = (
    r"%|‰|°|€|\$|£|¥|₴|eur|euro?s?|usd|gbp|chf|kč|kc|czk|sk|zł|zl|pln|huf|ft|percent|per cent"
    r"|percento?|perc|prozent|procent[oay]?|procentů|pkt|pts?|points?|b(?:odov)?|hviezdičk[ay]?|stars?"
)
_WITH_UNIT = re.compile(
    rf"(?:(?P<before>{_UNITS})\.?\s*)?(?P<number>[-+]?[\d.,' ]*\d)(?:\s*(?P<after>{_UNITS})\.?)?",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[-+]?(0|[1-9]\d*)(\.\d+)?")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}([ '.,])\d{3}(\1\d{3})*(?:(?!\1)[.,]\d+)?")
_WITH_MARK = re.compile(r"[-+]?(?:0|[1-9]\d*)?([.,])(\d+)")
_RUINED = re.compile(r"\d([.,]\d+)?E\+\d{2,3}", re.IGNORECASE)
_MINUS = re.compile("[\u2010-\u2015\u2212]")
_FEWEST_DIGITS_OF_IDS = 1e11


@dataclass(frozen=True)
class Amounts:
    """What a column's cells say where all of them are numbers written for people.

    Attributes:
        values: The number of each different cell.
        unit: What stands beside every number: ``%``, ``€``; empty where nothing does.
        why_not: Why no numbers can be made of cells that look like some; empty where they can, or
            where the cells are something else.
    """

    values: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    why_not: str = ""


def read_amounts(cells: Iterable[str]) -> Amounts:
    """Read the different cells of a column as numbers, all by the same rule.

    A comma or a dot is a decimal mark where it stands before other than three digits, or behind
    the mark between thousands; a mark that comes twice, a blank and an apostrophe stand between
    thousands. Where ``1,250`` may be either, nothing is read.

    Args:
        cells: Strings; none of them is blank.

    Source:
        The marks between thousands and before decimals: ISO 80000-1:2022, section 7.3, and the
        Unicode CLDR's number patterns of en, de, sk, cs, pl.
    """
    parsed: dict[str, str] = {}
    units: Counter[str] = Counter()
    for cell in dict.fromkeys(cells):
        found = _WITH_UNIT.fullmatch(_tidy(cell))
        if found is None or (found["before"] and found["after"]):
            return Amounts()
        number = found["number"].strip()
        units[(found["before"] or found["after"] or "").casefold()] += 1
        parsed[cell] = number
    if not parsed or not all(map(_is_number, parsed.values())):
        return Amounts()
    if len(units) > 1:
        some = ", ".join(f"{unit or 'no unit'} {count:,}" for unit, count in units.most_common(3))
        return Amounts(why_not=f"numbers with different units ({some} of the different cells)")
    mark, why_not = _decimal_mark(list(parsed.values()))
    if why_not:
        return Amounts(why_not=why_not)
    values = {cell: _value(number, mark) for cell, number in parsed.items()}
    return Amounts(values, next(iter(units)))


def _tidy(cell: str) -> str:
    plain = _MINUS.sub("-", unicodedata.normalize("NFKC", cell)).replace("’", "'")
    return " ".join(plain.split())


def _is_number(number: str) -> bool:
    return any(form.fullmatch(number) for form in (_PLAIN, _GROUPED, _WITH_MARK))


def _decimal_mark(numbers: Sequence[str]) -> tuple[str, str]:
    """Return the decimal mark, or why it cannot be told."""
    decimal: set[str] = set()
    thousands: set[str] = set()
    doubtful: set[str] = set()
    for number in numbers:
        marks = [char for char in number if char in ".,"]
        if len(set(marks)) == 2:
            decimal.add(marks[-1])
            thousands.update(marks[:-1])
        elif len(marks) > 1:
            thousands.add(marks[0])
        elif marks:
            whole, digits = number.lstrip("+-").split(marks[0])
            is_group = len(digits) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
            (doubtful if is_group else decimal).add(marks[0])
    if decimal & thousands or len(decimal) > 1:
        return "", "numbers with a decimal comma beside numbers with a decimal dot"
    if decimal or thousands:
        return (decimal or {".", ","} - thousands).pop(), ""
    # A dot before three digits is what programs write; a comma people write for both.
    mark = "," if "," in doubtful else "." if is_grouped(numbers) else ""
    if mark:
        return "", f"numbers such as 1{mark}250, which may be 1250 or 1.25"
    return ".", ""


def is_grouped(numbers: Iterable[str]) -> bool:
    """Return whether dots may stand between thousands: 1.200 beside 950, with zeros at the end."""
    return any(re.fullmatch(r"[-+]?[1-9]\d{0,2}\.\d\d0", number) for number in numbers) and any(
        "." not in number for number in numbers
    )


def _value(number: str, mark: str) -> float:
    other = "," if mark == "." else "."
    return float(number.replace(" ", "").replace("'", "").replace(other, "").replace(mark, "."))


def is_ruined_id(value: object) -> bool:
    """Return whether a value is a long id whose last digits a spreadsheet has lost.

    Example:
        >>> is_ruined_id("1,23457E+18"), is_ruined_id(1.23457e18), is_ruined_id("1234567890123")
        (True, True, False)
    """
    if isinstance(value, str):
        return _RUINED.fullmatch(value.strip()) is not None
    if not isinstance(value, float) or abs(value) < _FEWEST_DIGITS_OF_IDS:
        return False
    return float(f"{value:.5e}") == value
