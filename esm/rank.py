"""Rank a pool's source tasks for every attribute of a target, in seconds.

Only training rows are used. The texts are embedded once for all attributes and folds; after one
pass over them the target is a set of moments, and a source costs one eigendecomposition of a
(d, d) matrix per attribute and fold, whatever the number of examples.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from esm.aggregate import aggregate_rankings
from esm.base import load_base
from esm.errors import EsmError, FitError, RankingError, TaskError
from esm.licences import terms
from esm.maps import EmbeddingSpaceMap, MapForm
from esm.moments import Moments, balance_weights, label_columns
from esm.pool import Pool, PoolEntry, Skipped
from esm.ranking import AttributeRanking, Balance, RankConfig, RankedSource, Ranking
from esm.runtime import note, progress
from esm.scorers.base import Evidence, Scorer
from esm.scorers.logme import LogME
from esm.siblings import Siblings
from esm.suitability import allowed_sources, language_warnings
from esm.tasks.read import load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.split import sample_together
from esm.tasks.task import Examples, Metric, Problem, Target, Task, joint_hash

if TYPE_CHECKING:
    from esm.embeddings import EmbeddingCache
    from esm.encoder import Embeddings, Encoder

Scores = npt.NDArray[np.float64]  # (f,), one per fold


def rank_sources(
    spec: TaskSpec,
    pool: Pool,
    config: RankConfig | None = None,
    *,
    cache: EmbeddingCache | None = None,
    device: str = "auto",
    base: str | None = None,
) -> Ranking:
    """Rank every source of a pool for every attribute of a target.

    Args:
        spec: The target.
        pool: The pool.
        config: Settings; None for the defaults.
        cache: Cache of embeddings; None for the default one.
        device: Device to embed on.
        base: Base model the caller has in mind; None for the pool's. Another one is refused.

    Raises:
        TaskError: The target cannot be used.
        PoolError: The pool is damaged or was built with another base model.
        RankingError: Not a single attribute could be ranked, or no source has such a licence.
    """
    from esm.embeddings import EmbeddingCache

    started = time.monotonic()
    config = config or RankConfig()
    targets = load_targets(spec)
    target = targets[0]
    siblings = Siblings(spec, targets)
    entries, skipped = pool.entries(strict=config.strict)
    config = config.model_copy(update={"form": config.form or _form(entries)})
    entries, refused = allowed_sources(entries, config.licences)
    if refused and not entries:
        raise RankingError(
            f"none of the {len(refused)} sources of {pool.folder} has a licence that meets"
            f" --licence {','.join(config.licences)}",
            expected="commercial, stated, or a part of a licence's name",
            hint=f"esm show {pool.folder}",
        )
    maps, unreadable = _load_maps(entries, config)
    encoder = load_base(pool, device, model=base, max_chunks=config.max_chunks)
    texts = _TargetTexts.embed(
        targets, config, encoder, EmbeddingCache.default() if cache is None else cache, pool
    )
    scorer = LogME()
    attributes: dict[str, AttributeRanking] = {}
    unusable = dict(target.skipped)
    with progress(f"scoring for {target.id}", total=len(target.attributes)) as advance:
        for name in target.attributes:
            try:
                attributes[name] = _rank_attribute(
                    name,
                    targets,
                    texts,
                    maps,
                    [*skipped, *refused, *unreadable],
                    siblings,
                    config,
                    scorer,
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
    return Ranking(
        target=target.id,
        target_spec=spec,
        target_hash=joint_hash(targets),
        pool=str(pool.folder.resolve()),
        base_model=pool.manifest.base.model,
        base=_elsewhere(base, pool),
        scorer=scorer.name,
        config=config,
        attributes=attributes,
        aggregate=aggregate_rankings(attributes) if config.aggregate else (),
        unusable=unusable,
        warnings=language_warnings(target, entries, encoder),
        cut=texts[0].embeddings.cut,
        seconds=round(time.monotonic() - started, 2),
    )


def _elsewhere(base: str | None, pool: Pool) -> str | None:
    """Return where the base model was loaded from, if not by the pool's name of it."""
    if base is None or base == pool.manifest.base.model:
        return None
    return str(Path(base).resolve()) if Path(base).is_dir() else base


def _form(entries: list[PoolEntry]) -> MapForm:
    """Return the form to score: the anchored one, unless the pool has published maps only."""
    forms = {form for entry in entries for form in entry.record.maps}
    return MapForm.PUBLISHED if forms == {MapForm.PUBLISHED} else MapForm.ANCHORED


@dataclass(frozen=True)
class _StoredMap:
    """A map that was read and found whole.

    Dense maps are read again for each score: a pool of 1,500 of them would take 3.5 GB.
    """

    entry: PoolEntry
    form: MapForm
    kept: EmbeddingSpaceMap | None

    @classmethod
    def of(cls, entry: PoolEntry, form: MapForm) -> _StoredMap:
        loaded = entry.load_map(form)
        return cls(entry, form, None if form is MapForm.PUBLISHED else loaded)

    def load(self) -> EmbeddingSpaceMap:
        return self.kept or self.entry.load_map(self.form)


def _load_maps(
    entries: list[PoolEntry], config: RankConfig
) -> tuple[list[_StoredMap], list[Skipped]]:
    """Read the maps; a damaged one is left out with its reason."""
    form = config.form or _form(entries)
    maps: list[_StoredMap] = []
    skipped: list[Skipped] = []
    for entry in entries:
        try:
            maps.append(_StoredMap.of(entry, form))
        except EsmError as error:
            if config.strict:
                raise
            skipped.append(Skipped(entry.id, str(error)))
    return maps, skipped


