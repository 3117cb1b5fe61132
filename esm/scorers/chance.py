"""Random: every source is as good as any other.

All scores are the same, and :mod:`esm.metrics.rankings` takes the expectation over the orders of
tied
scores: so this is the random order exactly, not one draw of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from esm.scorers.base import EmbeddingKind, Evidence, Need


@dataclass(frozen=True)
class Chance:
    """A constant."""

    name: str = "random"
    unit: str = "a constant: all sources are equal"
    reads: EmbeddingKind | None = None
    needs: frozenset[Need] = frozenset()
    weighs_classes: bool = False
    has_base: bool = False

    def score(self, evidence: Evidence) -> float:
        """Return 0."""
        del evidence
        return 0.0
