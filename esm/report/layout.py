"""Fit columns into a width: heads wrap, texts fold, and what is too wide stands in blocks.

Nothing is ever cut. A column of numbers keeps its cells whole; a column of texts is folded between
words, then behind the separators inside a name, then anywhere. Where that is not enough, the
columns stand in blocks below each other, the first ones (the names of the rows) repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

GAP = "  "

# Least letters of a line in a folded word: first none is folded, then to what is read with ease.
_FOLDS = (None, 14, 8)

_WORD = re.compile(r"\s*\S+")
_PART = re.compile(r"[^/_.:,=+-]*[/_.:,=+-]+|[^/_.:,=+-]+")


def fold(text: str, width: int, indent: str = "") -> list[str]:
    """Return a text in lines of at most a width, in cells of a terminal.

    Args:
        text: The text.
        width: Cells of a line.
        indent: What all lines but the first begin with.

    Example:
        >>> fold("the garden-shuffled source", 12)
        ['the garden-', 'shuffled', 'source']
    """
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for piece in _pieces(text, width - len(indent)):
        if cell_len(lines[-1] + piece) > width and lines[-1].strip():
            lines.append(indent)
            piece = piece.lstrip()
        lines[-1] += piece
    return lines


def _pieces(text: str, width: int) -> Iterator[str]:
    """Yield what is not broken: words, of longer ones parts, of longer ones what fits."""
    for word in _WORD.findall(text):
        if cell_len(word.strip()) <= width:
            yield word
            continue
        for part in _PART.findall(word):
            yield from [part] if cell_len(part) <= width else chop_cells(part, width)


@dataclass(frozen=True)
class Column:
    """One column: its head, its cells, and whether they are texts, to the left, or numbers."""

    head: str
    cells: Sequence[str]
    is_text: bool

    @property
    def full(self) -> int:
        """Width that needs no second line."""
        return max(cell_len(self.head), self.cell)

    @property
    def cell(self) -> int:
        """Width of the widest cell."""
        return max(map(cell_len, self.cells), default=0)

    def least(self, line: int | None) -> int:
        """Return the least width in which words are whole, or their parts in lines this long."""
        texts = [self.head, *(self.cells if self.is_text else ())]
        words = [word for text in texts for word in text.split()]
        width = max(map(cell_len, words), default=0)
        if line is not None:
            parts = [cell_len(part) for word in words for part in _PART.findall(word)]
            width = min(width, max(line, *parts, 0))
        return width if self.is_text else max(width, self.cell)


@dataclass(frozen=True)
class Block:
    """Columns that stand side by side: which, how wide, and whether to the left."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    is_text: tuple[bool, ...]

    def lines(self, row: Sequence[str], *, bottom: bool = False) -> Iterator[str]:
        """Yield the lines of a row, or at the bottom of their cells the lines of the heads."""
        cells = [fold(row[i], width) for i, width in zip(self.columns, self.widths, strict=True)]
        height = max(map(len, cells), default=0)
        for place in range(height):
            shown = []
            for lines, width, left in zip(cells, self.widths, self.is_text, strict=True):
                at = place - (height - len(lines)) if bottom else place
                text = lines[at] if 0 <= at < len(lines) else ""
                room = " " * (width - cell_len(text))
                shown.append(text + room if left else room + text)
            yield GAP.join(shown).rstrip()


def arrange(columns: Sequence[Column], keys: int, width: int | None) -> Iterator[Block]:
    """Yield the blocks in which columns fit a width; None for as wide as they are.

    Args:
        columns: The columns.
        keys: How many of the first are repeated in every block.
        width: Cells of a line.
    """
    shown = list(range(len(columns)))
    whole = _widths(columns, width, _FOLDS[:2])
    if whole is not None:
        yield _block(columns, shown, whole)
        return
    rest = shown[keys:]
    while True:
        count = len(rest)
        while count > 1 and _widths(_some(columns, keys, rest[:count]), width, _FOLDS[:2]) is None:
            count -= 1
        taken = _some(columns, keys, rest[:count])
        widths = _widths(taken, width, _FOLDS) or [min(one.least(8), width or 8) for one in taken]
        yield _block(columns, [*shown[:keys], *rest[:count]], widths)
        rest = rest[count:]
        if not rest:
            return


def _some(columns: Sequence[Column], keys: int, further: Sequence[int]) -> list[Column]:
    return [*columns[:keys], *(columns[i] for i in further)]


def _block(columns: Sequence[Column], shown: Sequence[int], widths: Sequence[int]) -> Block:
    return Block(tuple(shown), tuple(widths), tuple(columns[i].is_text for i in shown))


def _widths(
    columns: Sequence[Column], width: int | None, folds: Sequence[int | None]
) -> list[int] | None:
    """Return widths that fit, whole words first; None where none do."""
    if width is None:
        return [column.full for column in columns]
    room = width - len(GAP) * (len(columns) - 1)
    for line in folds:
        widths = [column.least(line) for column in columns]
        if sum(widths) <= room:
            return _grown(columns, widths, room - sum(widths))
    return None


def _grown(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """Give what room is left: to whole words, then to cells in fewer lines, then to heads."""
    room = _fill(widths, [column.least(None) for column in columns], room)
    room = _fill(widths, [column.cell for column in columns], room, by_lines=True)
    _fill(widths, [column.full for column in columns], room)
    return widths


def _fill(widths: list[int], wanted: Sequence[int], room: int, *, by_lines: bool = False) -> int:
    """Widen columns, the narrowest or the one of most lines first; return what room is left."""
    while room and (short := [i for i, width in enumerate(widths) if width < wanted[i]]):
        if by_lines:
            chosen = max(short, key=lambda i: wanted[i] / max(widths[i], 1))
        else:
            chosen = min(short, key=widths.__getitem__)
        widths[chosen] += 1
        room -= 1
    return room
