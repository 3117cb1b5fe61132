"""A trial, which is one training and its judgement, and a plan of many.

A validation runs trials over sources with one strategy, a comparison over strategies; what a
trial is, and how it is run, stored and summed up, is the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from esm.common.errors import ValidationError
from esm.common.records import Record
from esm.common.storage import content_hash
from esm.encoder.settings import BaseIdentity
from esm.pool.pool import PoolEntry, Skipped
from esm.tasks.faults.labels import data_notes, untested_classes
from esm.tasks.task import Target
from esm.trials.ledger import RunKey
from esm.trials.settings import Arm, ComparisonConfig, ValidationConfig

_ID_DIGITS = 24

Group = tuple[str, tuple[str, ...], str, tuple[str, ...]]
"""Strategy, attributes, start source and further sources."""


@dataclass(frozen=True)
class Trial:
    """A strategy on an attribute, or on several together, from a start, with a seed, on a fold.

    Attributes:
        keys: What determines the outcome, one per attribute.
        sources: Ids of the sources that the strategy gets beside the encoder it starts from.
        size: Number of training rows that was asked for; None for all.
        arm: Why its source is in a validation; None in a comparison.
    """

    keys: tuple[RunKey, ...]
    sources: tuple[str, ...] = ()
    size: int | None = None
    arm: Arm | None = None

    @property
    def key(self) -> RunKey:
        """The first of its keys, of which all have strategy, start, seed and fold."""
        return self.keys[0]

    @property
    def strategy(self) -> str:
        """Name of the strategy, its variant included."""
        return self.key.strategy

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes."""
        return tuple(key.attribute for key in self.keys)

    @property
    def attribute(self) -> str:
        """Its attribute; of several the names, for a person."""
        return ", ".join(self.attributes)

    @property
    def source(self) -> str:
        """Id of the source that the encoder was tuned on before, or ``none``."""
        return self.key.source

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.key.seed

    @property
    def fold(self) -> int | None:
        """The fold whose rows are the test rows."""
        return self.key.fold

    @property
    def group(self) -> Group:
        """What it shares with the trials of the same kind, those of other seeds and folds."""
        return self.strategy, self.attributes, self.source, self.sources

    @cached_property
    def rows(self) -> dict[str, str]:
        """Keys of its rows in the ledger, by attribute."""
        return {key.attribute: key.content_hash() for key in self.keys}

    @cached_property
    def id(self) -> str:
        """Under which its results are kept."""
        return content_hash(list(self.rows.values()))[:_ID_DIGITS]

    @property
    def former_id(self) -> str:
        """Under which an earlier version of validations kept the model."""
        return self.key.content_hash()[:_ID_DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        why = {} if self.arm is None else {"attribute": self.attribute, "arm": self.arm}
        return why | {
            "strategy": self.strategy,
            "attributes": list(self.attributes),
            "examples": self.size,
            "source": self.source,
            "source_seed": self.key.source_seed,
            "sources": list(self.sources),
            "seed": self.seed,
            "fold": self.fold,
        }


class LeftOut(Record):
    """Trials of one kind that are not made for want of time.

    Attributes:
        attribute: Name of the attribute; of several that are trained together, by commas.
        arm: Why they would have been run; None in a comparison.
        source: Id of the start source, or ``none``.
        strategy: Name of the strategy; empty in results of earlier versions.
        runs: How many; finished ones are not among them.
        seconds: About how long they would take, the source's fine-tuning included where no other
            trial needs it.
        reason: What they did not fit into.
    """

    attribute: str
    arm: Arm | None = None
    source: str
    strategy: str = ""
    runs: int
    seconds: float
    reason: str


@dataclass(frozen=True)
class Plan:
    """All trials of a validation or a comparison.

    Attributes:
        target: Id of the target.
        config: Settings.
        base: Identity of the base model.
        trials: In the order of execution, each once, see :mod:`esm.trials.plan` and
            :mod:`esm.trials.plan_strategies`.
        num_train: Training rows used at the largest size, by attribute; of folds the mean, rounded.
        num_test: Test rows, by attribute; of folds the mean, rounded.
        label_names: Names of the classes, by attribute.
        untested: Classes that no test row has, by attribute.
        data_notes: What results have to say of the rows that they rest on, by attribute.
        skipped: Attributes, sources and strategies that were left out, with the reason.
        pool: Folder of the pool that sources are taken from; empty without one.
        entries: The pool's entries of the sources, by id.
        source_seconds: Seconds that fine-tuning on each source took for the pool.
        folds: How often the target is split; 0 for one fixed split.
        test_to_train: Test rows per training row of the split, by attribute; of folds the mean.
        left_out: What is not run for want of time; see :mod:`esm.trials.budget`.
        same: Trials that stand for others too, which ask for more rows than there are: their ids
            and sizes.
    """

    target: str
    config: ValidationConfig | ComparisonConfig
    base: BaseIdentity
    trials: tuple[Trial, ...]
    num_train: Mapping[str, int]
    num_test: Mapping[str, int]
    label_names: Mapping[str, tuple[str, ...]]
    skipped: tuple[Skipped, ...]
    pool: str
    entries: Mapping[str, PoolEntry] = field(default_factory=dict)
    source_seconds: Mapping[str, float] = field(default_factory=dict)
    folds: int = 0
    test_to_train: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    untested: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    data_notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    same: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.trials:
            reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in self.skipped[:3])
            verb, least = (
                ("compare", "one strategy that can be run")
                if self.is_comparison
                else ("run", "one attribute with a source or a control")
            )
            raise ValidationError(
                f"there is nothing to {verb} for {self.target} ({reasons or 'no attribute'})",
                expected=f"at least {least}",
            )

    @property
    def is_comparison(self) -> bool:
        """Whether strategies are compared, and not sources."""
        return isinstance(self.config, ComparisonConfig)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes."""
        return tuple(self.num_train)

    @property
    def largest(self) -> int | None:
        """The size at which trials are compared."""
        return self.config.sizes[-1]

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies that are run, in the order in which they were named."""
        run = {trial.strategy for trial in self.trials}
        return tuple(name for name in self.config.strategies if name in run)

    def rows_used(self, attribute: str, size: int | None) -> int:
        """Return how many training rows of an attribute a size stands for."""
        there = self.num_train[attribute]
        return there if size is None else min(size, there)

    def of_size(self, size: int | None) -> list[Trial]:
        """Return the trials of a size, those included that another size stands for."""
        return [
            trial
            for trial in self.trials
            if trial.size == size or size in self.same.get(trial.id, ())
        ]


def describe_rows(
    targets: Sequence[Target], names: Sequence[str], largest: int | None
) -> dict[str, Any]:
    """Return what a plan tells of a target's rows, by the names of its fields."""
    tasks = {name: [fold.attributes[name] for fold in targets] for name in names}

    def used(available: int) -> int:
        return available if largest is None else min(available, largest)

    return {
        "num_train": {
            n: round(np.mean([used(len(one.train)) for one in f])) for n, f in tasks.items()
        },
        "num_test": {n: round(np.mean([len(one.test) for one in f])) for n, f in tasks.items()},
        "label_names": {n: f[0].label_names for n, f in tasks.items()},
        "untested": untested_classes(targets),
        "data_notes": data_notes(targets),
        "folds": len(targets) if targets[0].fold is not None else 0,
        "test_to_train": {
            n: float(np.mean([len(one.test) / len(one.train) for one in f]))
            for n, f in tasks.items()
        },
    }
