"""What readers of annotation tools share: the columns they make, and what they say of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esm.common.errors import TaskError
from esm.common.runtime import warn_once
from esm.tasks.raw import Table, Values

_LOGGER = logging.getLogger(__name__)

ANNOTATOR = "annotator"
"""The column in which every reader puts who annotated a row."""

LABEL = "label"


@dataclass(frozen=True)
class Export:
    """What an annotation tool's file holds.

    Attributes:
        tool: Tool and format, for the note.
        table: Columns of texts, of labels that are read, of ids, and of who annotated.
        notes: What was made of it, parts of a sentence without any text of the data.
    """

    tool: str
    table: Table
    notes: tuple[str, ...] = ()

    def told(self, path: Path) -> Table:
        """Return the table, and say what it was read as."""
        parts = "; ".join(part for part in self.notes if part)
        warn_once(_LOGGER, f"{path.name}: read as {self.tool}" + (f": {parts}" if parts else ""))
        return self.table


Labels = list[str] | None
"""The labels of a row; None where it is not annotated."""


def classes_or_sets(name: str, rows: Sequence[Labels]) -> tuple[Values, str]:
    """Return a column of classes where no row has several labels, else one of sets of labels.

    Args:
        name: The column, for the note.
        rows: Labels per row.

    Returns:
        The column, and a part of a sentence that says which of both it is.
    """
    several = sum(len(row) > 1 for row in rows if row is not None)
    if several:
        return list(rows), f"{name!r} holds sets of labels ({several} rows have several)"
    return [row[0] if row else None for row in rows], f"{name!r} holds one label a row, so classes"


def left_out(columns: Iterable[str], why: str = "the tool's own") -> str:
    """Return a part of a sentence on columns that are no attributes; empty where there are none."""
    names = sorted(columns)
    return f"columns left out, {why}: {', '.join(names)}" if names else ""


def unannotated(count: int, total: int, what: str = "have no label and count as") -> str:
    """Return a part of a sentence on rows that nobody annotated; empty where there are none."""
    return f"{count} of {total} rows {what} not annotated" if count else ""


def spans_error(path: Path, tool: str, hint: str) -> TaskError:
    """Return the refusal of labels that belong to places in the text and not to the text."""
    return TaskError(
        f"{path} is {tool}, whose labels belong to spans of characters; these are not read",
        expected="labels of whole texts, or a tag for every word",
        hint=hint,
    )


def without(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a row without some of its keys."""
    leave = set(names)
    return {name: value for name, value in row.items() if name not in leave}


AS_WORDS = (
    "for tags, write JSON lines with two lists, 'tokens' and 'tags', or a word and its tag in every"
    " line of a .conll file"
)
