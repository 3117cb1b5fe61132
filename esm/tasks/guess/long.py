"""Long files: a row per text and attribute, as annotation tools export them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from esm.tasks.formats.cells import parse_column, written
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.words import ANNOTATORS, ATTRIBUTE_NAMES, VALUES, says
from esm.tasks.raw import is_missing

_MOST_ATTRIBUTES = 50
_ROWS_PER_TEXT = 1.5
_SHARE_WITHOUT_REPETITION = 0.7
_SHARE_OF_TEXTS = 0.5


@dataclass(frozen=True)
class LongLayout:
    """The columns of a long file.

    Attributes:
        text: The column of texts.
        names: The column that names the attribute.
        values: The column with its value.
        annotator: The column of who gave it, where several people annotated a text; None elsewhere.
    """

    text: Facts
    names: Facts
    values: Facts
    annotator: Facts | None = None

    @property
    def num_texts(self) -> int:
        """Distinct texts."""
        return len(self.text.counts)

    @property
    def why(self) -> str:
        """Why the file is long."""
        rows = len(self.text.filled) / max(self.num_texts, 1)
        return (
            f"each text has {rows:.1f} rows on average, with different values of the"
            f" {len(self.names.counts)} that this column has"
        )

    @cached_property
    def attributes(self) -> list[Facts]:
        """The values of each attribute."""
        return [
            Facts(name, parse_column([value for _, value in cells], decimal_comma=True))
            for name, cells in self._cells.items()
        ]

    def num_several(self, attribute: str) -> int:
        """Return how many texts have several values of an attribute, by one annotator each."""
        found: dict[Any, set[str]] = {}
        for text, value in self._cells[attribute]:
            if not is_missing(value):
                found.setdefault(text, set()).add(written(value).strip())
        return sum(len(values) > 1 for values in found.values())

    @cached_property
    def _cells(self) -> dict[str, list[tuple[Any, Any]]]:
        """Text, with its annotator, and value of the rows of each attribute."""
        cells: dict[str, list[tuple[Any, Any]]] = {}
        people = [None] * len(self.text.values) if self.annotator is None else self.annotator.values
        rows = zip(self.text.values, people, self.names.values, self.values.values, strict=True)
        for text, person, name, value in rows:
            if not is_missing(text) and not is_missing(name):
                cells.setdefault(written(name).strip(), []).append(((text, person), value))
        return cells

    def is_constant(self, facts: Facts | None) -> bool:
        """Return whether a column has one value per text, as columns of a split must."""
        if facts is None:
            return False
        found: dict[Any, Any] = {}
        pairs = zip(self.text.values, facts.values, strict=True)
        return all(
            found.setdefault(text, value) == value for text, value in pairs if not is_missing(value)
        )


def find_long(
    text: Facts, others: Sequence[Facts], annotator: Facts | None = None
) -> LongLayout | None:
    """Return the columns of names and values where a file is long; None where it is wide.

    It is long where most texts come in several rows, a column has a few names, different ones in
    the rows of a text, and this column is called so; or that of the values is, and no column tells
    of several people who annotated the same text.

    Args:
        text: The column of texts.
        others: The other columns.
        annotator: Who annotated, where texts have several annotators.
    """
    if len(text.filled) < _ROWS_PER_TEXT * len(text.counts):
        return None
    by_several = any(says(facts.name, ANNOTATORS) for facts in others)
    for names in others:
        if by_several and not says(names.name, ATTRIBUTE_NAMES):
            continue
        values = next(
            (facts for facts in others if facts is not names and says(facts.name, VALUES)), None
        )
        remaining = [facts for facts in others if facts is not names]
        if values is None and says(names.name, ATTRIBUTE_NAMES) and len(remaining) == 1:
            values = remaining[0]
        if values is not None and _names_attributes(text, names, annotator):
            return LongLayout(text, names, values, annotator)
    return None


def _names_attributes(text: Facts, names: Facts, annotator: Facts | None) -> bool:
    if not names.is_strings or not 2 <= len(names.counts) <= _MOST_ATTRIBUTES:
        return False
    of_text: dict[Any, set[Any]] = {}
    people = [None] * len(text.values) if annotator is None else annotator.values
    for key, person, name in zip(text.values, people, names.values, strict=True):
        if not is_missing(key) and not is_missing(name):
            of_text.setdefault((key, person), set()).add(name)
    distinct = sum(map(len, of_text.values()))
    several = sum(len(found) > 1 for found in of_text.values())
    return distinct >= _SHARE_WITHOUT_REPETITION * len(
        names.filled
    ) and several >= _SHARE_OF_TEXTS * len(of_text)
