"""What a comparison will run, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.errors import EncoderError, TaskError, ValidationError
from esm.common.storage import content_hash, hash_texts
from esm.encoder.settings import BaseIdentity
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import PoolEntry, Skipped
from esm.strategies.joint.protocol import JointStrategy
from esm.strategies.joint.registry import joint_strategy
from esm.strategies.registry import reads_unlabelled
from esm.tasks.raw import attribute_id
from esm.tasks.task import Problem, SplitName, Target, joint_hash
from esm.trials.encoders import source_start
from esm.trials.ledger import RunKey
from esm.trials.plan import source_hash
from esm.trials.settings import ComparisonConfig
from esm.trials.sources import Choice

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_KEY_DIGITS = 24


@dataclass(frozen=True)
class Cell:
    """One training: a strategy on an attribute, or on all of them together.

    Attributes:
        strategy: Name of the strategy.
        size: Number of training rows that was asked for; None for all.
        keys: What determines the outcome, one per attribute.
        sources: Ids of the sources that the strategy gets beside the encoder it starts from.
    """

    strategy: str
    size: int | None
    keys: tuple[RunKey, ...]
    sources: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes."""
        return tuple(key.attribute for key in self.keys)

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.keys[0].seed

    @property
    def fold(self) -> int | None:
        """The fold whose rows are the test rows."""
        return self.keys[0].fold

    @property
    def source(self) -> str:
        """Id of the source that the encoder was tuned on before, or ``none``."""
        return self.keys[0].source

    @cached_property
    def rows(self) -> dict[str, str]:
        """Keys of its rows in the ledger, by attribute."""
        return {key.attribute: key.content_hash() for key in self.keys}

    @cached_property
    def id(self) -> str:
        """Under which its results are kept."""
        return content_hash(list(self.rows.values()))[:_KEY_DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "strategy": self.strategy,
            "attributes": list(self.attributes),
            "examples": self.size,
            "source": self.source,
            "sources": list(self.sources),
            "seed": self.seed,
            "fold": self.fold,
        }


@dataclass(frozen=True)
class ComparisonPlan:
    """All trainings of a comparison.

    Attributes:
        target: Id of the target.
        config: Settings.
        base: Identity of the base model.
        attributes: Names of the attributes that are compared.
        cells: In the order of execution: the largest size first, and of each size one seed of all
            strategies before the next. Two sizes that mean the same rows are the same training.
        num_train: Training rows that there are, by attribute; of folds the mean, rounded.
        num_test: Test rows, by attribute; of folds the mean, rounded.
        test_to_train: Test rows per training row, by attribute; of folds the mean.
        folds: How often the target is split; 0 for one fixed split.
        skipped: Attributes, sources and strategies that were left out, with the reason.
    """

    target: str
    config: ComparisonConfig
    base: BaseIdentity
    attributes: tuple[str, ...]
    cells: tuple[Cell, ...]
    num_train: Mapping[str, int]
    num_test: Mapping[str, int]
    test_to_train: Mapping[str, float]
    folds: int
    skipped: tuple[Skipped, ...]

    @property
    def trainings(self) -> tuple[Cell, ...]:
        """The cells, each training once."""
        return tuple({cell.id: cell for cell in reversed(self.cells)}.values())[::-1]

    @property
    def largest(self) -> int | None:
        """The size at which strategies are compared."""
        return self.config.sizes[-1]

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies that are run, in the order in which they were named."""
        run = {cell.strategy for cell in self.cells}
        return tuple(name for name in self.config.strategies if name in run)

    def rows_used(self, attribute: str, size: int | None) -> int:
        """Return how many training rows of an attribute a size stands for."""
        there = self.num_train[attribute]
        return there if size is None else min(size, there)


def compared_attributes(
    targets: Sequence[Target], config: ComparisonConfig
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Return the attributes to compare on, and those that have no test rows.

    Raises:
        TaskError: One that was asked for is not there or has no test rows, or none has any.
    """
    target = targets[0]
    if unknown := [name for name in config.attributes if name not in target.attributes]:
        raise TaskError(
            f"{target.id} has no attribute {', '.join(unknown)}",
            expected=f"some of {', '.join(target.attributes)}",
        )
    names = config.attributes or tuple(target.attributes)
    untested = [name for name in names if SplitName.TEST not in target.attributes[name].splits]
    if untested and (config.attributes or len(untested) == len(names)):
        raise TaskError(
            f"attribute {', '.join(untested)} of {target.id} has no test rows",
            expected="rows to judge by",
            hint="--test FILE, --test-split NAME for Hub data, or --split k-fold",
        )
    return (
        tuple(name for name in names if name not in untested),
        tuple(Skipped(attribute_id(target.id, name), "no test rows") for name in untested),
    )


