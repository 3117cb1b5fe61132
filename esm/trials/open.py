"""From the settings of a comparison to what is ready to be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import SettingError, ValidationError
from esm.encoder.settings import EncoderConfig
from esm.pool.base_model import load_base
from esm.pool.pool import Pool
from esm.ranking.rank import rank_targets
from esm.ranking.result import RankConfig, Ranking
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Target, joint_hash
from esm.trials.compare_plan import ComparisonPlan, compared_attributes, plan_comparison
from esm.trials.outside import Outside, read_outside
from esm.trials.settings import AUTO, ComparisonConfig
from esm.trials.sources import Choice, choose_sources

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache
    from esm.encoder.encoder import Encoder


@dataclass(frozen=True)
class Opened:
    """A comparison before its first training.

    Attributes:
        plan: What is to be run.
        targets: The target, in all its folds.
        encoder: The base model.
        pool: Where sources come from; None without any.
        choice: The sources.
        outside: Predictions of outside systems.
    """

    plan: ComparisonPlan
    targets: Sequence[Target]
    encoder: Encoder
    pool: Pool | None
    choice: Choice
    outside: Sequence[Outside]


def open_comparison(
    spec: TaskSpec,
    config: ComparisonConfig,
    *,
    base: EncoderConfig | None = None,
    max_chunks: int | None = None,
    pool: Pool | None = None,
    ranking: Ranking | None = None,
    predictions: Mapping[str, Path] | None = None,
    cache: EmbeddingCache | None = None,
    device: str = "auto",
) -> Opened:
    """Read the target, choose sources, and plan; the base model is loaded, nothing is trained.

    Args:
        spec: The target.
        config: Settings.
        base: The base model where there is no pool; None for the packaged one.
        max_chunks: Windows in which long texts are read, with a pool; None for the pool's number.
        pool: Where sources come from; None for the one that the ranking names.
        ranking: Order of the sources; None ranks those of the pool where the order is wanted.
        predictions: Files of predicted labels, by the name of the system.
        cache: Cache of embeddings for that ranking; None for the default one.
        device: Device to compute on.

    Raises:
        TaskError: The target, or a file of predictions, cannot be used.
        ValidationError: The ranking is of other rows, or there is nothing to run.
        EncoderError: The base model cannot be loaded.
        PoolError: The base model is not the one the pool was built with.
        SettingError: An outside system bears the name of a strategy.
    """
    targets = load_targets(spec)
    attributes, untested = compared_attributes(targets, config)
    if ranking is not None:
        _check_ranking(ranking, targets, attributes)
        pool = pool or Pool.open(Path(ranking.pool))
    if pool is None:
        from esm.encoder.encoder import Encoder

        encoder = Encoder.load(base or EncoderConfig(), device)
    else:
        chunks = max_chunks or (None if ranking is None else ranking.config.max_chunks)
        model = None if ranking is None else ranking.base
        encoder = load_base(pool, device, model=model, max_chunks=chunks)
    if ranking is None and config.sources == (AUTO,) and pool is not None:
        how = RankConfig(max_chunks=encoder.config.max_chunks)
        ranking = rank_targets(spec, targets, encoder, pool, how, cache=cache)
    choice = choose_sources(config, spec, targets, attributes, pool, ranking)
    outside = [
        read_outside(_free_name(name, config), path, targets, attributes)
        for name, path in (predictions or {}).items()
    ]
    plan = plan_comparison(
        targets,
        config,
        encoder.identity,
        choice,
        attributes,
        untested,
        architecture=encoder.model.config,
    )
    return Opened(plan, targets, encoder, pool, choice, outside)


def _check_ranking(ranking: Ranking, targets: Sequence[Target], attributes: Sequence[str]) -> None:
    """Refuse a ranking of other rows; it may be of more attributes than are compared."""
    if joint_hash(targets) == ranking.target_hash:
        return
    ranked = load_targets(ranking.target_spec)
    if joint_hash(ranked) != ranking.target_hash:
        raise ValidationError(
            f"the rows of {ranking.target} have changed since it was ranked",
            expected=f"content hash {ranking.target_hash[:12]}",
            hint="esm rank again",
        )
    for name in attributes:
        theirs = [fold.attributes[name] for fold in ranked if name in fold.attributes]
        ours = [fold.attributes[name] for fold in targets]
        if not theirs or joint_hash(theirs) != joint_hash(ours):
            raise ValidationError(
                f"the rows or labels of {name} are not those that {ranking.target} was ranked by",
                expected="the same target, labels and split",
                hint="the options with which esm rank was called",
            )


def _free_name(name: str, config: ComparisonConfig) -> str:
    if name in config.strategies:
        raise SettingError(
            f"predictions called {name!r}, like a strategy", expected="a name of their own"
        )
    return name
