"""One ranking over all attributes, for those who can afford one intermediate model."""

from __future__ import annotations

import math
from collections.abc import Mapping

from esm.ranking.result import AggregatedSource, AttributeRanking, RankedSource


def aggregate_rankings(attributes: Mapping[str, AttributeRanking]) -> tuple[AggregatedSource, ...]:
    """Order the sources by their mean rank over the attributes.

    Ranks are averaged, not scores: the scores of two attributes have different scales, so one
    attribute with a wide spread would decide alone. Equal mean ranks are ordered by the mean
    predicted gain, then by id. A source that is not ranked for an attribute gets the last place
    there, which is the number of all sources, and is marked: it may be good for the others, but
    it cannot serve that one.

    Args:
        attributes: The rankings, by attribute.

    Returns:
        Every source that is ranked for at least one attribute, best first.
    """
    ranked = {
        name: {line.source: line for line in found.ranking} for name, found in attributes.items()
    }
    sources = sorted({source for lines in ranked.values() for source in lines})
    unplaced = [_over_all(source, ranked, last=len(sources)) for source in sources]
    unplaced.sort(key=lambda line: (line.mean_rank, -(line.mean_gain or 0.0)))  # then by id
    return tuple(
        line.model_copy(update={"rank": rank}) for rank, line in enumerate(unplaced, start=1)
    )


def _over_all(
    source: str, ranked: Mapping[str, Mapping[str, RankedSource]], last: int
) -> AggregatedSource:
    """Sum up one source; its place is not known yet."""
    lines = [found[source] for found in ranked.values() if source in found]
    missing = tuple(name for name, found in ranked.items() if source not in found)
    kinds = {line.scored_by for line in lines}  # gains by maps and by deltas have no mean
    gains = [line.gain for line in lines if line.gain is not None and len(kinds) == 1]
    ranks = [line.rank for line in lines] + [last] * len(missing)
    return AggregatedSource(
        rank=last,
        source=source,
        mean_rank=math.fsum(ranks) / len(ranks),
        best_rank=min(ranks),
        worst_rank=max(ranks),
        mean_gain=math.fsum(gains) / len(gains) if gains else None,
        missing=missing,
    )