def plan_comparison(
    targets: Sequence[Target],
    config: ComparisonConfig,
    base: BaseIdentity,
    choice: Choice,
    attributes: Sequence[str],
    skipped: Sequence[Skipped] = (),
    *,
    architecture: PreTrainedConfig | None = None,
) -> ComparisonPlan:
    """Plan the trainings.

    Args:
        targets: The target, in all its folds.
        config: Settings.
        base: Identity of the base model.
        choice: The sources.
        attributes: Names of the attributes, all with test rows.
        skipped: What was left out before.
        architecture: Configuration of the base model; a strategy that cannot train it is left out.

    Raises:
        ValidationError: There is nothing to run.
    """
    planner = _Planner(targets, config, base, choice, tuple(attributes), architecture)
    columns: list[JointStrategy] = []
    left_out = [*skipped, *choice.skipped, *planner.without_source()]
    left_out += planner.corpora([joint_strategy(name) for name in config.strategies])
    for name in config.strategies:
        strategy = joint_strategy(name)
        reason = planner.refusal(strategy)
        if reason is None:
            columns.append(strategy)
            left_out += planner.unlearnable(strategy)
        else:
            left_out.append(Skipped(name, reason))
    cells = [
        cell
        for size in reversed(config.sizes)
        for seed in range(config.seeds)
        for fold in targets
        for strategy in columns
        for cell in planner.cells(strategy, size, seed, fold)
    ]
    if not cells:
        reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in left_out[:3])
        raise ValidationError(
            f"there is nothing to compare for {targets[0].id} ({reasons})",
            expected="at least one strategy that can be run",
        )
    tasks = {name: [fold.attributes[name] for fold in targets] for name in attributes}
    return ComparisonPlan(
        target=targets[0].id,
        config=config,
        base=base,
        attributes=tuple(attributes),
        cells=tuple(cells),
        num_train={n: round(np.mean([len(fold.train) for fold in f])) for n, f in tasks.items()},
        num_test={n: round(np.mean([len(fold.test) for fold in f])) for n, f in tasks.items()},
        test_to_train={
            n: float(np.mean([len(fold.test) / len(fold.train) for fold in f]))
            for n, f in tasks.items()
        },
        folds=len(targets) if targets[0].fold is not None else 0,
        skipped=tuple(left_out),
    )


