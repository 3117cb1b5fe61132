"""What a scorer receives, what it says of itself, and what it returns.

A scorer sees one *target* (an attribute of the user's data in one fold) and one *source* (an entry
of the pool). Either side is read lazily: a scorer that asks for moments costs no embedding of a
tuned encoder, and one that counts rows reads no map. What a scorer needs it declares, so that
sources which lack it can be left out, by name, before anything is computed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import EncoderError, EsmError, MapError, PoolError, StorageError
from esm.maps.forms import EmbeddingSpaceMap
from esm.scorers.moments import FeatureMoments, Moments
from esm.scorers.needs import COSINE, METRIC, NATS, EmbeddingKind, Need
from esm.scorers.source import Head, Source
from esm.scorers.target import TargetAttribute, TextEmbeddings

__all__ = [
    "COSINE",
    "METRIC",
    "NATS",
    "EmbeddingKind",
    "Evidence",
    "Head",
    "Need",
    "Scorer",
    "Scores",
    "Source",
    "TargetAttribute",
    "TextEmbeddings",
]

Scores = npt.NDArray[np.float64] | EsmError
"""(f,) scores of a source, one per fold, or why it cannot be scored."""


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


class Scorer(ABC):
    """Estimates how well a target can be learned after a source; higher is better.

    What a scorer can do beyond scoring one source it declares here; the defaults are those of a
    scorer that looks at no embeddings of the target.

    Attributes:
        name: Name under which rankings report the score.
        unit: Unit of the score, in words.
        reads: Which embeddings stand for a source; None where it looks at none.
        weighs_classes: Whether the score can weigh all classes the same.
        has_base: Whether the base model untouched has a score too, so that there is a gain over it.
        can_estimate: Whether :meth:`estimate_all` is there, for shortlists.
        is_sum_over_rows: Whether :meth:`contributions` is there, for the bootstrap.
    """

    name: str
    unit: str
    reads: EmbeddingKind | None = None
    weighs_classes: bool = False
    has_base: bool = False
    can_estimate: bool = False
    is_sum_over_rows: bool = False

    @property
    def needs(self) -> frozenset[Need]:
        """What a source must have: unless said otherwise, the embeddings that are read."""
        return frozenset() if self.reads is None else frozenset({self.reads.need})

    @abstractmethod
    def score(self, evidence: Evidence) -> float:
        """Return the score of one source for one target attribute."""

    def score_all(
        self, folds: Sequence[TargetAttribute], sources: Iterable[Source]
    ) -> dict[str, Scores]:
        """Return the scores of every source in every fold by id, or why there are none.

        One source after the other; a scorer that is faster for all at once overrides it, and must
        give what :meth:`score` gives for each.
        """
        found: dict[str, Scores] = {}
        for source in sources:
            at_hand = source.passing()  # of a large map no more than one is in memory
            try:
                found[source.id] = np.array([self.score(Evidence(one, at_hand)) for one in folds])
            except (EncoderError, MapError, PoolError, StorageError) as error:
                found[source.id] = error
        return found

    def estimate_all(
        self, target: TargetAttribute, maps: Iterable[EmbeddingSpaceMap]
    ) -> npt.NDArray[np.float64]:
        """Return estimates of the scores of sources with these maps, at a fraction of their cost.

        Errors are small against the scores' spread, so that the best by their estimates hold the
        best by their scores.
        """
        raise NotImplementedError(f"{self.name} estimates no scores")

    def contributions(self, evidence: Evidence) -> npt.NDArray[np.float64]:
        """Return (n,) shares of the target's rows in a score."""
        raise NotImplementedError(f"{self.name} is no sum over rows")

    def features(self, evidence: Evidence) -> Mapping[str, float] | None:
        """Return what a forecast reads of a source, by name; None where it reads the gain alone."""
        del evidence
        return None
