"""What a column of a table is, in numbers: what guesses of its role rest on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from esm.tasks.labels.names import label_name
from esm.tasks.labels.sets import Separated, find_separator, indicators, listed
from esm.tasks.raw import Values, is_missing, is_number

_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}\s*[./]\s*\d{1,2}\s*[./]\s*(\d{4}|\d{2})(\D.*)?",
    re.DOTALL,
)
_ADDRESS = re.compile(r"(https?://|www\.)\S+|[\w-]+(\.[\w-]+)*\.[a-z]{2,6}/\S*", re.IGNORECASE)
_NEARLY_ALL = 0.95
# Of more values, every second, third, … tells how long they are and what they look like.
_MOST_LOOKED_AT = 2000
# With more different values than this, a column holds no labels: they are counted as they stand.
_MOST_NAMES = 5000


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
        if self.kinds <= {int, bool}:
            return self.values
        return [value for value in self.values if not is_missing(value)]

    @cached_property
    def kinds(self) -> frozenset[type]:
        """The types of all values."""
        return frozenset(map(type, self.values))

    @cached_property
    def looked_at(self) -> Values:
        """Some of the values that are there, evenly spread: all of them where they are few."""
        return self.filled[:: max(1, -(-len(self.filled) // _MOST_LOOKED_AT))]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, by its name."""
        if self.is_strings:
            written = Counter(self.filled)
            if len(written) > _MOST_NAMES:
                return written
        elif self.is_numbers:
            written = Counter(self.filled)
        else:
            written = Counter(map(_name, self.filled))
        counts: Counter[str] = Counter()
        for value, count in written.items():
            counts[label_name(value)] += count
        return counts

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
        return fmean(len(value.split()) for value in self.looked_at)

    @property
    def is_strings(self) -> bool:
        """Whether all values are strings."""
        return self._are({str})

    @property
    def is_lists(self) -> bool:
        """Whether all values are lists."""
        return self._are({list})

    @property
    def is_numbers(self) -> bool:
        """Whether all values are numbers."""
        return self._are({int, float})

    def _are(self, kinds: set[type]) -> bool:
        return bool(self.filled) and self._kinds_filled <= kinds

    @cached_property
    def _kinds_filled(self) -> frozenset[type]:
        return frozenset(map(type, self.filled))

    @property
    def has_lists(self) -> bool:
        """Whether there are lists or records among the values, also such as are written out."""
        if self._kinds_filled & {list, dict, tuple}:
            return True
        return self.is_strings and any(
            listed(value) is not None
            for value in self.filled
            if value.lstrip()[:1] in ("[", "{", "(")
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
        return sum(map(fits, self.looked_at)) >= _NEARLY_ALL * len(self.looked_at)

    @cached_property
    def separated(self) -> Separated | None:
        """How cells hold several labels; None where they hold one."""
        if not self.is_strings or not isinstance(self.filled[0], str):
            return None
        return find_separator(Counter(map(str.strip, self.filled)))


def _name(value: Any) -> str:
    if not isinstance(value, list):
        return label_name(value)
    names = [label_name(item) for item in value]
    # Labels are in no order, but 0 and 1 stand for another label in every place.
    return str(names if indicators(value) else sorted(names))
