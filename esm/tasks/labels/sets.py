"""Cells that hold several labels, in every way in which they are written, to lists of labels."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from esm.tasks.labels.names import label_name
from esm.tasks.raw import Values, is_missing

SEPARATORS = (";", "|", "#", "\n", "\t", ",", "/", "&", "+")
# A comma or a slash also stands inside a label; the others hardly ever.
_UNMISTAKABLE = frozenset(";|#\n\t")
_CHOICES = frozenset({"choices", "labels", "taxonomy"})
_WITHOUT_QUOTES = re.compile(r"\[([^\[\]{}()\"':]*)\]")
_INDICATORS = re.compile(r"[01](?:\s*[ ,;|/]\s*[01])+|[01]{3,}")
_FEWEST_CELLS_WITH_SEVERAL = 2
_SHARE_WITH_SEVERAL = 0.02
_MOST_PARTS = 80
_MOST_LABELS = 40
_LONGEST_LABEL_IN_WORDS = 5


def listed(cell: object) -> list[Any] | None:
    """Return what a cell lists; None where it is no list.

    A list is a list, the same written as JSON, as Python or NumPy writes it or without quotes, and
    a record of choices, as annotation tools write one: ``{"choices": ["a", "b"]}``.
    """
    if isinstance(cell, str):
        text = cell.strip()
        if text[:1] + text[-1:] not in ("[]", "{}", "()"):
            return None
        cell = _parsed(text)
    if isinstance(cell, dict) and len(cell) == 1 and cell.keys() <= _CHOICES:
        cell = next(iter(cell.values()))
        cell = [cell] if isinstance(cell, str) else cell
    if isinstance(cell, set):
        cell = sorted(cell, key=str)
    return [item for item in cell if item is not None] if isinstance(cell, list | tuple) else None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found = _WITHOUT_QUOTES.fullmatch(text)
            return None if found is None else _unquoted(found[1])


def _unquoted(inside: str) -> list[str]:
    mark = " " if _INDICATORS.fullmatch(inside.strip()) and "," not in inside else ","
    return [name for part in inside.split(mark) if (name := label_name(part))]


def indicators(cell: object) -> list[bool] | None:
    """Return which labels hold, of a cell that says 0 or 1 for each; None where it does not.

    Example:
        >>> indicators([0, 1.0]), indicators("0 1 1"), indicators("011"), indicators(["a"])
        ([False, True], [False, True, True], [False, True, True], None)
    """
    items = listed(cell)
    if items is None and isinstance(cell, str) and _INDICATORS.fullmatch(cell.strip()):
        items = re.findall("[01]", cell)
    if not items or not all(isinstance(item, bool | int | float | str) for item in items):
        return None
    names = [label_name(item) for item in items]
    if not all(name in ("0", "1", "True", "False") for name in names):
        return None
    return [name in ("1", "True") for name in names]


def num_indicators(cells: Values) -> int:
    """Return of how many labels every cell says whether they hold; 0 where not all cells do."""
    first = next((cell for cell in cells if not is_missing(cell)), None)
    widths = {len(indicators(first) or ())}
    if widths <= {0, 1}:
        return 0
    filled = [cell for cell in cells if not is_missing(cell)]
    for cell in filled:
        found = indicators(cell)
        if found is None or len(found) not in widths:
            return 0
    if not any(listed(cell) is not None for cell in filled):
        # 0,1 and 1,0 alone may be amounts.
        different = {str(cell) for cell in filled}
        if widths == {2} and len(different) < 3:
            return 0
    return widths.pop()


def as_sets(
    cells: Values, separator: str | None = None, options: Sequence[str] = (), width: int = 0
) -> Values:
    """Return the labels of each cell as a list; null where it is empty.

    An empty cell is not annotated. A cell with nothing but separators, or ``[]``, is annotated and
    has no label.

    Args:
        cells: Lists, in whatever way they are written, beside single labels.
        separator: What stands between the labels of a cell that is no list; None where a cell that
            is none holds a single one.
        options: Labels in which the separator stands as well.
        width: Of how many labels each cell says 0 or 1: they are called ``label_0`` and so on; 0
            where cells list their labels.

    Example:
        >>> as_sets(["a; b", "b", ";", "[]", None], ";")
        [['a', 'b'], ['b'], [], [], None]
    """
    if width:
        return [
            None
            if is_missing(cell)
            else [f"label_{place}" for place, holds in enumerate(indicators(cell) or ()) if holds]
            for cell in cells
        ]
    return [None if is_missing(cell) else _labels(cell, separator, options) for cell in cells]


def _labels(cell: Any, separator: str | None, options: Sequence[str]) -> list[Any]:
    found = listed(cell)
    if found is not None:
        return found
    if not isinstance(cell, str) or separator is None:
        return [label_name(cell)]
    return list(dict.fromkeys(split_cell(cell, separator, options)))


def split_cell(cell: str, separator: str, options: Sequence[str] = ()) -> list[str]:
    """Return the labels of a cell, those that hold the separator as they are.

    Example:
        >>> split_cell("diet, food, law", ",", ["diet, food"])
        ['diet, food', 'law']
    """
    between = separator.strip(" ") or separator
    parts = [name for part in cell.split(between) if (name := label_name(part))]
    whole = {tuple(_parts(option, between)): label_name(option) for option in options}
    longest = max(map(len, whole), default=1)
    found: list[str] = []
    place = 0
    while place < len(parts):
        for width in range(min(longest, len(parts) - place), 0, -1):
            run = tuple(parts[place : place + width])
            if width == 1 or run in whole:
                found.append(whole.get(run, run[0]))
                place += width
                break
    return found


def _parts(cell: str, mark: str) -> list[str]:
    return [name for part in cell.split(mark) if (name := label_name(part))]


def as_singles(cells: Values) -> Values:
    """Return the one label of each cell; an empty list is not annotated.

    Args:
        cells: Lists of one label or none, in whatever way they are written, beside single labels;
            or cells that say 0 or 1 for each label, one of which holds.
    """
    if width := num_indicators(cells):
        return [
            None if of_row is None else next(iter(of_row), None)
            for of_row in as_sets(cells, width=width)
        ]
    single: Values = []
    for cell in cells:
        found = listed(cell)
        single.append(cell if found is None else next(iter(found), None))
    return single


@dataclass(frozen=True)
class Separated:
    """How cells hold several labels.

    Attributes:
        separator: What stands between them.
        options: Labels that hold the separator themselves.
        several: Cells with several labels.
    """

    separator: str
    options: tuple[str, ...]
    several: int


def find_separator(counts: Mapping[str, int]) -> Separated | None:
    """Return what separates the labels in cells that hold several; None where cells hold one.

    There has to be evidence: a small set of short labels, most of which stand in several
    combinations and, where a comma or a slash separates them, also alone: there are labels, and
    whole sentences, with a comma inside. Parts that never come without each other are one label.

    Args:
        counts: How often each different cell occurs, as it is written.
    """
    return next((found for mark in SEPARATORS if (found := _separated(counts, mark))), None)


def _separated(counts: Mapping[str, int], mark: str) -> Separated | None:
    cells: dict[str, list[str]] = {}
    different: set[str] = set()
    for cell in counts:
        cells[cell] = _parts(cell, mark)
        different.update(cells[cell])
        if len(different) > _MOST_PARTS:
            return None
    together = [] if mark in _UNMISTAKABLE else _inseparable(cells.values())
    options = tuple(sorted({_as_written(run, cells, mark) for run in together}))
    sets = {cell: split_cell(cell, mark, options) for cell in cells}
    several = sum(counts[cell] for cell, labels in sets.items() if len(labels) > 1)
    rows = sum(counts.values())
    if several < max(_FEWEST_CELLS_WITH_SEVERAL, _SHARE_WITH_SEVERAL * rows):
        return None
    combinations = Counter(label for labels in sets.values() for label in set(labels))
    uses = sum(counts[cell] * len(labels) for cell, labels in sets.items())
    few = 1 < len(combinations) <= min(_MOST_LABELS, uses / 2)
    short = all(len(label.split()) <= _LONGEST_LABEL_IN_WORDS for label in combinations)
    half = len(combinations) / 2
    again = sum(count > 1 for count in combinations.values()) >= half
    beside = {label for labels in sets.values() if len(labels) > 1 for label in labels}
    alone = {labels[0] for labels in sets.values() if len(labels) == 1}
    certain = mark in _UNMISTAKABLE
    enough = (alone & beside or again) if certain else (again and len(alone & beside) >= half)
    return Separated(mark, options, several) if few and short and enough else None


def _inseparable(cells: Any) -> list[tuple[str, ...]]:
    """Return the runs of parts that stand side by side whenever one of them occurs."""
    lists = [tuple(parts) for parts in cells]
    uses = Counter(part for parts in lists for part in parts)
    pairs = Counter(pair for parts in lists for pair in pairwise(parts))
    bound = {
        first: second
        for (first, second), count in pairs.items()
        if count == uses[first] == uses[second] and first != second
    }
    starts = [first for first in bound if first not in set(bound.values())]
    runs = []
    for start in starts:
        run = [start]
        while run[-1] in bound:
            run.append(bound[run[-1]])
        # Twice at least, in different company: once, nothing tells whether they belong together.
        if uses[start] > 1:
            runs.append(tuple(run))
    return runs


def _as_written(run: tuple[str, ...], cells: Mapping[str, list[str]], mark: str) -> str:
    """Return a label with the separator inside, with the blanks that stand beside it."""
    blank = " " if any(f"{mark} " in cell for cell in cells) else ""
    return f"{mark}{blank}".join(run)
