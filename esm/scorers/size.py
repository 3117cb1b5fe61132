"""Size: the largest source first, whatever the target.

A common rule of thumb, and a baseline of Poth et al., "What to Pre-Train on? Efficient Intermediate
Task Selection" (EMNLP 2021, arXiv 2104.08247).
"""

from __future__ import annotations

from dataclasses import dataclass

from esm.scorers.base import EmbeddingKind, Evidence, Need


@dataclass(frozen=True)
class Size:
    """The number of training rows that the source task has, used or not."""

    name: str = "size"
    unit: str = "training rows"
    reads: EmbeddingKind | None = None
    needs: frozenset[Need] = frozenset({Need.SIZE})
    weighs_classes: bool = False
    has_base: bool = False

    def score(self, evidence: Evidence) -> float:
        """Return the number of rows."""
        assert evidence.source is not None
        return float(evidence.source.size)
