"""kNN: how often the nearest other texts have the right label, on a source's embeddings.

Leave-one-out nearest neighbours, as Puigcerver et al., "Scalable Transfer Learning with Expert
Models" (ICLR 2021, arXiv 2009.13239) choose among experts, and Renggli et al., "Which Model to
Transfer? Finding the Needle in the Growing Haystack" (CVPR 2022, arXiv 2010.06402) among models.
Unlike LogME it asks for no linear boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import TaskError
from esm.common.neighbours import nearest_others
from esm.metrics.predictions import performance
from esm.scorers.base import METRIC, EmbeddingKind, Evidence, Scorer, TargetAttribute
from esm.tasks.task import Problem


@dataclass(frozen=True)
class Knn(Scorer):
    """The target's metric, of predictions by the nearest other training rows.

    Classes and labels are voted for, under class balance by votes that weigh all classes the
    same, equal votes going to the first class; amounts and ranks are averaged.

    Attributes:
        reads: Embeddings in which neighbours are looked for.
        k: Neighbours; fewer where there are not so many rows.
    """

    reads: EmbeddingKind = EmbeddingKind.MAPPED
    k: int = 5
    name = "knn"
    unit = METRIC
    weighs_classes = True
    has_base = True

    def score(self, evidence: Evidence) -> float:
        """Return the metric of leave-one-out predictions.

        Raises:
            TaskError: There are fewer than two rows.
        """
        target = evidence.target
        if len(target) < 2:
            raise TaskError(f"{len(target)} rows of {target.task.id}", expected="at least two")
        nearest = nearest_others(evidence.embeddings(self.reads), min(self.k, len(target) - 1))
        outputs = predict(target, nearest)
        return performance(target.task, target.labels, outputs)[target.task.metric]


def predict(target: TargetAttribute, nearest: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return raw outputs (n, c), as a model would give them, from (n, k) neighbours."""
    labels, task = target.labels[nearest], target.task
    weights = np.ones(len(target)) if target.weights is None else target.weights
    votes = weights[nearest] / weights[nearest].sum(axis=1, keepdims=True)
    if task.problem is Problem.CLASSIFICATION:
        columns = [(votes * (labels == c)).sum(axis=1) for c in range(task.num_outputs)]
        return np.stack(columns, axis=1)
    if task.problem is Problem.MULTILABEL:
        shares: npt.NDArray[Any] = (votes[..., None] * labels).sum(axis=1) - 0.5
        return shares
    means: npt.NDArray[Any] = (votes * labels).sum(axis=1)[:, None]
    return means
