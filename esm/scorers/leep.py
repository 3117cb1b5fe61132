"""LEEP: how well the source head's class probabilities predict the target's classes.

Nguyen, Hassner, Seeger and Archambeau, "LEEP: A New Measure to Evaluate Transferability of Learned
Representations" (ICML 2020, arXiv 2002.12462), equation 2. The source head turns each text into a
distribution over the source's classes; from the empirical joint of those and the target's classes
follows the conditional of a target class given a source class, and the score is the mean log
likelihood of the target's labels under the resulting mixture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import ShapeError
from esm.scorers.base import NATS, EmbeddingKind, Evidence, Need, Scorer
from esm.scorers.per_class import mean_over_classes


def leep(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Return the log expected empirical prediction, nats per example; 0 is the best there is.

    With theta(x) the source head's probabilities, ``P(y, z) = 1/n sum over i with y_i = y of
    theta(x_i)_z`` and ``P(z)`` its sum over y::

        LEEP = 1/n sum_i log sum_z P(y_i | z) theta(x_i)_z

    Args:
        probabilities: (n, z) rows that sum to 1.
        labels: (n,) target classes.

    Raises:
        ShapeError: Shapes do not fit.

    Source:
        Nguyen et al. 2020, equation 2.
    """
    joint, codes = joint_distribution(probabilities, labels)
    marginal = joint.sum(axis=0)
    # A source class that is never likely has no conditional, and no part in any mixture.
    conditional = joint / np.where(marginal > 0, marginal, 1.0)
    likelihood = (probabilities * conditional[codes]).sum(axis=1)
    return float(np.log(likelihood).mean())


def joint_distribution(
    probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return P(y, z) as (y, z), of the classes that occur, and (n,) codes of the labels in it.

    Raises:
        ShapeError: Shapes do not fit.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ShapeError(
            f"probabilities {probabilities.shape} and labels {labels.shape}",
            expected="(n, z) and (n,) for the same n",
        )
    classes, codes = np.unique(labels, return_inverse=True)
    members = np.eye(len(classes))[codes]
    return members.T @ probabilities.astype(np.float64) / len(labels), codes.astype(np.int64)


@dataclass(frozen=True)
class HeadScorer(Scorer):
    """What scores of the source head's answers on the target's texts have in common.

    Attributes:
        reads: Embeddings to which the head is applied: the tuned encoder's, for which it was
            trained, or the mapped ones, which stand for them.
    """

    reads: EmbeddingKind = EmbeddingKind.TUNED
    unit = NATS

    @property
    def needs(self) -> frozenset[Need]:
        """A head, and embeddings to apply it to."""
        return frozenset({Need.HEAD, self.reads.need})

    def probabilities(self, evidence: Evidence) -> npt.NDArray[np.float64]:
        """Return (n, z) class probabilities of the source head on the target's rows."""
        assert evidence.source is not None  # the base model has no head, hence no base score
        return evidence.source.head.probabilities(evidence.embeddings(self.reads))


@dataclass(frozen=True)
class Leep(HeadScorer):
    """LEEP of the source head on the target's texts."""

    name = "leep"

    def score(self, evidence: Evidence) -> float:
        """Return the mean log likelihood of the target's labels, nats per example."""
        probabilities = self.probabilities(evidence)
        return mean_over_classes(
            evidence.target, lambda labels: leep(probabilities, labels), self.name
        )
