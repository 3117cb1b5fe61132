"""TaskEmb: how alike two tasks use the base model's embedding, by their Fisher information.

Vu et al., "Exploring and Predicting Transferability across NLP Tasks" (EMNLP 2020, arXiv
2005.00770), section 4.2, after Achille et al., "Task2Vec" (ICCV 2019, arXiv 1902.03545). Which
simplification is made here, and why, says :mod:`esm.pool.vectors`.
"""

from __future__ import annotations

from esm.common.errors import PoolError
from esm.scorers.base import COSINE, Evidence, Need, Scorer
from esm.scorers.similarity import cosine
from esm.tasks.task import Problem


class TaskEmb(Scorer):
    """Cosine of the diagonal Fisher vectors of source and target."""

    name = "taskemb"
    unit = COSINE
    needs = frozenset({Need.VECTORS})

    def score(self, evidence: Evidence) -> float:
        """Return the cosine, between 0 and 1; NaN where a task has one label only.

        Raises:
            PoolError: The source is a corpus, which has no labels to take the information of.
        """
        assert evidence.source is not None
        if evidence.source.entry.record.problem is Problem.CORPUS:
            raise PoolError(
                f"source {evidence.source.id} is a corpus without labels, so that it has no Fisher"
                " information",
                expected="a source with labels",
                hint="--scorer textemb compares texts alone",
            )
        return cosine(evidence.source.vectors.fisher, evidence.target.fisher)
