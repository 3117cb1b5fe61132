"""NCE: how much the source head's decisions tell of the target's classes.

Tran, Nguyen and Hassner, "Transferability and Hardness of Supervised Classification Tasks" (ICCV
2019, arXiv 1908.08142): the negative conditional entropy of the target's labels given the source
labels of the same texts. A target's texts have no source labels; as in Nguyen et al. 2020, the
class that the source head finds most probable takes their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.scorers.base import Evidence
from esm.scorers.leep import HeadScorer, joint_distribution
from esm.scorers.per_class import mean_over_classes


def nce(source_labels: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Return the negative conditional entropy, nats per example; 0 is the best there is.

    ``-H(Y | Z) = sum_{y,z} P(y, z) log (P(y, z) / P(z))``

    Args:
        source_labels: (n,) source classes Z.
        labels: (n,) target classes Y.

    Raises:
        ShapeError: Shapes do not fit.

    Source:
        Tran et al. 2019, equation 6.
    """
    classes, codes = np.unique(source_labels, return_inverse=True)
    joint, _ = joint_distribution(np.eye(len(classes))[codes], labels)
    marginal = np.broadcast_to(joint.sum(axis=0), joint.shape)
    occurs = joint > 0
    return float((joint[occurs] * np.log(joint[occurs] / marginal[occurs])).sum())


@dataclass(frozen=True)
class Nce(HeadScorer):
    """NCE of the source head's decisions on the target's texts."""

    name = "nce"

    def score(self, evidence: Evidence) -> float:
        """Return the negative conditional entropy of the target's labels, nats per example."""
        decided = self.probabilities(evidence).argmax(axis=1)
        return mean_over_classes(evidence.target, lambda labels: nce(decided, labels), self.name)
