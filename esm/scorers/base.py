"""What a scorer receives and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from esm.maps.forms import EmbeddingSpaceMap
from esm.moments import FeatureMoments, Moments


@dataclass(frozen=True)
class Evidence:
    """All that is known about one source and one target attribute.

    Attributes:
        moments: Moments of the target's base embeddings and labels.
        source_map: Map of the source task; None for the base model untouched.
    """

    moments: Moments
    source_map: EmbeddingSpaceMap | None = None

    def features(self) -> FeatureMoments:
        """Return the moments of the embeddings that the tuned source model would give."""
        if self.source_map is None:
            return self.moments.identity()
        return self.moments.mapped(self.source_map)


class Scorer(Protocol):
    """Estimates how well a target can be learned after a source; higher is better."""

    @property
    def name(self) -> str:
        """Name under which rankings report the score."""

    def score(self, evidence: Evidence) -> float:
        """Return the score of one source for one target attribute."""