@dataclass(frozen=True)
class _Planner:
    targets: Sequence[Target]
    config: ComparisonConfig
    base: BaseIdentity
    choice: Choice
    attributes: tuple[str, ...]
    architecture: PreTrainedConfig | None

    def refusal(self, strategy: JointStrategy) -> str | None:
        """Return why a strategy cannot be run; None where it can be."""
        if self.architecture is not None:
            try:
                strategy.check(self.architecture)
            except EncoderError as error:
                return str(error)
        if strategy.together:
            try:
                strategy.check_tasks(self.targets[0].attributes[name] for name in self.attributes)
            except ValidationError as error:
                return str(error)
        if not strategy.wants_sources:
            return None
        wanted = [self.attributes] if strategy.together else [(name,) for name in self.attributes]
        if not self.config.sources:
            return "it makes use of source tasks, and none were asked for (--source)"
        if all(not self.choice.of(names) for names in wanted):
            return "no source can be used for its attributes"
        if all(not self.sources(strategy, names) for names in wanted):
            return "it learns the labels of sources, and each of these is a corpus without any"
        return None

    def sources(self, strategy: JointStrategy, names: Sequence[str]) -> tuple[PoolEntry, ...]:
        """Return the sources of a strategy: no corpora for one that learns what sources learn."""
        found = self.choice.of(names)
        if not (strategy.wants_sources and strategy.learns_sources):
            return found
        return tuple(entry for entry in found if entry.record.problem is not Problem.CORPUS)

    def corpora(self, strategies: Sequence[JointStrategy]) -> list[Skipped]:
        """Name the corpora that strategies that learn the labels of sources go without."""
        chosen = {
            entry.id: entry.record.problem
            for names in (self.attributes, *((name,) for name in self.attributes))
            for entry in self.choice.of(names)
        }
        return [
            Skipped(f"{source} for {strategy.name}", "it is a corpus without labels to learn")
            for strategy in strategies
            for source, problem in chosen.items()
            if strategy.wants_sources and strategy.learns_sources and problem is Problem.CORPUS
        ]

    def unlearnable(self, strategy: JointStrategy) -> list[Skipped]:
        """Name the attributes that a strategy that trains them one by one cannot learn."""
        if strategy.together:
            return []
        found = {name: self.learnable(strategy, name) for name in self.attributes}
        target = self.targets[0].id
        return [
            Skipped(f"{strategy.name} on {attribute_id(target, name)}", reason)
            for name, reason in found.items()
            if reason is not None
        ]

    def without_source(self) -> list[Skipped]:
        """Name the attributes for which none of the sources can be used."""
        reason = "no source can be used: trained without"
        return [
            Skipped(attribute_id(self.targets[0].id, name), reason)
            for name in self.attributes
            if self.config.sources and not self.choice.of((name,))
        ]

    def cells(
        self, strategy: JointStrategy, size: int | None, seed: int, fold: Target
    ) -> list[Cell]:
        alone = [(name,) for name in self.attributes if self.learnable(strategy, name) is None]
        groups = [self.attributes] if strategy.together else alone
        return [self._cell(strategy, names, size, seed, fold) for names in groups]

    def learnable(self, strategy: JointStrategy, name: str) -> str | None:
        """Return why a strategy that trains alone cannot learn an attribute; None if it can."""
        if strategy.wants_sources and not self.sources(strategy, (name,)):
            return "no source can be used for it"
        try:
            strategy.check_tasks([self.targets[0].attributes[name]])
        except ValidationError as error:
            return str(error)
        return None

    def _cell(
        self,
        strategy: JointStrategy,
        names: tuple[str, ...],
        size: int | None,
        seed: int,
        fold: Target,
    ) -> Cell:
        sources = self.sources(strategy, names)
        settings = strategy.settings(self.config.transfer)
        if strategy.together:
            settings["together"] = {
                name: [self._hash(name), self._cap(name, size)] for name in names
            }
        if any(map(reads_unlabelled, strategy.name.split(":"))):
            settings["unlabelled"] = self._unlabelled(names)
        if strategy.wants_sources:
            settings["sources"] = [self._source(entry) for entry in sources]
        starts = strategy.uses_source and not strategy.wants_sources and sources
        start = sources[0] if starts else None
        return Cell(
            strategy=strategy.name,
            size=size,
            keys=tuple(
                self._key(strategy.name, name, settings, start, size, seed, fold.fold)
                for name in names
            ),
            sources=tuple(entry.id for entry in sources) if strategy.wants_sources else (),
        )

    def _key(
        self,
        strategy: str,
        name: str,
        settings: Mapping[str, Any],
        start: PoolEntry | None,
        size: int | None,
        seed: int,
        fold: int | None,
    ) -> RunKey:
        return RunKey(
            target=self.targets[0].id,
            attribute=name,
            target_hash=self._hash(name),
            base=self.base.content_hash(),
            max_chunks=self.base.max_chunks,
            source=NO_TRANSFER if start is None else start.id,
            source_hash=None if start is None else source_hash(start),
            source_seed=None if start is None else start.record.fine_tune.seed,
            delta=None if start is None else source_start(start, retrain=self.config.retrain),
            strategy=strategy,
            transfer=settings,
            max_train=self._cap(name, size),
            seed=seed,
            fold=fold,
        )

    def _source(self, entry: PoolEntry) -> list[str]:
        """Return what determines a source and the weights that its tuning left."""
        delta = source_start(entry, retrain=self.config.retrain)
        return [entry.id, source_hash(entry), *([] if delta is None else [delta])]

    def _unlabelled(self, names: Sequence[str]) -> str:
        """Return a hash of the texts without labels, which decide what some strategies learn."""
        texts = [fold.attributes[name].unlabelled for fold in self.targets for name in names]
        return content_hash([hash_texts(one.texts, one.pairs) for one in texts])

    def _hash(self, name: str) -> str:
        return joint_hash([fold.attributes[name] for fold in self.targets])

    def _cap(self, name: str, size: int | None) -> int | None:
        """Return the number of rows if it leaves any out: else all it is, whatever was asked."""
        most = max(len(fold.attributes[name].train) for fold in self.targets)
        return None if size is None or size >= most else size
