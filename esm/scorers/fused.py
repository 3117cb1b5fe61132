"""Fused: the expected gain of a source in points of the metric, from all that the pool knows of it.

A linear forecast (:mod:`esm.scorers.forecast`) over the features of
:mod:`esm.scorers.features`, whose weights were fitted to measured transfer. The score is the
expected gain itself: 0 is the base model untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from esm.scorers.base import EmbeddingKind, Evidence, Need, Scorer
from esm.scorers.features import features_of, needs_of
from esm.scorers.forecast import Forecast, packaged_forecast

POINTS = "points of the metric"


@dataclass(frozen=True)
class Fused(Scorer):
    """Expected gain over no transfer.

    Cost: that of its features; the dearest is a cross-validated linear model per source.

    Attributes:
        forecast: The fitted forecast.
    """

    forecast: Forecast
    name = "fused"
    unit = POINTS
    reads = EmbeddingKind.MAPPED
    weighs_classes = True
    has_base = True

    @classmethod
    def packaged(cls) -> Self:
        """Return the scorer with the weights that come with the package."""
        found = packaged_forecast("fused")
        assert found is not None  # a file of the package
        return cls(found)

    @property
    def needs(self) -> frozenset[Need]:
        """What the features need."""
        return needs_of(self.forecast.features)

    def features(self, evidence: Evidence) -> dict[str, float]:
        """Return the features of a source, by name; computed once per target and source."""
        assert evidence.source is not None
        names = self.forecast.features
        return evidence.target.once(
            f"features of {evidence.source.id}", lambda: features_of(evidence, names)
        )

    def score(self, evidence: Evidence) -> float:
        """Return the expected gain in points; 0 without a source."""
        if evidence.source is None:
            return 0.0
        return self.forecast.expect(self.features(evidence)).gain
