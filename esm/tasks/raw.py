"""What a reader hands on: columns of raw values per split, and what is known of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esm.common.errors import TaskError
from esm.tasks.task import Metric, Problem, SplitName, TaskMetadata

Values = list[Any]
Table = Mapping[str, Values]

_LONGEST_ID = 100
_WITHOUT_WIDTH = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class LabelColumn:
    """What a task's description says of one label column; empty where it says nothing.

    Attributes:
        names: Classes in the order they should have.
        problem: Kind of output.
        metric: Primary metric.
        readings: Other ways to read the labels, by name: label as stored to the label to use,
            or to None where the row is to be left out.
    """

    names: tuple[str, ...] = ()
    problem: Problem | None = None
    metric: Metric | None = None
    readings: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class RawData:
    """Rows as they were read, before any column was chosen.

    Attributes:
        id: Name of the task or target.
        splits: Columns of raw values by split; train is always there.
        known: What is known of label columns, by column.
        described: Whether ``known`` lists all the attributes there are, so that no others are
            offered.
        metadata: Language, licence and so on.
        words: Column of the texts that were lists of words, or whose words have tags; None where
            there is none.
        is_corpus: Whether the description says that there are texts and no labels.
        file: The file beside which a split made for these rows is stored; None for Hub data.
    """

    id: str
    splits: Mapping[SplitName, Table]
    known: Mapping[str, LabelColumn] = field(default_factory=dict)
    described: bool = False
    metadata: TaskMetadata = field(default_factory=TaskMetadata)
    words: str | None = None
    is_corpus: bool = False
    file: Path | None = None

    @property
    def train(self) -> Table:
        """The training rows."""
        return self.splits[SplitName.TRAIN]

    def column(self, split: SplitName, name: str) -> Values:
        """Return a column's values in one split.

        Raises:
            TaskError: The split has no such column.
        """
        table = self.splits[split]
        if name not in table:
            raise missing_column(name, table, f"{split} rows of {self.id}")
        return table[name]


def missing_column(name: str, table: Table, where: str) -> TaskError:
    """Return the error that says which columns there are instead."""
    return TaskError(
        f"no column {name!r} in the {where}",
        expected=f"one of {', '.join(map(repr, table)) or 'its columns, but it has none'}",
        hint="name the columns with --text, --text-pair and --attribute",
    )


def num_rows(table: Table) -> int:
    """Return how many rows a table has."""
    return len(next(iter(table.values()), []))


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: null, NaN, blank, or nothing but characters without width."""
    if isinstance(value, str):
        seen = value.strip()
        return not seen or (seen[0] in _WITHOUT_WIDTH and not seen.strip(_WITHOUT_WIDTH))
    return value is None or (isinstance(value, float) and value != value)


def is_number(value: object) -> bool:
    """Return whether a value is a number, or a string that is nothing but a number."""
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def to_id(name: str) -> str:
    """Return a name as an id that is safe in paths and tables: ``"My data"`` is ``"My-data"``.

    Accents are dropped; a slash becomes ``--``, because in an id it stands between a target and
    its attribute.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", plain.replace("/", "--"))
    return re.sub(r"\.{2,}", ".", slug).strip("-._")[:_LONGEST_ID] or "unnamed"


def attribute_id(target: str, attribute: str) -> str:
    """Return the id under which an attribute of a target stands in tables of results.

    Example:
        >>> attribute_id("posts", "is true/false")
        'posts/is-true--false'
    """
    return f"{target}/{to_id(attribute)}"
