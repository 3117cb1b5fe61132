"""LogME of all maps of a pool at once: the same scores from one decomposition of the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from esm.common.arrays import Float64
from esm.common.errors import MapError, PoolError, StorageError
from esm.maps.forms import EmbeddingSpaceMap
from esm.scorers.base import Scores, Source, TargetAttribute
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

    can_estimate = True

    def score_all(
        self, folds: Sequence[TargetAttribute], sources: Iterable[Source]
    ) -> dict[str, Scores]:
        """Return the scores of every source by id, all from one decomposition per fold."""
        sources = list(sources)
        failed: dict[str, Scores] = {}

        def maps(names: list[str]) -> Iterator[EmbeddingSpaceMap]:
            for source in sources:
                try:
                    loaded = source.passing().map
                except (MapError, PoolError, StorageError) as error:
                    failed[source.id] = error
                    continue
                names.append(source.id)
                yield loaded

        rows: list[dict[str, float]] = []
        for fold in folds:
            engine = fold.once("likelihood", partial(self._engine, fold))
            names: list[str] = []
            scores = engine.evidences(maps(names)).mean(axis=1).round(_DIGITS)
            rows.append(dict(zip(names, scores.tolist(), strict=True)))
        return {
            source.id: failed.get(source.id, np.array([row.get(source.id, np.nan) for row in rows]))
            for source in sources
        }

    def estimate_all(self, target: TargetAttribute, maps: Iterable[EmbeddingSpaceMap]) -> Float64:
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
