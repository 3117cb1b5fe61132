"""Through a shortlist, only the most promising sources of a packed pool are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from esm.errors import PoolError, SettingError
from esm.maps import MapForm
from esm.pool import Pool
from esm.scorers.base import PoolScorer, Scorer, Source, TargetAttribute
from esm.shortlist import ShortlistIndex, find_shortlist


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

        Sources are chosen by the mean over the folds. A source that the index does not hold is
        not among them.
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
        found: list[dict[str, float]] = [{} for _ in folds]

        def score(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            wanted = [indexed[number] for number in numbers.tolist()]
            for fold, known in zip(folds, found, strict=True):
                known.update(self._scorer.score_pool(fold, wanted))
            rows = [[known.get(one.id, np.nan) for one in wanted] for known in found]
            means: npt.NDArray[np.float64] = np.array(rows, dtype=np.float64).mean(axis=0)
            return means

        allowed = np.array(sorted(indexed), dtype=np.int64)
        chosen = find_shortlist(self._index, score, self._limit, allowed)
        return [indexed[number] for number in chosen.numbers.tolist()], list(found)
