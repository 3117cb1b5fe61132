"""Size: the largest source first, whatever the target.

A common rule of thumb, and a baseline of Poth et al., "What to Pre-Train on? Efficient Intermediate
Task Selection" (EMNLP 2021, arXiv 2104.08247).
"""

from __future__ import annotations

from esm.scorers.base import Evidence, Need, Scorer


class Size(Scorer):
    """The number of training rows that the source task has, used or not."""

    name = "size"
    unit = "training rows"
    needs = frozenset({Need.SIZE})

    def score(self, evidence: Evidence) -> float:
        """Return the number of rows."""
        assert evidence.source is not None
        return float(evidence.source.size)
