"""What is known of a source before anything is trained: the features of forecasts.

Each is absolute: a gain over the untouched base model, a cosine, a logarithm. What stands for a
source does not depend on what else is in the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from esm.scorers.base import Evidence, Need, Scorer
from esm.scorers.knn import Knn
from esm.scorers.logme import LogME
from esm.scorers.probe import Probe
from esm.scorers.taskemb import TaskEmb
from esm.scorers.textemb import TextEmb
from esm.scorers.vocab import Vocab


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        words: What it says, for people.
        needs: What a source must have for it.
        of: Computes it; the source side of the evidence is not None.
    """

    words: str
    needs: frozenset[Need]
    of: Callable[[Evidence], float]


def _gain(scorer: Scorer) -> Callable[[Evidence], float]:
    """Return the gain of a scorer over the untouched base model."""

    def gain(evidence: Evidence) -> float:
        target = evidence.target
        base = target.once(f"base {scorer.name}", lambda: scorer.score(Evidence(target)))
        return scorer.score(evidence) - base

    return gain


def _size(evidence: Evidence) -> float:
    assert evidence.source is not None
    return float(np.log10(max(evidence.source.size, 1)))


def _fit(evidence: Evidence) -> float:
    """R² of the map on anchors of other tasks; 0 where its publisher does not say."""
    assert evidence.source is not None
    record = evidence.source.entry.record.maps.get(evidence.source.form)
    return 0.0 if record is None or record.r2_anchors is None else record.r2_anchors


def _change(evidence: Evidence) -> float:
    """Log ratio of what the map changes in the target's embeddings to how far these spread."""
    target = evidence.target
    before = target.base.astype(np.float64)
    change = evidence.embeddings().astype(np.float64) - before
    spread = np.square(before - before.mean(axis=0)).sum()
    moved = np.square(change - change.mean(axis=0)).sum()
    return float(np.log10(max(moved, 1e-12 * spread) / spread))


_MAP = frozenset({Need.MAP})
_VECTORS = frozenset({Need.VECTORS})

FEATURES: Mapping[str, Feature] = {
    "logme": Feature("log evidence of a linear model over the base model's", _MAP, _gain(LogME())),
    "probe": Feature("a cross-validated linear model over the base model's", _MAP, _gain(Probe())),
    "knn": Feature("nearest neighbours over the base model's", _MAP, _gain(Knn())),
    "textemb": Feature("likeness of the texts", _VECTORS, TextEmb().score),
    "taskemb": Feature("likeness of what the tasks ask", _VECTORS, TaskEmb().score),
    "vocab": Feature("shared vocabulary", _VECTORS, Vocab().score),
    "size": Feature("training rows", frozenset({Need.SIZE}), _size),
    "fit": Feature("how well the map holds on other texts", _MAP, _fit),
    "change": Feature("how much the source changes the embeddings", _MAP, _change),
}


def needs_of(names: Sequence[str]) -> frozenset[Need]:
    """Return what a source must have for these features."""
    return frozenset().union(*(FEATURES[name].needs for name in names))


def features_of(evidence: Evidence, names: Sequence[str]) -> dict[str, float]:
    """Return features of a source for a target, by name."""
    return {name: FEATURES[name].of(evidence) for name in names}
