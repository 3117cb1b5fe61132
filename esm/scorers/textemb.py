"""TextEmb: how alike the texts of source and target are, by their mean base embeddings.

Vu et al., "Exploring and Predicting Transferability across NLP Tasks" (EMNLP 2020, arXiv
2005.00770), section 4.1: a task is the mean of its texts' embeddings by the base model, two tasks
are compared by the cosine. Labels play no part, so all attributes of a target with the same rows
are ranked alike.
"""

from __future__ import annotations

from esm.scorers.base import COSINE, Evidence, Need, Scorer
from esm.scorers.similarity import cosine


class TextEmb(Scorer):
    """Cosine of the mean base embeddings of source and target."""

    name = "textemb"
    unit = COSINE
    needs = frozenset({Need.VECTORS})

    def score(self, evidence: Evidence) -> float:
        """Return the cosine, at most 1."""
        assert evidence.source is not None
        return cosine(evidence.source.vectors.mean, evidence.target.mean)
