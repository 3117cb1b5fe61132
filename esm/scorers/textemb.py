"""TextEmb: how alike the texts of source and target are, by their mean base embeddings.

Vu et al., "Exploring and Predicting Transferability across NLP Tasks" (EMNLP 2020, arXiv
2005.00770), section 4.1: a task is the mean of its texts' embeddings by the base model, two tasks
are compared by the cosine. Labels play no part, so all attributes of a target with the same rows
are ranked alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from esm.scorers.base import COSINE, EmbeddingKind, Evidence, Need
from esm.scorers.similarity import cosine


@dataclass(frozen=True)
class TextEmb:
    """Cosine of the mean base embeddings of source and target."""

    name: str = "textemb"
    unit: str = COSINE
    reads: EmbeddingKind | None = None
    needs: frozenset[Need] = frozenset({Need.VECTORS})
    weighs_classes: bool = False
    has_base: bool = False

    def score(self, evidence: Evidence) -> float:
        """Return the cosine, at most 1."""
        assert evidence.source is not None
        return cosine(evidence.source.vectors.mean, evidence.target.mean)
