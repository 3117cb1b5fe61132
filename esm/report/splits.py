"""How a target is split, and what its folds found, in tables and notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from esm.report.numbers import plus_minus
from esm.report.table import Table

if TYPE_CHECKING:
    from esm.trials.standard_errors import OutOfFold

_METHODS = {
    "given": "the split that the data come with",
    "stratified": "a stratified hold-out",
    "grouped": "a stratified hold-out of whole groups",
    "column": "the split that a column names",
    "k-fold": "folds",
}
_SPLITS = ("train", "validation", "test")


def split_tables(described: Mapping[str, Any]) -> list[Table]:
    """Return how the rows of a description are split (see :mod:`esm.tasks.faults.describe`)."""
    split = described["split"]
    if split is None:
        return []
    together = f"groups of {split['group']!r}" if split["group"] else "distinct texts"
    rows = [(name, str(split["groups"][name])) for name in _SPLITS if name in split["groups"]]
    title = f"{described['id']}: {_METHODS[split['method']]}"
    if split["column"]:
        title += f" ({split['column']!r})"
    notes = []
    if split["folds"]:
        rows = [("all", str(split["groups"]["train"]))]
        title += f": {split['folds']}, drawn {_times(split['repeats'])}"
        notes = ["every row is a test row in one fold of each draw; below all are training rows"]
    if split["group"]:
        notes.append("rows of one group, and of one text, are on one side")
    return [Table(title, ("rows", together), rows, notes, frozenset({"rows"}))]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def fold_notes(folds: int, found: OutOfFold | None) -> list[str]:
    """Return what the folds of one validated attribute say; nothing for a fixed split."""
    if not folds:
        return []
    notes = [f"means over {folds} folds, every arm with every seed on each; rows are of one fold"]
    if found is not None:
        picks = ", ".join(f"{source} ({count})" for source, count in sorted(found.picks.items()))
        notes.append(
            f"chosen by each fold's own training rows, judged on its test rows: gain"
            f" {plus_minus(found.gain, found.standard_error, sign=True)}; chosen: {picks}"
        )
    return notes
