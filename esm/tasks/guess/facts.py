"""What a column of a table is, in numbers: what guesses of its role rest on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from esm.tasks.labels.read import label_name
from esm.tasks.raw import Values, is_missing, is_number

_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}\s*[./]\s*\d{1,2}\s*[./]\s*(\d{4}|\d{2})(\D.*)?",
    re.DOTALL,
)
_ADDRESS = re.compile(r"(https?://|www\.)\S+|[\w-]+(\.[\w-]+)*\.[a-z]{2,6}/\S*", re.IGNORECASE)
_NEARLY_ALL = 0.95
_SEPARATORS = (";", "|", ",", "/")
# A comma also stands inside a label, a semicolon hardly ever.
_UNMISTAKABLE = frozenset(";|")
_MOST_LABELS_OF_SETS = 40
_LONGEST_LABEL_IN_WORDS = 5
_FEWEST_CELLS_WITH_SEVERAL = 2
_SHARE_WITH_SEVERAL = 0.02


@dataclass(frozen=True)
class Facts:
    """One column of n rows.

    Attributes:
        name: The column's name.
        values: Its n values.
    """

    name: str
    values: Values

    @cached_property
    def filled(self) -> Values:
        """The values that are there."""
        return [value for value in self.values if not is_missing(value)]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, by its name."""
        return Counter(
            label_name(sorted(map(label_name, value)) if isinstance(value, list) else value)
            for value in self.filled
        )

    @property
    def fill(self) -> float:
        """Share of the rows that have a value."""
        return len(self.filled) / max(len(self.values), 1)

    @property
    def variety(self) -> float:
        """Distinct values per row that has one; 1 where all differ."""
        return len(self.counts) / max(len(self.filled), 1)

    @cached_property
    def mean_words(self) -> float:
        """Words per value, on average; 0 where the values are no strings."""
        if not self.is_strings:
            return 0.0
        return fmean(len(value.split()) for value in self.filled)

    @cached_property
    def is_strings(self) -> bool:
        """Whether all values are strings."""
        return bool(self.filled) and all(isinstance(value, str) for value in self.filled)

    @cached_property
    def is_lists(self) -> bool:
        """Whether all values are lists."""
        return bool(self.filled) and all(isinstance(value, list) for value in self.filled)

    @cached_property
    def is_numbers(self) -> bool:
        """Whether all values are numbers."""
        return bool(self.filled) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.filled
        )

    @cached_property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        return self.is_numbers and all(
            isinstance(value, int) or value.is_integer() for value in self.filled
        )

    @cached_property
    def is_counted_on(self) -> bool:
        """Whether the values are different whole numbers without gaps, as row numbers are."""
        if not self.is_whole or len(self.counts) < len(self.filled):
            return False
        return bool(max(self.filled) - min(self.filled) + 1 == len(self.filled))

    @cached_property
    def num_numbers(self) -> int:
        """How many values are numbers, or strings that are nothing but a number."""
        return sum(map(is_number, self.filled))

    @property
    def is_dates(self) -> bool:
        """Whether nearly all values are dates."""
        return self._mostly(lambda value: _DATE.fullmatch(value.strip()) is not None)

    @property
    def is_addresses(self) -> bool:
        """Whether nearly all values are addresses on the web."""
        return self._mostly(lambda value: _ADDRESS.fullmatch(value.strip()) is not None)

    def _mostly(self, fits: Callable[[str], bool]) -> bool:
        if not self.is_strings:
            return False
        return sum(map(fits, self.filled)) >= _NEARLY_ALL * len(self.filled)

    @cached_property
    def separator(self) -> str | None:
        """What separates the labels in cells that hold several; None where cells hold one.

        It makes a small set of short labels of the cells. A comma or a slash also has to make
        labels most of which occur in several combinations: there are labels with a comma inside.
        """
        if not self.is_strings:
            return None
        return next((mark for mark in _SEPARATORS if self._separates(mark)), None)

    def _separates(self, mark: str) -> bool:
        cells = {
            cell: [part for part in map(str.strip, cell.split(mark)) if part]
            for cell in self.counts
        }
        several = sum(self.counts[cell] for cell, parts in cells.items() if len(parts) > 1)
        if several < max(_FEWEST_CELLS_WITH_SEVERAL, _SHARE_WITH_SEVERAL * len(self.filled)):
            return False
        combinations = Counter(part for parts in cells.values() for part in set(parts))
        rows = sum(self.counts[cell] * len(parts) for cell, parts in cells.items())
        few = 1 < len(combinations) <= min(_MOST_LABELS_OF_SETS, rows / 2)
        short = all(len(part.split()) <= _LONGEST_LABEL_IN_WORDS for part in combinations)
        again = sum(count > 1 for count in combinations.values()) >= len(combinations) / 2
        alone = any(len(parts) == 1 for parts in cells.values())
        return few and short and (mark in _UNMISTAKABLE or (again and alone))
