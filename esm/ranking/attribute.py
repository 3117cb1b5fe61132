"""One attribute: its sources scored by maps, again by deltas, and put in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from esm.common.arrays import Float64
from esm.common.errors import (
    EsmError,
    RankingError,
)
from esm.pool.pool import Skipped
from esm.ranking.diverse import diverse_set
from esm.ranking.forecast import forecast_for, with_forecast
from esm.ranking.intervals import with_intervals
from esm.ranking.leaks.overlap import Overlaps
from esm.ranking.refine import Outcome, Refinement
from esm.ranking.result import (
    AttributeRanking,
    RankConfig,
    RankedSource,
)
from esm.ranking.sources import Picked
from esm.scorers.base import Evidence, Scorer, Scores, Source, TargetAttribute
from esm.tasks.licences import terms
from esm.tasks.task import Metric


def _finite_scores(
    sources: Sequence[Source], scores: Mapping[str, Scores], *, strict: bool
) -> tuple[list[tuple[Source, Float64]], list[Skipped]]:
    """Return the sources with their scores, one per fold, and those that could not be scored.

    Raises:
        EsmError: One could not be scored, and it is to be strict.
    """
    scored: list[tuple[Source, Float64]] = []
    skipped: list[Skipped] = []
    for source in sources:
        found = scores[source.id]
        if isinstance(found, EsmError):
            if strict:
                raise found
            skipped.append(Skipped(source.id, str(found)))
        elif np.isfinite(found).all():
            scored.append((source, found))
        else:
            skipped.append(Skipped(source.id, f"its score is {found.mean()}"))
    return scored, skipped


def rank_attribute(
    name: str,
    metric: Metric,
    folds: Sequence[TargetAttribute],
    offered: Picked,
    overlaps: Overlaps,
    scorer: Scorer,
    config: RankConfig,
    refinement: Refinement | None,
) -> AttributeRanking:
    """Return the ranking of one attribute.

    Args:
        name: The attribute.
        metric: What it is judged by.
        folds: The target side in every fold.
        offered: Sources that may be used, and those left out with the reason.
        overlaps: How much of the target each source holds.
        scorer: How sources are scored.
        config: Settings.
        refinement: What scores sources again on deltas; None for maps alone.

    Raises:
        RankingError: No source could be scored.
    """
    scores = scorer.score_all(folds, offered.sources)
    scored, failed = _finite_scores(offered.sources, scores, strict=config.strict)
    left_out = [*offered.skipped, *failed]
    if not scored:
        raise no_source(folds[0].task.id, left_out, scorer)
    scored.sort(key=lambda pair: (-pair[1].mean(), pair[0].id))
    base_score = None
    if scorer.has_base:
        base_score = float(np.mean([scorer.score(Evidence(fold)) for fold in folds]))
    refined = refinement.refine(name, folds, scored) if refinement is not None else None
    first = {} if refined is None else {source.id: source for source, _ in refined.scored}
    rest = [pair for pair in scored if pair[0].id not in first]
    by_map = with_intervals(
        [
            _line(rank, source, name, float(scores.mean()), base_score, overlaps)
            for rank, (source, scores) in enumerate(rest, start=len(first) + 1)
        ],
        [source for source, _ in rest],
        folds,
        scorer,
        config,
    )
    ranked = AttributeRanking(
        metric=metric,
        examples=round(np.mean([len(fold) for fold in folds])),
        balanced=folds[0].weights is not None,
        base_score=base_score,
        ranking=by_map,
        skipped=tuple(left_out),
    )
    if refined is None:
        base_model = scored[0][0].entry.manifest.base.model
        forecast = forecast_for(scorer, metric, base_model)
        ranked = with_forecast(ranked, folds, [one for one, _ in scored], scorer, forecast)
        best, of, kind = scored, folds, scorer.reads
    else:
        known = {source.id: float(scores.mean()) for source, scores in scored}
        ranked = ranked.model_copy(
            update={
                "ranking": (
                    *_refined_lines(refined, known, name, overlaps, config),
                    *(line.model_copy(update={"scored_by": "map"}) for line in by_map),
                ),
                "refined": refined.record,
            }
        )
        best, of, kind = list(refined.scored), refined.folds, refined.scorer.reads
    found = None
    if config.diverse and kind is not None:
        ordered = np.array([scores.mean() for _, scores in best])
        found = diverse_set([source for source, _ in best], ordered, of, kind, config.diverse)
    orders = zip(_orders(best), _orders(rest if refined else []) or ((),) * len(of), strict=True)
    return ranked.model_copy(
        update={
            "diverse": found,
            "by_fold": tuple((*a, *b) for a, b in orders) if len(folds) > 1 else (),
        }
    )


def _refined_lines(
    refined: Outcome,
    by_map: Mapping[str, float],
    name: str,
    overlaps: Overlaps,
    config: RankConfig,
) -> tuple[RankedSource, ...]:
    """Return the lines of the sources that were scored on deltas; they have no forecast yet."""
    sources = [source for source, _ in refined.scored]
    lines = [
        _line(
            rank, source, name, float(scores.mean()), refined.record.base_score, overlaps
        ).model_copy(
            update={
                "scored_by": "delta" if source.entry.model_folder is None else "tuned encoder",
                "map_score": by_map[source.id],
                "r2": source.entry.tuned_r2,
            }
        )
        for rank, (source, scores) in enumerate(refined.scored, start=1)
    ]
    return with_intervals(lines, sources, refined.folds, refined.scorer, config)


def _line(
    rank: int,
    source: Source,
    name: str,
    score: float,
    base_score: float | None,
    overlaps: Overlaps,
) -> RankedSource:
    record = source.entry.record
    fit = record.maps.get(source.form)
    return RankedSource(
        rank=rank,
        source=source.id,
        score=score,
        gain=None if base_score is None else score - base_score,
        r2=None if fit is None else fit.r2_anchors,
        size=record.num_used,
        sibling=overlaps.siblings.includes(source.entry),
        licence=record.metadata.license,
        terms=terms(record.metadata.license),
        overlap=overlaps.of(source.entry, name),
    )


def _orders(scored: Sequence[tuple[Source, Float64]]) -> tuple[tuple[str, ...], ...]:
    """Return the source ids of each fold, best first; equal scores are ordered by id."""
    folds = range(len(scored[0][1])) if scored else ()
    return tuple(
        tuple(source.id for source, _ in sorted(scored, key=lambda one: (-one[1][fold], one[0].id)))
        for fold in folds
    )


def no_source(target: str, skipped: Sequence[Skipped], scorer: Scorer) -> RankingError:
    """Return what to say where no source of a pool can be scored, with the first reasons."""
    reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in skipped[:3])
    needs = " and ".join(f"its {need}" for need in sorted(scorer.needs))
    return RankingError(
        f"no source could be scored for {target} ({reasons or 'the pool is empty'})",
        expected=f"at least one source, with {needs}" if needs else "at least one source",
        hint="esm train TASKS --pool DIR",
    )
