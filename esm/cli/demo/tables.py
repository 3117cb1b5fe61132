"""What the demo had planted and what it found, as tables."""

from __future__ import annotations

from esm.cli.demo.run import Verdict
from esm.metrics.rankings import NO_TRANSFER
from esm.report.numbers import points
from esm.report.table import Table


def verdict_tables(verdict: Verdict) -> list[Table]:
    """Return what the demo had planted and what it found."""
    rows = [
        (attribute, planted, verdict.ranked_first[attribute])
        for attribute, planted in verdict.planted.items()
    ]
    planted = verdict.planted[verdict.validated]
    none = verdict.performance.get(NO_TRANSFER)
    found = "won" if verdict.holds else "did not win"
    notes = [
        f"{verdict.validated}: {planted} {found} in ranking and training:"
        f" {points(verdict.performance[planted])} against"
        f" {points(none)} without transfer"
    ]
    columns = ("attribute", "planted source", "ranked first")
    return [Table("what was planted, what was found", columns, rows, notes, frozenset(columns))]
