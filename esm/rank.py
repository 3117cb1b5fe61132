"""Rank a pool's source tasks for every attribute of a target, in seconds.

Only training rows are used. The texts are embedded once for all attributes; after one pass over
them the target is a set of moments, and a source costs one eigendecomposition of a (d, d) matrix
per attribute, whatever the number of examples.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pydantic import ValidationError as PydanticError

from esm.errors import EsmError, RankingError
from esm.maps import EmbeddingSpaceMap, MapForm
from esm.moments import Moments, balance_weights, label_columns
from esm.pool import Pool, PoolEntry, Skipped
from esm.runtime import note, progress
from esm.scorers.base import Evidence, Scorer
from esm.scorers.logme import LogME
from esm.settings import EncoderConfig
from esm.storage import read_json, write_json
from esm.tasks.spec import TaskSpec
from esm.tasks.split import sample_together
from esm.tasks.task import Examples, Metric, Problem, Target, Task

if TYPE_CHECKING:
    from esm.embeddings import EmbeddingCache
    from esm.encoder import Embeddings, Encoder


class Balance(StrEnum):
    """Whether every class weighs the same in the score.

    AUTO follows the target's metric: classes are balanced where it is macro-F1.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class RankConfig(BaseModel):
    """Settings of a ranking.

    Attributes:
        max_examples: Training texts that are used, one stratified sample for all attributes, so
            that each text is embedded once; where there are fewer, all.
        form: Which maps to score.
        balance: Class balance of the score.
        seed: Seed of the sample.
        strict: Raise for a damaged pool entry instead of leaving it out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_examples: int = Field(default=1000, ge=2)
    form: MapForm = MapForm.ANCHORED
    balance: Balance = Balance.AUTO
    seed: int = 0
    strict: bool = False


@dataclass(frozen=True)
class RankedSource:
    """One line of a ranking.

    Attributes:
        rank: 1 is best.
        source: Id of the source task.
        score: LogME of the target under the source's map, nats per example.
        gain: Score minus that of the untouched base embeddings, nats per example.
        r2: R² of the source's map on anchors of other tasks.
        size: Training rows that the source's fine-tuning used.
    """

    rank: int
    source: str
    score: float
    gain: float
    r2: float
    size: int


@dataclass(frozen=True)
class AttributeRanking:
    """The ranking for one attribute.

    Attributes:
        metric: The attribute's primary metric.
        examples: Training rows that were scored.
        balanced: Whether classes were balanced.
        base_score: Score of the untouched base embeddings, nats per example.
        ranking: Sources, best first; equal scores are ordered by id.
        skipped: Sources left out, with the reason.
    """

    metric: Metric
    examples: int
    balanced: bool
    base_score: float
    ranking: tuple[RankedSource, ...]
    skipped: tuple[Skipped, ...]

    @property
    def order(self) -> list[str]:
        """Source ids, best first."""
        return [line.source for line in self.ranking]


@dataclass(frozen=True)
class Ranking:
    """Sources ranked for every attribute of a target; carries what validation needs.

    Attributes:
        target: The target's id.
        target_spec: How to read it again.
        target_hash: Hash of its rows, so that validation notices a change.
        pool: Folder of the pool.
        base_model: The pool's base model.
        scorer: Name of the estimator.
        config: Settings.
        attributes: One ranking per attribute.
        cut: Texts longer than the encoder's maximum, of which only the beginning was read.
        seconds: Wall-clock seconds, model load included.
    """

    target: str
    target_spec: TaskSpec
    target_hash: str
    pool: str
    base_model: str
    scorer: str
    config: RankConfig
    attributes: Mapping[str, AttributeRanking]
    cut: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form; :meth:`load` reads it."""
        return {
            "target": self.target,
            "pool": self.pool,
            "scorer": self.scorer,
            "base_model": self.base_model,
            "config": self.config.model_dump(mode="json"),
            "target_spec": self.target_spec.model_dump(mode="json"),
            "target_hash": self.target_hash,
            "cut": self.cut,
            "seconds": round(self.seconds, 2),
            "attributes": {name: asdict(ranked) for name, ranked in self.attributes.items()},
        }

    def records(self) -> list[dict[str, Any]]:
        """Return one row per attribute and source; ``esm evaluate`` reads them as scores."""
        return [
            {"target": f"{self.target}/{name}", **asdict(line)}
            for name, ranked in self.attributes.items()
            for line in ranked.ranking
        ]

    def save(self, path: Path) -> None:
        """Write the JSON form, readable by its owner only."""
        write_json(path, self.as_dict(), private=True)

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read a ranking that :meth:`save` wrote.

        Raises:
            StorageError: The file is absent or not JSON.
            RankingError: It is not a ranking.
        """
        content = read_json(path)
        try:
            return cls(
                target=content["target"],
                target_spec=TaskSpec.model_validate(content["target_spec"]),
                target_hash=content["target_hash"],
                pool=content["pool"],
                base_model=content["base_model"],
                scorer=content["scorer"],
                config=RankConfig.model_validate(content["config"]),
                attributes={
                    name: _attribute_from(ranked) for name, ranked in content["attributes"].items()
                },
                cut=content["cut"],
                seconds=content["seconds"],
            )
        except (KeyError, TypeError, AttributeError, ValueError, PydanticError) as error:
            raise RankingError(
                f"{path} is not a ranking ({type(error).__name__}: {str(error)[:100]})",
                expected="a file written by esm rank --out",
            ) from error


def _attribute_from(content: Mapping[str, Any]) -> AttributeRanking:
    return AttributeRanking(
        metric=Metric(content["metric"]),
        examples=content["examples"],
        balanced=content["balanced"],
        base_score=content["base_score"],
        ranking=tuple(RankedSource(**line) for line in content["ranking"]),
        skipped=tuple(Skipped(**line) for line in content["skipped"]),
    )


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
        RankingError: No source could be scored.
    """
    from esm.build import check_base
    from esm.embeddings import EmbeddingCache
    from esm.encoder import Encoder
    from esm.tasks.read import load_target

    started = time.monotonic()
    config = config or RankConfig()
    target = load_target(spec)
    entries, skipped = pool.entries(strict=config.strict)
    maps, unreadable = _load_maps(entries, config)
    identity = pool.manifest.base
    encoder = Encoder.load(
        EncoderConfig(
            model=base or identity.model,
            revision=pool.manifest.revision,
            pooling=identity.pooling,
            max_length=identity.max_length,
            precision=identity.precision,
        ),
        device=device,
    )
    check_base(pool, encoder)
    texts = _TargetTexts.embed(
        target, config, encoder, EmbeddingCache.default() if cache is None else cache, pool
    )
    scorer = LogME()
    attributes: dict[str, AttributeRanking] = {}
    with progress(f"scoring for {target.id}", total=len(target.attributes)) as advance:
        for name, task in target.attributes.items():
            attributes[name] = _rank_attribute(
                target, task, texts, maps, [*skipped, *unreadable], config, scorer
            )
            advance(1)
    return Ranking(
        target=target.id,
        target_spec=spec,
        target_hash=target.content_hash(),
        pool=str(pool.folder),
        base_model=identity.model,
        scorer=scorer.name,
        config=config,
        attributes=attributes,
        cut=texts.embeddings.cut,
        seconds=time.monotonic() - started,
    )


