"""Through a shortlist, only the most promising sources of a packed pool are looked at.

The search goes by the maps alone. The records of the best are read then, until enough of them are
whole and may be used: of a million sources, a few thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import EsmError, MapError, PoolError, SettingError
from esm.common.runtime import progress
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.pool.bundle.index import ShortlistIndex
from esm.pool.pool import Pool, PoolEntry, Skipped
from esm.ranking.shortlist.search import ESTIMATED, find_shortlist
from esm.ranking.sources import Picked, Refuse
from esm.scorers.base import Scorer, Scores, Source, TargetAttribute

Numbers = npt.NDArray[np.int64]


class Narrowing:
    """Picks the sources of an attribute that are worth an exact score.

    Args:
        pool: A packed pool with an index.
        form: Maps that are ranked.
        limit: Most sources to score.
        scorer: How.
        source: Makes a source of an entry.
        allowed: The entries to choose from; None for all, whose records are then not read.
        strict: Raise for a damaged source instead of leaving it out. Of sources that the search
            does not come to it is not known whether they are damaged.

    Raises:
        PoolError: The pool is not packed, or has no index of this form.
        SettingError: The scorer cannot estimate the scores of many maps.
        EsmError: Something is damaged, and it is to be strict.
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
        if not scorer.can_estimate:
            raise SettingError(f"--shortlist with scorer {scorer.name}", expected="--scorer logme")
        if pool.bundle is None:
            raise PoolError(
                f"{pool.folder} is not packed",
                expected="a packed pool with an index, for --shortlist",
                hint="esm pool pack --index",
            )
        self._pool, self._bundle, self._form = pool, pool.bundle, form
        self._limit, self._scorer, self._make, self._strict = limit, scorer, source, strict
        self._index = ShortlistIndex.load(pool.bundle, form)
        self._read: dict[int, Source | Skipped] = {}
        self._skipped: list[Skipped] = []
        self.remarks: list[str] = []
        if allowed is None:
            self._allowed = np.arange(len(self._index))
            if unknown := len(pool.bundle) - len(self._index):
                self._remark(
                    f"{unknown} sources have no {form} map in the index, so that no shortlist"
                    " holds them"
                )
        else:
            self._allowed = self._numbers_of(allowed)
        self._leave_out_lost_files()

    @property
    def entries(self) -> list[PoolEntry]:
        """All entries whose records were read so far."""
        return [one.entry for one in self._read.values() if isinstance(one, Source)]

    def pick(self, folds: Sequence[TargetAttribute], refuse: Refuse) -> Picked:
        """Return the sources that were chosen, and their scores by id.

        They are chosen by the mean over the folds, of estimates first. The next best takes
        the place of one that must not be used.
        """
        scorer = self._scorer
        found: dict[str, Scores] = {}
        reasons: dict[int, Skipped] = {}

        def usable(number: int) -> bool:
            one = self._source(number)
            if isinstance(one, Source):
                if (reason := refuse(one.entry)) is None:
                    return True
                one = Skipped(one.id, reason)
            reasons[number] = one
            return False

        def score(numbers: Numbers) -> Float64:
            at_hand = [self._source(number) for number in numbers.tolist()]
            whole = [one for one in at_hand if isinstance(one, Source)]
            found.update(scorer.score_all(folds, whole))
            scores = [found.get(one.id) if isinstance(one, Source) else None for one in at_hand]
            return np.array(
                [one.mean() if isinstance(one, np.ndarray) else np.nan for one in scores]
            )

        def estimate(numbers: Numbers) -> Float64:
            rows = np.full((len(folds), len(numbers)), np.nan)
            for row, fold in zip(rows, folds, strict=True):
                read: list[int] = []
                estimates = scorer.estimate_all(fold, self._maps(numbers, read))
                row[read] = estimates
            advance(len(numbers))
            means: Float64 = rows.mean(axis=0)
            for number in numbers[~np.isfinite(means)].tolist():
                one = self._source(number)
                if isinstance(one, Source):
                    one = Skipped(one.id, "its estimate is not finite")
                reasons[number] = one
            return means

        steps = min(ESTIMATED * self._limit, len(self._allowed))
        with progress("searching the pool", steps) as advance:
            chosen = find_shortlist(
                self._index,
                score,
                self._limit,
                self._allowed,
                estimate,
                usable,
            )
        picked = [self._source(number) for number in chosen.numbers.tolist()]
        return Picked(
            [one for one in picked if isinstance(one, Source)],
            [*self._skipped, *(reasons[number] for number in sorted(reasons))],
            found,
            len(self._allowed) - len(chosen.numbers) - len(reasons),
        )

    def _source(self, number: int) -> Source | Skipped:
        """Return a source by its number in the index, or why it cannot be used at all."""
        if number not in self._read:
            shard, row = self._index.places[number].tolist()
            name = f"map {row + 1} of {self._bundle.manifest.maps[shard].file}"
            try:
                source = self._make(self._entry(shard, row))
                name = source.id
                source.require(self._scorer.needs)
                self._read[number] = source
            except EsmError as error:
                if self._strict:
                    raise
                self._read[number] = Skipped(name, str(error))
        return self._read[number]

    def _entry(self, shard: int, row: int) -> PoolEntry:
        """Read the record of the source whose map lies at a place.

        Raises:
            PoolError: It is damaged, or another source's.
        """
        entry = self._pool.packed_entry(int(self._bundle.shard(shard).entries[row]))
        place = None if entry.packed is None else entry.packed.line.maps.get(self._form)
        if place is None or (place.shard, place.row) != (shard, row):
            raise PoolError(
                f"{self._bundle.manifest.maps[shard].file} of {self._bundle.folder} takes its map"
                f" {row + 1} for one of {entry.id}, whose map lies elsewhere",
                hint="pack the pool again",
            )
        return entry

    def _maps(self, numbers: Numbers, read: list[int]) -> Iterator[EmbeddingSpaceMap]:
        """Yield the maps that can be read, and note which of them it is."""
        for position, (shard, row) in enumerate(self._index.places[numbers].tolist()):
            try:
                one = self._bundle.shard(shard).map(row)
            except MapError:  # its source says what is wrong, when it is asked for
                continue
            read.append(position)
            yield one

    def _numbers_of(self, entries: Sequence[PoolEntry]) -> Numbers:
        """Return the numbers in the index of some entries; the others are skipped."""
        found: list[int] = []
        for entry in entries:
            place = None if entry.packed is None else entry.packed.line.maps.get(self._form)
            number = None
            if place is not None:
                number = self._index.numbers.get((place.shard, place.row))
            if number is None:
                self._skip(Skipped(entry.id, f"has no {self._form} map in the index"))
            else:
                found.append(number)
        return np.array(sorted(found), dtype=np.int64)

    def _leave_out_lost_files(self) -> None:
        for number in np.unique(self._index.places[self._allowed, 0]).tolist():
            try:
                _ = self._bundle.shard(number).entries
            except EsmError as error:
                lost = self._index.places[self._allowed, 0] == number
                self._allowed = self._allowed[~lost]
                file = self._bundle.manifest.maps[number].file
                self._skip(Skipped(f"{lost.sum()} sources in {file}", str(error)))

    def _skip(self, skipped: Skipped) -> None:
        if self._strict:
            raise PoolError(f"{skipped.source}: {skipped.reason}")
        self._skipped.append(skipped)

    def _remark(self, sentence: str) -> None:
        if self._strict:
            raise PoolError(sentence, hint="esm pool index, or leave out --strict")
        self.remarks.append(sentence)
