"""From settings to trials that are ready to be run: target and base model are opened once, here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import EncoderError, SettingError, ValidationError
from esm.encoder.settings import EncoderConfig
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.base_model import base_config, load_base
from esm.pool.pool import Pool
from esm.ranking.rank import rank_targets
from esm.ranking.result import RankConfig, Ranking
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Target, joint_hash
from esm.trials.encoders import MODELS_NAME
from esm.trials.outside import Outside, read_outside
from esm.trials.plan import plan_validation
from esm.trials.plan_strategies import compared_attributes, plan_comparison
from esm.trials.settings import AUTO, ComparisonConfig, ValidationConfig
from esm.trials.sources import choose_sources
from esm.trials.trial import Plan
from esm.trials.worker import Shared

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from esm.encoder.cache import EmbeddingCache
    from esm.encoder.encoder import Encoder

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """A validation or comparison before its first trial.

    Attributes:
        plan: What is to be run.
        targets: The target, in all its folds.
        load: Loads the base model.
        base: How it is loaded.
        device: Device to compute on.
        pool: Where sources come from; None without any.
        outside: Predictions of outside systems.
        ranking: The ranking that a validation proves; None in a comparison.
    """

    plan: Plan
    targets: Sequence[Target]
    load: Callable[[], Encoder]
    base: EncoderConfig
    device: str
    pool: Pool | None
    outside: Sequence[Outside]
    ranking: Ranking | None

    @cached_property
    def encoder(self) -> Encoder:
        """The base model, loaded when it is asked for.

        Raises:
            EncoderError: It cannot be loaded.
            PoolError: It is not the one the pool was built with.
        """
        return self.load()

    def architecture(self) -> PreTrainedConfig | None:
        """Return the base model's configuration; None where it cannot be read, as offline."""
        from esm.encoder.load import read_config

        try:
            return read_config(self.base.model, self.base.revision)
        except EncoderError as error:
            _LOGGER.warning(f"the base model is not looked at: {error}")
            return None

    def shared(self, out: Path) -> Shared:
        """Return what a worker has to know beside the trials.

        Args:
            out: Folder of the run, in which tuned encoders are kept between trials.
        """
        return Shared(
            targets=tuple(self.targets),
            transfer=self.plan.config.transfer,
            base=self.encoder.config,
            device=self.device,
            pool=None if self.pool is None else self.pool.folder,
            models=out / MODELS_NAME,
            largest=self.plan.largest,
            retrain=self.plan.config.retrain,
        )


def open_validation(
    ranking: Ranking,
    config: ValidationConfig,
    *,
    pool: Pool | None = None,
    predictions: Mapping[str, Path] | None = None,
    device: str = "auto",
    strict: bool = False,
) -> Opened:
    """Read the target and plan; the base model is not loaded before it is needed.

    Args:
        ranking: The ranking to prove.
        config: Settings.
        pool: The pool; None for the one that the ranking names.
        predictions: Files of predicted labels, by the name of the system.
        device: Device to compute on.
        strict: As for :func:`~esm.trials.plan.plan_validation`.

    Raises:
        EsmError: As :func:`~esm.trials.plan.plan_validation`; or a file of predictions cannot be
            used.
    """
    pool = pool or Pool.open(Path(ranking.pool))
    targets = load_targets(ranking.target_spec)
    plan = plan_validation(ranking, pool, targets, config, strict=strict)
    outside = _outside(predictions, config, targets, plan.attributes, plan.entries)
    opened_pool = pool
    return Opened(
        plan,
        targets,
        lambda: load_base(opened_pool, device, model=ranking.base),
        base_config(pool, ranking.base),
        device,
        pool,
        outside,
        ranking,
    )


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
    plan = plan_comparison(
        targets,
        config,
        encoder.identity,
        choice,
        attributes,
        untested,
        architecture=encoder.model.config,
        pool="" if pool is None else str(pool.folder),
    )
    outside = _outside(predictions, config, targets, attributes)
    return Opened(plan, targets, lambda: encoder, encoder.config, device, pool, outside, None)


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


def _outside(
    predictions: Mapping[str, Path] | None,
    config: ValidationConfig | ComparisonConfig,
    targets: Sequence[Target],
    attributes: Sequence[str],
    sources: Iterable[str] = (),
) -> list[Outside]:
    taken = {*config.strategies, NO_TRANSFER, *sources}
    for name in predictions or {}:
        if name in taken:
            raise SettingError(
                f"predictions called {name!r}, like a strategy or a source",
                expected="a name of their own",
            )
    return [
        read_outside(name, path, targets, attributes) for name, path in (predictions or {}).items()
    ]