@dataclass(frozen=True)
class _TargetTexts:
    """The target's texts, embedded once, and which of them each attribute of one fold uses."""

    examples: Mapping[str, Examples]
    positions: Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]
    embeddings: Embeddings
    lifted: np.ndarray[Any, np.dtype[np.float32]] | None

    @classmethod
    def embed(
        cls,
        targets: Sequence[Target],
        config: RankConfig,
        encoder: Encoder,
        cache: EmbeddingCache,
        pool: Pool,
    ) -> list[_TargetTexts]:
        """Sample texts for all attributes of each fold, embed them, lift where maps want it."""
        samples = [sample_together(fold, config.max_examples, config.seed) for fold in targets]
        place: dict[tuple[str, str | None], int] = {}
        positions = [
            {
                name: np.array([place.setdefault(key, len(place)) for key in _keys(rows)])
                for name, rows in examples.items()
            }
            for examples in samples
        ]
        is_pair = next(iter(samples[0].values())).pairs is not None
        wide = config.form is MapForm.ANCHORED
        embeddings = cache.embed(
            encoder,
            [text for text, _ in place],
            [pair or "" for _, pair in place] if is_pair else None,
            wide=wide,
        )
        if embeddings.cut:
            reading = encoder.identity.reading
            note(
                f"{embeddings.cut} of {len(place)} texts are longer than {reading};"
                " only their beginning is read (--max-chunks N reads more)"
            )
        lifted = None if embeddings.wide is None else pool.lift().transform(embeddings.wide)
        return [
            cls(examples, rows, embeddings, lifted)
            for examples, rows in zip(samples, positions, strict=True)
        ]

    def moments(self, name: str, task: Task, *, balanced: bool) -> Moments:
        """Sum up one attribute's rows."""
        rows = self.positions[name]
        labels = self.examples[name].labels
        columns = label_columns(task.problem, labels, task.num_outputs)
        return Moments.of(
            self.embeddings.last[rows],
            None if self.lifted is None else self.lifted[rows],
            columns,
            balance_weights(labels) if balanced else None,
        )


def _keys(examples: Examples) -> list[tuple[str, str | None]]:
    pairs = examples.pairs or (None,) * len(examples)
    return list(zip(examples.texts, pairs, strict=True))


def is_balanced(task: Task, balance: Balance) -> bool:
    """Whether the score of an attribute weighs its classes equally."""
    if task.problem not in (Problem.CLASSIFICATION, Problem.ORDINAL):
        return False
    return balance is Balance.ON or (balance is Balance.AUTO and task.metric is Metric.MACRO_F1)


def _rank_attribute(
    name: str,
    targets: Sequence[Target],
    texts: Sequence[_TargetTexts],
    maps: list[_StoredMap],
    skipped: list[Skipped],
    siblings: Siblings,
    config: RankConfig,
    scorer: Scorer,
) -> AttributeRanking:
    form = config.form or _form([source.entry for source in maps])
    tasks = [target.attributes[name] for target in targets]
    balanced = is_balanced(tasks[0], config.balance)
    moments = [
        fold.moments(name, task, balanced=balanced) for fold, task in zip(texts, tasks, strict=True)
    ]
    left_out = list(skipped)
    scored: list[tuple[PoolEntry, Scores]] = []
    own = {task.content_hash() for task in tasks}
    for source in maps:
        entry = source.entry
        if entry.record.task_hash in own:
            left_out.append(Skipped(entry.id, "is the target itself"))
            continue
        if reason := siblings.refusal(entry, name):
            left_out.append(Skipped(entry.id, reason))
            continue
        source_map = source.load()
        scores = np.array([scorer.score(Evidence(fold, source_map)) for fold in moments])
        if np.isfinite(scores).all():
            scored.append((entry, scores))
        else:
            left_out.append(Skipped(entry.id, f"its score is {scores.mean()}"))
    if not scored:
        reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in left_out[:3])
        raise RankingError(
            f"no source could be scored for {tasks[0].id} ({reasons or 'the pool is empty'})",
            expected="at least one source with a usable map",
            hint="esm train TASKS --pool DIR",
        )
    base_score = float(np.mean([scorer.score(Evidence(fold, None)) for fold in moments]))
    scored.sort(key=lambda pair: (-pair[1].mean(), pair[0].id))
    lines = tuple(
        RankedSource(
            rank=rank,
            source=entry.id,
            score=float(scores.mean()),
            gain=float(scores.mean()) - base_score,
            r2=entry.record.maps[form].r2_anchors,
            size=entry.record.num_used,
            sibling=siblings.includes(entry),
            licence=entry.record.metadata.license,
            terms=terms(entry.record.metadata.license),
        )
        for rank, (entry, scores) in enumerate(scored, start=1)
    )
    return AttributeRanking(
        metric=tasks[0].metric,
        examples=round(np.mean([fold.count for fold in moments])),
        balanced=balanced,
        base_score=base_score,
        ranking=lines,
        skipped=tuple(left_out),
        by_fold=_orders(scored) if len(targets) > 1 else (),
    )


def _orders(scored: Sequence[tuple[PoolEntry, Scores]]) -> tuple[tuple[str, ...], ...]:
    """Return the source ids of each fold, best first; equal scores are ordered by id."""
    folds = range(len(scored[0][1]))
    return tuple(
        tuple(entry.id for entry, _ in sorted(scored, key=lambda one: (-one[1][fold], one[0].id)))
        for fold in folds
    )
