"""Rank a pool's source tasks for every attribute of a target, in seconds.

Only training rows are used; of test rows, only whether a source holds them too. The texts are
embedded once for all attributes and folds. What is read of a source depends on the scorer: for
the default one, its map; after one pass over the texts the target is then a set of moments, which
is decomposed once per attribute and fold, and all maps are scored together
(:mod:`esm.scorers.likelihood`), whatever the number of examples.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from esm.common.arrays import Float64
from esm.common.errors import (
    EsmError,
    FitError,
    RankingError,
    SettingError,
    TaskError,
)
from esm.common.runtime import progress
from esm.maps.forms import MapForm
from esm.pool.base_model import load_base
from esm.pool.pool import Pool, PoolEntry, Skipped
from esm.ranking.aggregate import aggregate_rankings
from esm.ranking.diverse import check_diverse, diverse_set
from esm.ranking.forecast import forecast_for, with_forecast
from esm.ranking.intervals import check_bootstrap, with_intervals
from esm.ranking.language_fit import allowed_sources, language_warnings
from esm.ranking.leaks.derived import DerivedSources
from esm.ranking.leaks.overlap import Overlaps, overlap_warnings
from esm.ranking.refine import Outcome, Refinement, check_refine
from esm.ranking.result import (
    AttributeRanking,
    Balance,
    RankConfig,
    RankedSource,
    Ranking,
    shortlist_warnings,
)
from esm.ranking.shortlist.narrow import Narrowing
from esm.ranking.sources import Picked, Supply, WholePool, form_to_rank, refusals, usable_sources
from esm.ranking.target import TargetTexts
from esm.scorers.base import Evidence, Need, Scorer, Scores, Source, TargetAttribute
from esm.scorers.names import ScorerName
from esm.scorers.registry import Results, make_scorer
from esm.tasks.faults.labels import data_notes
from esm.tasks.licences import terms
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Target, joint_hash

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache
    from esm.encoder.encoder import Encoder


def rank_sources(
    spec: TaskSpec,
    pool: Pool,
    config: RankConfig | None = None,
    *,
    cache: EmbeddingCache | None = None,
    device: str = "auto",
    base: str | None = None,
    results: Results | None = None,
) -> Ranking:
    """Rank every source of a pool for every attribute of a target.

    Args:
        spec: The target.
        pool: The pool.
        config: Settings; None for the defaults.
        cache: Cache of embeddings; None for the default one.
        device: Device to embed on.
        base: Base model the caller has in mind; None for the pool's. Another one is refused.
        results: Measured results on other targets, for the scorer ``static``.

    Raises:
        TaskError: The target cannot be used.
        PoolError: The pool is damaged or was built with another base model.
        RankingError: Not a single attribute could be ranked, no source has such a licence, or
            none has what the scorer needs.
        SettingError: The scorer does not go with the other settings.
    """
    started = time.monotonic()
    targets = load_targets(spec)
    config = config or RankConfig()
    offer = _choose(pool, config, results)
    encoder = load_base(pool, device, model=base, max_chunks=config.max_chunks)
    return _rank(spec, targets, encoder, pool, config, offer, cache, base, started)


def rank_targets(
    spec: TaskSpec,
    targets: Sequence[Target],
    encoder: Encoder,
    pool: Pool,
    config: RankConfig | None = None,
    *,
    cache: EmbeddingCache | None = None,
    results: Results | None = None,
) -> Ranking:
    """Rank sources as :func:`rank_sources` does, with a target and a base model that are open.

    Args:
        spec: Where the target lies.
        targets: The target, in all its folds.
        encoder: The pool's base model, see :func:`~esm.pool.base_model.load_base`.
        pool: The pool.
        config: Settings; None for the defaults. The encoder reads long texts as it was loaded to.
        cache: Cache of embeddings; None for the default one.
        results: Measured results on other targets, for the scorer ``static``.

    Raises:
        EsmError: As :func:`rank_sources`.
    """
    started = time.monotonic()
    config = config or RankConfig()
    offer = _choose(pool, config, results)
    named = encoder.config.model
    return _rank(spec, targets, encoder, pool, config, offer, cache, named, started)


@dataclass(frozen=True)
class _Offer:
    """What a pool has to be ranked, and how.

    Attributes:
        scorer: How sources are scored.
        form: The form of map that it reads.
        entries: Entries of the pool whose licence is allowed; none where not all are read.
        all_read: Whether all entries were read: of a pool of which only a shortlist is taken, no
            more than that is, if all are allowed.
        left_out: Sources that cannot be read or are not allowed, with the reason.
    """

    scorer: Scorer
    form: MapForm
    entries: Sequence[PoolEntry]
    all_read: bool
    left_out: Sequence[Skipped]


def _choose(pool: Pool, config: RankConfig, results: Results | None) -> _Offer:
    all_read = not config.shortlist or bool(config.licences)
    entries, skipped = pool.entries(strict=config.strict) if all_read else ([], [])
    form = config.form or form_to_rank(pool, entries)
    entries, refused = allowed_sources(entries, config.licences)
    if refused and not entries:
        raise RankingError(
            f"none of the {len(refused)} sources of {pool.folder} has a licence that meets"
            f" --licence {','.join(config.licences)}",
            expected="commercial, stated, or a part of a licence's name",
            hint=f"esm show {pool.folder}",
        )
    scorer = make_scorer(
        config.scorer,
        embeddings=config.embeddings,
        all_tuned=all_read and all(entry.has_tuned for entry in entries),
        results=results,
    )
    if config.balance is Balance.ON and not scorer.weighs_classes:
        raise SettingError(
            f"--balance on for scorer {scorer.name}", expected="a scorer that weighs classes"
        )
    check_refine(config)
    check_bootstrap(config, scorer)
    check_diverse(config.diverse, scorer.reads, scorer.name)
    return _Offer(scorer, form, entries, all_read, [*skipped, *refused])


def _supply(
    target: str, offer: _Offer, pool: Pool, texts: TargetTexts, config: RankConfig
) -> Supply:
    """Return where an attribute's sources come from: the whole pool, or a shortlist of it."""
    form, scorer = offer.form, offer.scorer
    if config.shortlist:
        return Narrowing(
            pool,
            form,
            config.shortlist,
            scorer,
            partial(Source, form=form, embed=texts.tuned),
            allowed=offer.entries if offer.all_read else None,
            strict=config.strict,
        )
    sources = [Source(entry, form, texts.tuned) for entry in offer.entries]
    usable, unusable = usable_sources(sources, scorer, strict=config.strict)
    if offer.entries and not usable:
        raise _no_source(target, unusable, scorer)
    return WholePool(offer.entries, Picked(usable, unusable))


