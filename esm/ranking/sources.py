"""Which of a pool's entries a ranking scores, and why the others are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from esm.common.errors import EsmError
from esm.common.runtime import progress
from esm.maps.forms import MapForm
from esm.pool.pool import Pool, PoolEntry, Skipped
from esm.ranking.leaks.overlap import Overlaps
from esm.scorers.base import Scorer, Scores, Source, TargetAttribute

Refuse = Callable[[PoolEntry], str | None]
"""Says why a source must not be used for an attribute; None where it may be."""


@dataclass(frozen=True, eq=False)
class Picked:
    """The sources that are looked at for one attribute.

    Attributes:
        sources: The sources, whole; all may be used.
        skipped: Those that may not, are damaged, or lack what the scorer needs, with the reason.
        scores: Scores by id that are known already; empty where none are.
        not_scored: How many others there are.
    """

    sources: Sequence[Source]
    skipped: Sequence[Skipped] = ()
    scores: Mapping[str, Scores] = field(default_factory=dict)
    not_scored: int = 0


class Supply(Protocol):
    """Picks sources of a pool for an attribute."""

    @property
    def entries(self) -> Sequence[PoolEntry]:
        """All that was read of the pool so far."""

    @property
    def remarks(self) -> Sequence[str]:
        """What the user should know of sources that are not picked, a sentence each."""

    def pick(self, folds: Sequence[TargetAttribute], refuse: Refuse) -> Picked:
        """Return the sources to look at."""


class WholePool:
    """Picks every source that has what the scorer needs.

    Attributes:
        entries: All entries.
    """

    def __init__(self, entries: Sequence[PoolEntry], picked: Picked) -> None:
        self.entries = entries
        self.remarks: Sequence[str] = ()
        self._picked = picked

    def pick(self, folds: Sequence[TargetAttribute], refuse: Refuse) -> Picked:
        """Return all that may be used."""
        reasons = {source.id: refuse(source.entry) for source in self._picked.sources}
        return replace(
            self._picked,
            sources=[one for one in self._picked.sources if reasons[one.id] is None],
            skipped=[
                *self._picked.skipped,
                *(Skipped(source, reason) for source, reason in reasons.items() if reason),
            ],
        )


def form_to_rank(pool: Pool, entries: Sequence[PoolEntry]) -> MapForm:
    """Return the form to score: the anchored one, unless the pool has published maps only."""
    if pool.bundle is not None:
        forms = {shard.form for shard in pool.bundle.manifest.maps}
    else:
        forms = {form for entry in entries for form in entry.record.maps}
    return MapForm.PUBLISHED if forms == {MapForm.PUBLISHED} else MapForm.ANCHORED


def usable_sources(
    sources: Sequence[Source], scorer: Scorer, *, strict: bool
) -> tuple[list[Source], list[Skipped]]:
    """Return the sources that have what the scorer needs, whole, and the others with the reason."""
    usable: list[Source] = []
    skipped: list[Skipped] = []
    with progress("reading sources", total=len(sources)) as advance:
        for source in sources:
            try:
                source.require(scorer.needs)
                usable.append(source)
            except EsmError as error:
                if strict:
                    raise
                skipped.append(Skipped(source.id, str(error)))
            advance(1)
    return usable, skipped


def refusals(name: str, folds: Sequence[TargetAttribute], overlaps: Overlaps) -> Refuse:
    """Return what says which sources must not be ranked for an attribute."""
    own = {fold.task.content_hash() for fold in folds}

    def refuse(entry: PoolEntry) -> str | None:
        if entry.record.task_hash in own:
            return "is the target itself"
        return overlaps.refusal(entry, name)

    return refuse
