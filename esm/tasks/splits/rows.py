"""Rows that have a text, after the choice of columns and before labels are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from esm.tasks.identity import row_keys
from esm.tasks.raw import RawData, Values, is_missing
from esm.tasks.splits.draw import Membership, Rows, joined_keys, strata
from esm.tasks.task import SplitName

EMPTY_TEXT = "empty text"

Texts = tuple[str, ...]


@dataclass(frozen=True)
class TextRows:
    """Rows of one split.

    Attributes:
        texts: n texts.
        pairs: The n second texts of a pair task, else None.
        columns: n raw labels, by column.
        groups: n values of the group column, where rows are drawn by one.
        parts: n values of the split column, where there is one.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    columns: Mapping[str, Values]
    groups: Values | None = None
    parts: Values | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Rows) -> TextRows:
        """Return the rows of these positions, in the order given."""
        part = TextRows(
            texts=tuple(self.texts[row] for row in rows),
            pairs=None if self.pairs is None else tuple(self.pairs[row] for row in rows),
            columns={name: take(values, rows) for name, values in self.columns.items()},
            groups=None if self.groups is None else take(self.groups, rows),
            parts=None if self.parts is None else take(self.parts, rows),
        )
        if "keys" in self.__dict__:  # to hash the texts again would take as long as to read them
            part.__dict__["keys"] = take(self.keys, rows)
        return part

    @cached_property
    def keys(self) -> list[str]:
        """A key per row, the same for equal texts."""
        return row_keys(self.texts, self.pairs)

    @cached_property
    def joined(self) -> list[str]:
        """A key per row, the same for rows that have to stay together."""
        return self.keys if self.groups is None else joined_keys(self.keys, self.groups)

    def strata(self, smallest: float) -> Membership:
        """Return the (n, s) labels of all columns side by side.

        A column most of whose classes have not one row for the smallest part is left out, unless
        all are such: it holds authors or sources rather than labels, and dealing them out one by
        one would cost the others their proportions.

        Args:
            smallest: Share of the smallest part.
        """
        labels = [strata(values) for values in self.columns.values()]
        large = [
            one for one in labels if one.shape[1] > 0 and smallest * np.median(one.sum(axis=0)) >= 1
        ]
        return np.hstack(large or labels)


def take(values: Values, rows: Iterable[int]) -> Values:
    """Return the values of these positions."""
    return [values[row] for row in rows]


def filled_rows(
    raw: RawData, split: SplitName, columns: Sequence[str]
) -> tuple[list[int], Texts, Texts | None]:
    """Return the rows of a split of which no text is blank: where they stand, and their texts.

    Args:
        raw: The data.
        split: The split.
        columns: The text column and, for pairs, the second one.

    Raises:
        TaskError: The split has no such column.
    """
    cells = [raw.column(split, name) for name in columns]
    kept = [
        row for row, texts in enumerate(zip(*cells, strict=True)) if not any(map(is_missing, texts))
    ]
    firsts, *seconds = (tuple(str(column[row]) for row in kept) for column in cells)
    return kept, firsts, seconds[0] if seconds else None