def _rank(
    spec: TaskSpec,
    targets: Sequence[Target],
    encoder: Encoder,
    pool: Pool,
    config: RankConfig,
    offer: _Offer,
    cache: EmbeddingCache | None,
    base: str | None,
    started: float,
) -> Ranking:
    from esm.encoder.cache import EmbeddingCache

    target, key, scorer = targets[0], pool.fingerprint_key(), offer.scorer
    config = config.model_copy(update={"form": offer.form})
    siblings = DerivedSources(spec, targets, key)
    cache = EmbeddingCache.default() if cache is None else cache
    lifted = offer.form is MapForm.ANCHORED and Need.MAP in scorer.needs
    texts = TargetTexts(targets, config, encoder, cache, pool.lift if lifted else None)
    supply = _supply(target.id, offer, pool, texts, config)
    if lifted:  # here and not for the first source: a damaged lift is no fault of it
        _ = texts.lifted
    looks_near = key is not None and (config.near_tests or scorer.reads is not None)
    overlaps = Overlaps(
        siblings,
        partial(texts.sketches, key) if key is not None and looks_near else None,
        config.exclude_overlap,
    )
    refinement = _refinement(texts, target, config)
    attributes, unusable = _score(target, texts, supply, overlaps, offer, config, refinement)
    return Ranking(
        target=target.id,
        target_spec=spec,
        target_hash=joint_hash(targets),
        pool=str(pool.folder.resolve()),
        base_model=pool.manifest.base.model,
        base=_elsewhere(base, pool),
        scorer=scorer.name,
        unit=scorer.unit,
        reads=scorer.reads,
        config=config,
        attributes=attributes,
        aggregate=aggregate_rankings(attributes) if config.aggregate else (),
        unusable=unusable,
        warnings=(
            *language_warnings(
                target,
                offer.entries if offer.all_read else supply.entries,
                encoder,
                part=not offer.all_read,
            ),
            *(
                f"{name}: {said}"
                for name, notes in data_notes(targets).items()
                if name in attributes
                for said in notes
            ),
            *shortlist_warnings(attributes),
            *supply.remarks,
            *(() if refinement is None else refinement.remarks),
            *overlap_warnings(
                {
                    name: {line.source: line.overlap for line in ranked.ranking}
                    for name, ranked in attributes.items()
                },
                overlaps.count_unknown(supply.entries),
            ),
        ),
        cut=texts.cut,
        seconds=round(time.monotonic() - started, 2),
    )


