"""Through a shortlist, only the most promising sources of a packed pool are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from esm.errors import PoolError, SettingError
from esm.maps import MapForm
from esm.pool import Pool
from esm.scorers.base import Estimator, PoolScorer, Scorer, Source, TargetAttribute
from esm.shortlist import ShortlistIndex, find_shortlist

Numbers = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Narrowing:
    """Chooses the sources of an attribute that are worth an exact score.

    Args:
        pool: A packed pool with an index.
        form: Maps that are ranked.
        limit: Most sources to score.
        scorer: How.

    Raises:
        PoolError: The pool is not packed, or has no index of this form.
        SettingError: The scorer does not score whole pools of maps.
    """

    def __init__(self, pool: Pool, form: MapForm, limit: int, scorer: Scorer) -> None:
        if not isinstance(scorer, PoolScorer):
            raise SettingError(f"--shortlist with scorer {scorer.name}", expected="--scorer logme")
        if pool.bundle is None:
            raise PoolError(
                f"{pool.folder} is not packed",
                expected="a packed pool with an index, for --shortlist",
                hint="esm pool pack --index",
            )
        self._index = ShortlistIndex.load(pool.bundle, form)
        self._form, self._limit, self._scorer = form, limit, scorer

    def scores(
        self, folds: Sequence[TargetAttribute], sources: Sequence[Source]
    ) -> tuple[list[Source], list[Mapping[str, float]]]:
        """Return the sources that were scored and, per fold, their scores by id.

        Sources are chosen by the mean over the folds, of estimates first where the scorer can
        estimate. A source that the index does not hold is not among them.
        """
        indexed: dict[int, Source] = {}
        for source in sources:
            packed = source.entry.packed
            if packed is None or self._form not in packed.line.maps:
                continue
            place = packed.line.maps[self._form]
            number = self._index.numbers.get((place.shard, place.row))
            if number is not None:
                indexed[number] = source
        scorer = self._scorer
        found: list[dict[str, float]] = [{} for _ in folds]

        def wanted(numbers: Numbers) -> list[Source]:
            return [indexed[number] for number in numbers.tolist()]

        def score(numbers: Numbers) -> Float64:
            for fold, known in zip(folds, found, strict=True):
                known.update(scorer.score_pool(fold, wanted(numbers)))
            return _means(found, wanted(numbers))

        def estimate(numbers: Numbers) -> Float64:
            assert isinstance(scorer, Estimator)
            offered = wanted(numbers)
            return _means([scorer.estimate_pool(fold, offered) for fold in folds], offered)

        chosen = find_shortlist(
            self._index,
            score,
            self._limit,
            np.array(sorted(indexed), dtype=np.int64),
            estimate if isinstance(scorer, Estimator) else None,
        )
        return wanted(chosen.numbers), list(found)


def _means(found: Sequence[Mapping[str, float]], sources: Sequence[Source]) -> Float64:
    """Return (m,) means over the folds; nan for a source that one of them lacks."""
    rows = [[known.get(source.id, np.nan) for source in sources] for known in found]
    means: Float64 = np.array(rows, dtype=np.float64).mean(axis=0)
    return means
