"""Tables about base models."""

from __future__ import annotations

from pathlib import Path

from esm.encoder.vocabulary import Trimmed
from esm.report.table import Table


def trim_tables(made: Trimmed, folder: Path) -> list[Table]:
    """Return what trimming a vocabulary did."""
    rows = [
        ("pieces", f"{made.pieces_before:,}", f"{made.pieces:,}"),
        ("parameters", f"{made.parameters_before:,}", f"{made.parameters:,}"),
        ("tokens per word", f"{made.tokens_per_word_before:.2f}", f"{made.tokens_per_word:.2f}"),
    ]
    notes = [f"esm train TASKS --base {folder} --pool DIR uses it"]
    return [Table(f"{folder}", ("", "before", "now"), rows, notes, frozenset({""}))]
