"""Rank a pool's source tasks for every attribute of a target, in seconds.

Only training rows are used; of test rows, only whether a source holds them too. The texts are
embedded once for all attributes and folds. What is read of a source depends on the scorer: for
the default one, its map; after one pass over the texts the target is then a set of moments, which
is decomposed once per attribute and fold, and all maps are scored together
(:mod:`esm.scorers.likelihood`), whatever the number of examples.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import (
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
from esm.ranking.attribute import no_source, rank_attribute
from esm.ranking.diverse import check_diverse
from esm.ranking.intervals import check_bootstrap
from esm.ranking.language_fit import allowed_sources, language_warnings
from esm.ranking.leaks.derived import DerivedSources
from esm.ranking.leaks.overlap import Overlaps, overlap_warnings
from esm.ranking.refine import Refinement, check_refine
from esm.ranking.result import (
    AttributeRanking,
    Balance,
    RankConfig,
    Ranking,
)
from esm.ranking.sources import Picked, form_to_rank, refusals, usable_sources
from esm.ranking.target import TargetTexts
from esm.scorers.base import Need, Scorer, Source
from esm.scorers.names import ScorerName
from esm.scorers.registry import Results, make_scorer
from esm.tasks.faults.labels import data_notes
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Target, joint_hash

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
    offer = choose(pool, config, results)
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
    offer: Offer | None = None,
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
        offer: What :func:`choose` gave for these settings, where the pool was read before.

    Raises:
        EsmError: As :func:`rank_sources`.
    """
    started = time.monotonic()
    config = config or RankConfig()
    offer = offer or choose(pool, config, results)
    named = encoder.config.model
    return _rank(spec, targets, encoder, pool, config, offer, cache, named, started)


@dataclass(frozen=True)
class Offer:
    """What a pool has to be ranked, and how.

    Attributes:
        scorer: How sources are scored.
        form: The form of map that it reads.
        entries: Entries of the pool whose licence is allowed.
        left_out: Sources that cannot be read or are not allowed, with the reason.
    """

    scorer: Scorer
    form: MapForm
    entries: Sequence[PoolEntry]
    left_out: Sequence[Skipped]


def choose(pool: Pool, config: RankConfig, results: Results | None) -> Offer:
    """Read a pool's entries and choose the scorer: what does not depend on the target.

    Raises:
        PoolError: The pool is damaged.
        RankingError: No source has such a licence.
        SettingError: The scorer does not go with the other settings.
    """
    entries, skipped = pool.entries(strict=config.strict)
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
        all_tuned=all(entry.has_tuned for entry in entries),
        results=results,
    )
    if config.balance is Balance.ON and not scorer.weighs_classes:
        raise SettingError(
            f"--balance on for scorer {scorer.name}", expected="a scorer that weighs classes"
        )
    check_refine(config)
    check_bootstrap(config, scorer)
    check_diverse(config.diverse, scorer.reads, scorer.name)
    return Offer(scorer, form, entries, [*skipped, *refused])


def _pick(target: str, offer: Offer, texts: TargetTexts, config: RankConfig) -> Picked:
    """Return the sources that have what the scorer needs; the others are skipped."""
    sources = [Source(entry, offer.form, texts.tuned) for entry in offer.entries]
    usable, unusable = usable_sources(sources, offer.scorer, strict=config.strict)
    if offer.entries and not usable:
        raise no_source(target, unusable, offer.scorer)
    return Picked(usable, [*offer.left_out, *unusable])


def _rank(
    spec: TaskSpec,
    targets: Sequence[Target],
    encoder: Encoder,
    pool: Pool,
    config: RankConfig,
    offer: Offer,
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
    picked = _pick(target.id, offer, texts, config)
    if lifted:  # here and not for the first source: a damaged lift is no fault of it
        _ = texts.lifted
    looks_near = key is not None and (config.near_tests or scorer.reads is not None)
    overlaps = Overlaps(
        siblings,
        partial(texts.sketches, key) if key is not None and looks_near else None,
        config.exclude_overlap,
    )
    refinement = _refinement(texts, target, config)
    attributes, unusable = _score(target, texts, picked, overlaps, scorer, config, refinement)
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
            *language_warnings(target, offer.entries, encoder),
            *(
                f"{name}: {said}"
                for name, notes in data_notes(targets).items()
                if name in attributes
                for said in notes
            ),
            *(() if refinement is None else refinement.remarks),
            *overlap_warnings(
                {
                    name: {line.source: line.overlap for line in ranked.ranking}
                    for name, ranked in attributes.items()
                },
                overlaps.count_unknown(offer.entries),
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
    picked: Picked,
    overlaps: Overlaps,
    scorer: Scorer,
    config: RankConfig,
    refinement: Refinement | None,
) -> tuple[dict[str, AttributeRanking], dict[str, str]]:
    """Return a ranking per attribute, and of the others why there is none."""
    attributes: dict[str, AttributeRanking] = {}
    unusable = dict(target.skipped)
    balance = config.balance if scorer.weighs_classes else Balance.OFF
    with progress(f"scoring for {target.id}", total=len(target.attributes)) as advance:
        for name, task in target.attributes.items():
            try:
                folds = texts.attribute(name, balance)
                allowed = picked.without(refusals(name, folds, overlaps))
                attributes[name] = rank_attribute(
                    name, task.metric, folds, allowed, overlaps, scorer, config, refinement
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
