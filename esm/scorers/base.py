"""What a scorer receives, what it says of itself, and what it returns.

A scorer sees one *target* (an attribute of the user's data in one fold) and one *source* (an entry
of the pool). Either side is read lazily: a scorer that asks for moments costs no embedding of a
tuned encoder, and one that counts rows reads no map. What a scorer needs it declares, so that
sources which lack it can be left out, by name, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from esm.maps.forms import EmbeddingSpaceMap
from esm.scorers.kinds import COSINE, METRIC, NATS, EmbeddingKind, Need
from esm.scorers.moments import FeatureMoments, Moments
from esm.scorers.source import Head, Source
from esm.scorers.target import TargetAttribute, TextEmbeddings

__all__ = [
    "COSINE",
    "METRIC",
    "NATS",
    "EmbeddingKind",
    "Estimator",
    "Evidence",
    "Explainer",
    "Head",
    "Need",
    "PoolScorer",
    "Scorer",
    "Source",
    "TargetAttribute",
    "TextEmbeddings",
]


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that is known about one source and one target attribute.

    Attributes:
        target: The target side.
        source: The source side; None for the base model untouched.
    """

    target: TargetAttribute
    source: Source | None = None

    def features(self, kind: EmbeddingKind = EmbeddingKind.MAPPED) -> FeatureMoments:
        """Return the moments of the target's embeddings after the source.

        Mapped ones follow from the target's moments: O((d + p)² r), no row is touched.
        """
        if self.source is None:
            return self.target.moments.identity()
        if kind is EmbeddingKind.MAPPED:
            return self.target.moments.mapped(self.source.map)
        target = self.target
        rows = self.embeddings(kind)
        return Moments.of(rows, None, target.columns, target.weights).identity()

    def embeddings(self, kind: EmbeddingKind = EmbeddingKind.MAPPED) -> npt.NDArray[Any]:
        """Return (n, d) float32 embeddings of the target's rows after the source."""
        if self.source is None:
            return self.target.base
        if kind is EmbeddingKind.MAPPED:
            return self.source.map.apply(self.target.base, self.target.lifted)
        return self.source.tuned[self.target.rows]


class Scorer(Protocol):
    """Estimates how well a target can be learned after a source; higher is better."""

    @property
    def name(self) -> str:
        """Name under which rankings report the score."""

    @property
    def unit(self) -> str:
        """Unit of the score, in words."""

    @property
    def needs(self) -> frozenset[Need]:
        """What a source must have."""

    @property
    def reads(self) -> EmbeddingKind | None:
        """Which embeddings stand for a source; None where it looks at none."""

    @property
    def weighs_classes(self) -> bool:
        """Whether the score can weigh all classes the same."""

    @property
    def has_base(self) -> bool:
        """Whether the base model untouched has a score too, so that there is a gain over it."""

    def score(self, evidence: Evidence) -> float:
        """Return the score of one source for one target attribute."""


@runtime_checkable
class PoolScorer(Protocol):
    """A scorer that is faster for all sources at once than for one after the other."""

    def score_pool(self, target: TargetAttribute, sources: Sequence[Source]) -> Mapping[str, float]:
        """Return the score of every source by id; the same as ``score`` gives for each.

        A source that cannot be scored is left out, or has a score that is not finite.
        """


@runtime_checkable
class Estimator(Protocol):
    """A pool scorer that can also estimate its scores, at a fraction of their cost."""

    def estimate_pool(
        self, target: TargetAttribute, maps: Iterable[EmbeddingSpaceMap]
    ) -> npt.NDArray[np.float64]:
        """Return estimates of the scores of sources with these maps, in this order.

        Errors are small against the scores' spread, so that the best by their estimates hold the
        best by their scores.
        """


@runtime_checkable
class Explainer(Protocol):
    """A scorer that weighs several features, and can name them."""

    def features(self, evidence: Evidence) -> Mapping[str, float]:
        """Return the features of a source, by name, as its forecast reads them."""