def _refinement(texts: TargetTexts, target: Target, config: RankConfig) -> Refinement | None:
    """Return what scores sources on deltas; None where the settings want none."""
    if config.refine == "none" or config.scorer is not ScorerName.LOGME:
        return None
    folds = {name: texts.attribute(name, Balance.OFF) for name in target.attributes}
    return Refinement(texts, folds, config)


def _score(
    target: Target,
    texts: TargetTexts,
    supply: Supply,
    overlaps: Overlaps,
    offer: _Offer,
    config: RankConfig,
    refinement: Refinement | None,
) -> tuple[dict[str, AttributeRanking], dict[str, str]]:
    """Return a ranking per attribute, and of the others why there is none."""
    attributes: dict[str, AttributeRanking] = {}
    unusable = dict(target.skipped)
    balance = config.balance if offer.scorer.weighs_classes else Balance.OFF
    with progress(f"scoring for {target.id}", total=len(target.attributes)) as advance:
        for name, task in target.attributes.items():
            try:
                folds = texts.attribute(name, balance)
                picked = supply.pick(folds, refusals(name, folds, overlaps))
                picked = replace(picked, skipped=[*offer.left_out, *picked.skipped])
                attributes[name] = _rank_attribute(
                    name, task.metric, folds, picked, overlaps, offer.scorer, config, refinement
                )
            except (TaskError, FitError, RankingError) as error:
                if config.strict or len(target.attributes) == 1:
                    raise
                unusable[name] = str(error)
            advance(1)
    if not attributes:
        name, reason = next(iter(unusable.items()))
        raise RankingError(
            f"none of the {len(unusable)} attributes of {target.id} can be ranked; {name}: {reason}"
        )
    return attributes, unusable


def _elsewhere(base: str | None, pool: Pool) -> str | None:
    """Return where the base model was loaded from, if not by the pool's name of it."""
    if base is None or base == pool.manifest.base.model:
        return None
    return str(Path(base).resolve()) if Path(base).is_dir() else base


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


def _no_source(target: str, skipped: Sequence[Skipped], scorer: Scorer) -> RankingError:
    reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in skipped[:3])
    needs = " and ".join(f"its {need}" for need in sorted(scorer.needs))
    return RankingError(
        f"no source could be scored for {target} ({reasons or 'the pool is empty'})",
        expected=f"at least one source, with {needs}" if needs else "at least one source",
        hint="esm train TASKS --pool DIR",
    )


def _rank_attribute(
    name: str,
    metric: Metric,
    folds: Sequence[TargetAttribute],
    offered: Picked,
    overlaps: Overlaps,
    scorer: Scorer,
    config: RankConfig,
    refinement: Refinement | None,
) -> AttributeRanking:
    scores = offered.scores or scorer.score_all(folds, offered.sources)
    scored, failed = _finite_scores(offered.sources, scores, strict=config.strict)
    left_out = [*offered.skipped, *failed]
    if not scored:
        raise _no_source(folds[0].task.id, left_out, scorer)
    scored.sort(key=lambda pair: (-pair[1].mean(), pair[0].id))
    base_score = None
    if scorer.has_base:
        base_score = float(np.mean([scorer.score(Evidence(fold)) for fold in folds]))
    scored.sort(key=lambda pair: (-pair[1].mean(), pair[0].id))
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
        not_scored=offered.not_scored,
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
