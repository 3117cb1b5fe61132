"""Through a shortlist, only the most promising sources of a packed pool are looked at.

The search goes by the maps alone. Only of the sources that it chose the records are read, and
whether they may be used is looked at then: of a million sources, a few thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from esm.errors import EsmError, MapError, PoolError, SettingError, StorageError
from esm.maps import EmbeddingSpaceMap, MapForm
from esm.pool import Pool, PoolEntry, Skipped
from esm.scorers.base import Estimator, PoolScorer, Scorer, Source, TargetAttribute
from esm.shortlist import ShortlistIndex, find_shortlist
from esm.sources import Picked, usable_sources

Numbers = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Narrowing:
    """Picks the sources of an attribute that are worth an exact score.

    Args:
        pool: A packed pool with an index.
        form: Maps that are ranked.
        limit: Most sources to score.
        scorer: How.
        source: Makes a source of an entry.
        allowed: The entries to choose from; None for all, whose records are then not read.
        strict: Raise for a damaged entry instead of leaving it out.

    Raises:
        PoolError: The pool is not packed, or has no index of this form.
        SettingError: The scorer does not score whole pools of maps.
    """

    def __init__(
        self,
        pool: Pool,
        form: MapForm,
        limit: int,
        scorer: Scorer,
        source: Callable[[PoolEntry], Source],
        *,
        allowed: Sequence[PoolEntry] | None = None,
        strict: bool = False,
    ) -> None:
        if not isinstance(scorer, PoolScorer):
            raise SettingError(f"--shortlist with scorer {scorer.name}", expected="--scorer logme")
        if pool.bundle is None:
            raise PoolError(
                f"{pool.folder} is not packed",
                expected="a packed pool with an index, for --shortlist",
                hint="esm pool pack --index",
            )
        self._pool, self._bundle = pool, pool.bundle
        self._index = ShortlistIndex.load(pool.bundle, form)
        self._limit, self._scorer, self._source = limit, scorer, source
        self._strict = strict
        self._allowed = None if allowed is None else self._numbers_of(allowed, form)
        self._read: dict[int, Source | Skipped] = {}

    @property
    def entries(self) -> list[PoolEntry]:
        """All entries whose records were read so far."""
        return [one.entry for one in self._read.values() if isinstance(one, Source)]

    def pick(self, folds: Sequence[TargetAttribute]) -> Picked:
        """Return the sources that were chosen and, per fold, their scores by id.

        They are chosen by the mean over the folds, of estimates first where the scorer can
        estimate. A source that the index does not hold is not among them.
        """
        scorer = self._scorer
        found: list[dict[str, float]] = [{} for _ in folds]

        def score(numbers: Numbers) -> Float64:
            at_hand = [self._read_source(number) for number in numbers.tolist()]
            wanted = [one for one in at_hand if isinstance(one, Source)]
            for fold, known in zip(folds, found, strict=True):
                known.update(scorer.score_pool(fold, wanted))
            rows = [
                [
                    known.get(one.id, np.nan) if isinstance(one, Source) else np.nan
                    for one in at_hand
                ]
                for known in found
            ]
            return _mean(rows)

        def estimate(numbers: Numbers) -> Float64:
            assert isinstance(scorer, Estimator)
            rows = []
            for fold in folds:
                row, read = np.full(len(numbers), np.nan), list[int]()
                estimates = scorer.estimate_pool(fold, self._maps(numbers, read))
                row[read] = estimates
                rows.append(row)
            return _mean(rows)

        chosen = find_shortlist(
            self._index,
            score,
            self._limit,
            self._allowed,
            estimate if isinstance(scorer, Estimator) else None,
        )
        at_hand = [self._read_source(number) for number in chosen.numbers.tolist()]
        usable, skipped = usable_sources(
            [one for one in at_hand if isinstance(one, Source)], scorer, strict=self._strict
        )
        damaged = [one for one in at_hand if isinstance(one, Skipped)]
        return Picked(usable, [*damaged, *skipped], found, self._total - len(at_hand))

    @property
    def _total(self) -> int:
        return len(self._bundle) if self._allowed is None else len(self._allowed)

    def _read_source(self, number: int) -> Source | Skipped:
        """Return a source by its number in the index, or why it cannot be read."""
        if number not in self._read:
            shard, row = self._index.places[number].tolist()
            name = f"map {row + 1} of file {shard + 1}"
            try:
                place = int(self._bundle.shard(shard).entries[row])
                name = f"source {place + 1}"
                self._read[number] = self._source(self._pool.packed_entry(place))
            except EsmError as error:
                if self._strict:
                    raise
                self._read[number] = Skipped(name, str(error))
        return self._read[number]

    def _maps(self, numbers: Numbers, read: list[int]) -> Iterator[EmbeddingSpaceMap]:
        """Yield the maps that can be read, and note which of them it is."""
        for position, (shard, row) in enumerate(self._index.places[numbers].tolist()):
            try:
                one = self._bundle.shard(shard).map(row)
            except (MapError, StorageError):
                continue
            read.append(position)
            yield one

    def _numbers_of(self, entries: Sequence[PoolEntry], form: MapForm) -> Numbers:
        """Return the numbers in the index of the entries that it holds."""
        places = [
            entry.packed.line.maps[form]
            for entry in entries
            if entry.packed is not None and form in entry.packed.line.maps
        ]
        found = [self._index.numbers.get((place.shard, place.row)) for place in places]
        return np.array(sorted(one for one in found if one is not None), dtype=np.int64)


def _mean(rows: Sequence[Sequence[float] | Float64]) -> Float64:
    means: Float64 = np.array(rows, dtype=np.float64).mean(axis=0)
    return means