def _load_maps(
    entries: list[PoolEntry], config: RankConfig
) -> tuple[list[tuple[PoolEntry, EmbeddingSpaceMap]], list[Skipped]]:
    """Read the maps; a damaged one is left out with its reason."""
    maps: list[tuple[PoolEntry, EmbeddingSpaceMap]] = []
    skipped: list[Skipped] = []
    for entry in entries:
        try:
            maps.append((entry, entry.load_map(config.form)))
        except EsmError as error:
            if config.strict:
                raise
            skipped.append(Skipped(entry.id, str(error)))
    return maps, skipped


@dataclass(frozen=True)
class _TargetTexts:
    """The target's texts, embedded once, and which of them each attribute uses."""

    examples: Mapping[str, Examples]
    positions: Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]
    embeddings: Embeddings
    lifted: np.ndarray[Any, np.dtype[np.float32]] | None

    @classmethod
    def embed(
        cls,
        target: Target,
        config: RankConfig,
        encoder: Encoder,
        cache: EmbeddingCache,
        pool: Pool,
    ) -> _TargetTexts:
        """Sample texts for all attributes, embed them, lift where the maps want it."""
        examples = sample_together(target, config.max_examples, config.seed)
        place: dict[tuple[str, str | None], int] = {}
        positions = {
            name: np.array([place.setdefault(key, len(place)) for key in _keys(rows)])
            for name, rows in examples.items()
        }
        is_pair = next(iter(examples.values())).pairs is not None
        wide = config.form is MapForm.ANCHORED
        embeddings = cache.embed(
            encoder,
            [text for text, _ in place],
            [pair or "" for _, pair in place] if is_pair else None,
            wide=wide,
        )
        if embeddings.cut:
            note(
                f"{embeddings.cut} of {len(place)} texts are longer than"
                f" {encoder.max_length} tokens; only their beginning is read"
            )
        lifted = None if embeddings.wide is None else pool.lift().transform(embeddings.wide)
        return cls(examples, positions, embeddings, lifted)

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
    if task.problem is not Problem.CLASSIFICATION:
        return False
    return balance is Balance.ON or (balance is Balance.AUTO and task.metric is Metric.MACRO_F1)


def _rank_attribute(
    target: Target,
    task: Task,
    texts: _TargetTexts,
    maps: list[tuple[PoolEntry, EmbeddingSpaceMap]],
    skipped: list[Skipped],
    config: RankConfig,
    scorer: Scorer,
) -> AttributeRanking:
    name = next(name for name, candidate in target.attributes.items() if candidate is task)
    balanced = is_balanced(task, config.balance)
    moments = texts.moments(name, task, balanced=balanced)
    base_score = scorer.score(Evidence(moments, None))
    left_out = list(skipped)
    scored: list[tuple[float, PoolEntry]] = []
    own = task.content_hash()
    for entry, source_map in maps:
        if entry.id in {target.id, task.id} or entry.record.task_hash == own:
            left_out.append(Skipped(entry.id, "is the target itself"))
            continue
        score = scorer.score(Evidence(moments, source_map))
        if np.isfinite(score):
            scored.append((score, entry))
        else:
            left_out.append(Skipped(entry.id, f"its score is {score}"))
    if not scored:
        reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in left_out[:3])
        raise RankingError(
            f"no source could be scored for {task.id} ({reasons or 'the pool is empty'})",
            expected="at least one source with a usable map",
            hint="esm train TASKS --pool DIR",
        )
    scored.sort(key=lambda pair: (-pair[0], pair[1].id))
    lines = tuple(
        RankedSource(
            rank=rank,
            source=entry.id,
            score=score,
            gain=score - base_score,
            r2=entry.record.maps[config.form].r2_anchors,
            size=entry.record.num_used,
        )
        for rank, (score, entry) in enumerate(scored, start=1)
    )
    return AttributeRanking(
        metric=task.metric,
        examples=len(texts.examples[name]),
        balanced=balanced,
        base_score=base_score,
        ranking=lines,
        skipped=tuple(left_out),
    )
