"""LogME of all maps of a pool at once: the same scores from one decomposition of the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esm.common.arrays import Float64
from esm.common.errors import MapError, PoolError, StorageError
from esm.maps.forms import EmbeddingSpaceMap
from esm.scorers.base import Source, TargetAttribute
from esm.scorers.logme import LogME, evidences_of_moments

if TYPE_CHECKING:
    from esm.scorers.likelihood.engine import Engine

# Scores are computed in blocks, whose size reaches their last digits. Rounded, they do not depend
# on which other sources there are.
_DIGITS = 10


@dataclass(frozen=True)
class PoolLogME(LogME):
    """LogME on mapped embeddings that scores a whole pool at once.

    Anchored maps cost some small systems of twice their rank, dense ones a tridiagonal form.

    Attributes:
        device: Where to compute; None for CUDA where there is a CUDA device, else the CPU.
    """

    device: str | None = None

    def score_pool(self, target: TargetAttribute, sources: Sequence[Source]) -> Mapping[str, float]:
        """Return the score of every source by id; one whose map cannot be read is left out."""
        engine = target.once("likelihood", partial(self._engine, target))
        names: list[str] = []

        def maps() -> Iterator[EmbeddingSpaceMap]:
            for source in sources:
                try:
                    loaded = source.passing().map
                except (MapError, PoolError, StorageError):
                    continue
                names.append(source.id)
                yield loaded

        scores = engine.evidences(maps()).mean(axis=1).round(_DIGITS)
        return dict(zip(names, scores.tolist(), strict=True))

    def estimate_pool(self, target: TargetAttribute, maps: Iterable[EmbeddingSpaceMap]) -> Float64:
        """Return estimates of the scores of sources with these maps; low rank in float32."""
        from esm.scorers.likelihood.quick import QuickEngine

        engine = target.once("likelihood", partial(self._engine, target))
        quick = target.once("estimates", partial(QuickEngine, engine))
        estimates: Float64 = quick.evidences(maps).mean(axis=1)
        return estimates

    def _engine(self, target: TargetAttribute) -> Engine:
        import torch

        from esm.scorers.likelihood.engine import Engine

        name = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return Engine(target.moments, evidences_of_moments, device=torch.device(name))
