"""Which scorers there are, by the name under which ``esm rank --scorer`` takes them."""

from __future__ import annotations

from enum import StrEnum

from esm.scorers.base import Scorer
from esm.scorers.logme_pool import PoolLogME


class ScorerName(StrEnum):
    """The scorers.

    LOGME: log evidence of a Bayesian linear model on mapped embeddings.
    """

    LOGME = "logme"


def make_scorer(name: ScorerName) -> Scorer:
    """Return a scorer by name."""
    makers = {ScorerName.LOGME: PoolLogME}
    return makers[name]()
