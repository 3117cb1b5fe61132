"""Why a source stands where it does: what spoke for and against it, beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from esm.common.errors import RankingError
from esm.report.numbers import MISSING, number
from esm.report.ranking import expected_gain
from esm.report.table import Table
from esm.scorers.features import FEATURES

if TYPE_CHECKING:
    from esm.ranking.result import AttributeRanking, RankedSource, Ranking


def why_tables(ranking: Ranking, source: str) -> list[Table]:
    """Return, per attribute, what spoke for and against a source.

    Args:
        ranking: The ranking.
        source: Id of a ranked source.

    Raises:
        RankingError: It is ranked for no attribute.
    """
    tables = []
    for name, ranked in ranking.attributes.items():
        for line in ranked.ranking:
            if line.source == source:
                tables.append(_why(ranking, name, ranked, line))
    if not tables:
        reasons = [
            skip.reason
            for ranked in ranking.attributes.values()
            for skip in ranked.skipped
            if skip.source == source
        ]
        raise RankingError(
            f"source {source!r} is not ranked" + (f": {reasons[0]}" if reasons else ""),
            expected="the id of a ranked source",
            hint="esm rank --top 0",
        )
    return tables


def _why(ranking: Ranking, name: str, ranked: AttributeRanking, line: RankedSource) -> Table:
    """Say how one source compares with the others, point by point."""
    others = [
        one
        for one in ranked.ranking
        if one.source != line.source and one.scored_by == line.scored_by
    ]
    rows = [
        (
            f"{_words(feature)}: points it adds",
            number(points, 2, sign=True),
            _mean([one.adds[feature] for one in others]),
        )
        for feature, points in sorted(line.adds.items(), key=lambda item: -abs(item[1]))
    ]
    facts = [
        (f"score, {ranking.unit}", number(line.score, 4), _mean([one.score for one in others], 4))
    ]
    if line.gain is not None:
        gains = [one.gain for one in others if one.gain is not None]
        facts.append(
            ("predicted gain, the same unit", number(line.gain, 4, sign=True), _mean(gains, 4))
        )
    if line.map_score is not None:
        known = [one.map_score for one in others if one.map_score is not None]
        facts.append(("score by its map", number(line.map_score, 4), _mean(known, 4)))
    if line.r2 is not None:
        known = [one.r2 for one in others if one.r2 is not None]
        facts.append(
            (
                "R² of what it was scored by" if line.scored_by else "R² of its map",
                number(line.r2, 2),
                _mean(known, 2, sign=False),
            )
        )
    if line.size is not None:
        sizes = [float(one.size) for one in others if one.size is not None]
        facts.append(("training rows", str(line.size), _mean(sizes, 0, sign=False)))
    notes = [f"rank {line.rank} of {len(ranked.ranking)}"]
    if line.expected is not None:
        notes.append(
            f"expected over no transfer: {expected_gain(line)} points of {ranked.metric}; features"
            " add to, or take from, what is expected of an average source"
        )
    return Table(
        title=f"{ranking.target}/{name}: why {line.source}?",
        columns=("what", "this source", "mean of the others"),
        rows=[*rows, *facts],
        notes=notes,
        left=frozenset({"what"}),
    )


def _words(feature: str) -> str:
    """Return what a feature says, for people."""
    return FEATURES[feature].words if feature in FEATURES else feature


def _mean(values: Sequence[float], digits: int = 2, *, sign: bool = True) -> str:
    return number(sum(values) / len(values), digits, sign=sign) if values else MISSING
