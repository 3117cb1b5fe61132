"""What a comparison will run: trials over strategies, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esm.common.errors import EncoderError, TaskError, ValidationError
from esm.encoder.settings import BaseIdentity
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import PoolEntry, Skipped
from esm.strategies.protocol import Strategy
from esm.strategies.registry import reads_unlabelled, strategy
from esm.tasks.raw import attribute_id
from esm.tasks.task import Problem, SplitName, Target, joint_hash
from esm.trials.encoders import source_hash, source_start, tuned_key
from esm.trials.ledger import RunKey
from esm.trials.plan import unlabelled_hash
from esm.trials.settings import ComparisonConfig
from esm.trials.sources import Choice
from esm.trials.trial import Plan, Trial, describe_rows

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


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
    pool: str = "",
) -> Plan:
    """Plan the trials: the largest size first, and of each size one seed of all strategies.

    Two sizes that mean the same rows are the same trial.

    Args:
        targets: The target, in all its folds.
        config: Settings.
        base: Identity of the base model.
        choice: The sources.
        attributes: Names of the attributes, all with test rows.
        skipped: What was left out before.
        architecture: Configuration of the base model; a strategy that cannot train it is left out.
        pool: Folder of the pool; empty without one.

    Raises:
        ValidationError: There is nothing to run.
    """
    planner = _Planner(targets, config, base, choice, tuple(attributes), architecture)
    columns: list[Strategy] = []
    left_out = [*skipped, *choice.skipped, *planner.without_source()]
    left_out += planner.corpora([strategy(name) for name in config.strategies])
    for name in config.strategies:
        found = strategy(name)
        reason = planner.refusal(found)
        if reason is None:
            columns.append(found)
            left_out += planner.unlearnable(found)
        else:
            left_out.append(Skipped(name, reason))
    trials: dict[str, Trial] = {}
    same: dict[str, tuple[int | None, ...]] = {}
    for size in reversed(config.sizes):
        for seed in range(config.seeds):
            for fold in targets:
                for column in columns:
                    for trial in planner.trials(column, size, seed, fold):
                        if trials.setdefault(trial.id, trial) is not trial:
                            same[trial.id] = (*same.get(trial.id, ()), size)
    entries = {
        entry.id: entry
        for found in (*choice.by_attribute.values(), choice.together)
        for entry in found
    }
    return Plan(
        target=targets[0].id,
        config=config,
        base=base,
        trials=tuple(trials.values()),
        skipped=tuple(left_out),
        pool=pool,
        entries=entries,
        source_seconds={
            source: entry.record.seconds.get("fine_tune", 0.0) for source, entry in entries.items()
        },
        same=same,
        **describe_rows(targets, attributes, config.sizes[-1]),
    )


@dataclass(frozen=True)
class _Planner:
    targets: Sequence[Target]
    config: ComparisonConfig
    base: BaseIdentity
    choice: Choice
    attributes: tuple[str, ...]
    architecture: PreTrainedConfig | None

    def refusal(self, strategy: Strategy) -> str | None:
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

    def sources(self, strategy: Strategy, names: Sequence[str]) -> tuple[PoolEntry, ...]:
        """Return the sources of a strategy: no corpora for one that learns what sources learn."""
        found = self.choice.of(names)
        if not (strategy.wants_sources and strategy.learns_sources):
            return found
        return tuple(entry for entry in found if entry.record.problem is not Problem.CORPUS)

    def corpora(self, strategies: Sequence[Strategy]) -> list[Skipped]:
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

    def unlearnable(self, strategy: Strategy) -> list[Skipped]:
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

    def trials(self, strategy: Strategy, size: int | None, seed: int, fold: Target) -> list[Trial]:
        alone = [(name,) for name in self.attributes if self.learnable(strategy, name) is None]
        groups = [self.attributes] if strategy.together else alone
        return [self._trial(strategy, names, size, seed, fold) for names in groups]

    def learnable(self, strategy: Strategy, name: str) -> str | None:
        """Return why a strategy that trains alone cannot learn an attribute; None if it can."""
        if strategy.wants_sources and not self.sources(strategy, (name,)):
            return "no source can be used for it"
        try:
            strategy.check_tasks([self.targets[0].attributes[name]])
        except ValidationError as error:
            return str(error)
        return None

    def _trial(
        self,
        strategy: Strategy,
        names: tuple[str, ...],
        size: int | None,
        seed: int,
        fold: Target,
    ) -> Trial:
        sources = self.sources(strategy, names)
        settings = strategy.settings(self.config.transfer)
        if strategy.together:
            settings["together"] = {
                name: [self._hash(name), self._cap(name, size)] for name in names
            }
        if any(map(reads_unlabelled, strategy.name.split(":"))):
            settings["unlabelled"] = unlabelled_hash(
                fold.attributes[name] for fold in self.targets for name in names
            )
        if strategy.wants_sources:
            settings["sources"] = [self._source(entry) for entry in sources]
        starts = strategy.uses_source and not strategy.wants_sources and sources
        start = sources[0] if starts else None
        return Trial(
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
        key = RunKey(
            target=self.targets[0].id,
            attribute=name,
            target_hash=self._hash(name),
            base=self.base.content_hash(),
            max_chunks=self.base.max_chunks,
            source=NO_TRANSFER,
            source_hash=None,
            source_seed=None,
            strategy=strategy,
            transfer=settings,
            max_train=self._cap(name, size),
            seed=seed,
            fold=fold,
        )
        if start is None:
            return key
        return tuned_key(key, start, retrain=self.config.retrain)

    def _source(self, entry: PoolEntry) -> list[str]:
        """Return what determines a source and the weights that its tuning left."""
        delta = source_start(entry, retrain=self.config.retrain)
        return [entry.id, source_hash(entry), *([] if delta is None else [delta])]

    def _hash(self, name: str) -> str:
        return joint_hash([fold.attributes[name] for fold in self.targets])

    def _cap(self, name: str, size: int | None) -> int | None:
        """Return the number of rows if it leaves any out: else all it is, whatever was asked."""
        most = max(len(fold.attributes[name].train) for fold in self.targets)
        return None if size is None or size >= most else size
