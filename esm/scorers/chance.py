"""Random: every source is as good as any other.

All scores are the same, and :mod:`esm.metrics.rankings` takes the expectation over the orders of
tied
scores: so this is the random order exactly, not one draw of it.
"""

from __future__ import annotations

from esm.scorers.base import Evidence, Scorer


class Chance(Scorer):
    """A constant."""

    name = "random"
    unit = "a constant: all sources are equal"

    def score(self, evidence: Evidence) -> float:
        """Return 0."""
        del evidence
        return 0.0
