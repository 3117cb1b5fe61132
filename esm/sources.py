"""Which of a pool's entries a ranking scores, and why the others are left out."""

from __future__ import annotations

from collections.abc import Sequence

from esm.errors import EsmError
from esm.maps import MapForm
from esm.overlap import Overlaps
from esm.pool import PoolEntry, Skipped
from esm.runtime import progress
from esm.scorers.base import Scorer, Source, TargetAttribute


def form_to_rank(entries: Sequence[PoolEntry]) -> MapForm:
    """Return the form to score: the anchored one, unless the pool has published maps only."""
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


def offered_sources(
    name: str, folds: Sequence[TargetAttribute], sources: Sequence[Source], overlaps: Overlaps
) -> tuple[list[Source], list[Skipped]]:
    """Return the sources that may be ranked for an attribute, and the others with the reason."""
    own = {fold.task.content_hash() for fold in folds}
    reasons = {
        source.id: "is the target itself"
        if source.entry.record.task_hash in own
        else overlaps.refusal(source.entry, name)
        for source in sources
    }
    return (
        [source for source in sources if reasons[source.id] is None],
        [Skipped(source, reason) for source, reason in reasons.items() if reason],
    )
