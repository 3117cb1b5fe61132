"""Names of the scorers, apart from what makes them: a help text imports no arrays."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ScorerName(StrEnum):
    """The scorers; each value is documented in the module that makes it.

    FUSED: the gain that is expected from several of the others together, in points. LOGME,
    TUNED_LOGME: log evidence of a linear model, on mapped or tuned embeddings. PROBE, FROZEN: a
    cross-validated linear model on them. KNN: leave-one-out nearest neighbours. HSCORE:
    regularised H-score. LEEP, NCE: the source head on the target's texts. TEXTEMB, TASKEMB, VOCAB:
    likeness of mean embeddings, of Fisher vectors, of vocabularies. SIZE, RANDOM, STATIC: orders
    that are blind to the target.
    """

    FUSED = "fused"
    LOGME = "logme"
    TUNED_LOGME = "tuned-logme"
    PROBE = "probe"
    FROZEN = "frozen"
    KNN = "knn"
    HSCORE = "hscore"
    LEEP = "leep"
    NCE = "nce"
    TEXTEMB = "textemb"
    TASKEMB = "taskemb"
    VOCAB = "vocab"
    SIZE = "size"
    RANDOM = "random"
    STATIC = "static"


OF_EITHER = (ScorerName.KNN, ScorerName.HSCORE, ScorerName.LEEP, ScorerName.NCE)
OF_HEADS = (ScorerName.LEEP, ScorerName.NCE)

BY_READING: Mapping[str, tuple[ScorerName, ...]] = {
    "on maps": (ScorerName.LOGME, ScorerName.FUSED, ScorerName.PROBE, ScorerName.KNN),
    "on deltas or tuned encoders": (ScorerName.TUNED_LOGME, ScorerName.FROZEN, ScorerName.HSCORE),
    "by source heads": (ScorerName.LEEP, ScorerName.NCE),
    "by stored vectors": (ScorerName.TEXTEMB, ScorerName.TASKEMB, ScorerName.VOCAB),
    "blind to the target": (ScorerName.SIZE, ScorerName.RANDOM, ScorerName.STATIC),
}
"""The scorers by what they read, where no embeddings are chosen."""
