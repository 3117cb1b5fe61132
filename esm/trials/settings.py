"""The arms of a validation, and its settings."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from esm.common.errors import ValidationError
from esm.common.records import Record
from esm.strategies.joint.registry import check_joint_name
from esm.strategies.registry import STRATEGIES, check_name, check_own
from esm.strategies.settings import TransferConfig


class Arm(StrEnum):
    """Why a source is in a validation."""

    PICK = "pick"
    NAMED = "named"
    NONE = "none"
    RANDOM = "random"
    ALL = "all"


class ValidationConfig(Record):
    """Settings of a validation.

    Attributes:
        attributes: Attributes to validate; none means all of the ranking.
        top: How many of the best-ranked sources to train with.
        sources: Further sources to train with, by id, whatever their rank.
        controls: ``none`` (no intermediate task), ``random`` (other sources), ``all`` (the rest).
        random_sources: How many random sources per attribute.
        control_seed: Seed of their choice.
        seeds: Runs per arm; what a seed varies, the strategy says.
        source_seeds: Training seeds of the intermediate stage, taken in turns by the runs of an
            arm; 1 keeps the pool's. It has to divide ``seeds``, so that each is used as often.
        strategy: How to train on the attribute.
        transfer: Settings of the strategy.
        max_train: Train on at most so many rows of an attribute: one stratified sample, the same
            for every arm and seed.
        retrain: Fine-tune the sources again, from their data, instead of starting from their
            deltas.
    """

    attributes: tuple[str, ...] = ()
    top: int = Field(default=3, ge=1)
    sources: tuple[str, ...] = ()
    controls: tuple[Arm, ...] = (Arm.NONE, Arm.RANDOM)
    random_sources: int = Field(default=2, ge=1)
    control_seed: int = Field(default=0, ge=0)
    seeds: int = Field(default=3, ge=1)
    source_seeds: int = Field(default=1, ge=1)
    strategy: str = STRATEGIES[0]
    transfer: TransferConfig = Field(default_factory=TransferConfig)
    max_train: int | None = Field(default=None, ge=2)
    retrain: bool = False

    @property
    def trains_sources(self) -> bool:
        """Whether sources are fine-tuned again: a delta is of one seed only."""
        return self.retrain or self.source_seeds > 1

    @field_validator("controls")
    @classmethod
    def _controls_are_no_picks(cls, controls: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if Arm.PICK in controls or Arm.NAMED in controls:
            raise ValueError("picks are no controls; choose from none, random, all")
        return controls

    @field_validator("strategy")
    @classmethod
    def _strategy_exists(cls, name: str) -> str:
        try:
            check_name(name)
        except ValidationError as error:
            raise ValueError(error.expected) from error
        return name

    @model_validator(mode="after")
    def _source_seeds_divide_seeds(self) -> ValidationConfig:
        if self.seeds % self.source_seeds:
            raise ValueError(
                f"{self.source_seeds} source seeds do not divide {self.seeds} seeds;"
                " every source seed has to be used equally often"
            )
        return self


AUTO = "auto"
"""In place of the name of a source: the best-ranked ones."""

DEFAULT_STRATEGIES = ("features", "houlsby", "full", "multitask")


class ComparisonConfig(Record):
    """Settings of a comparison.

    Attributes:
        strategies: Names of strategies, with their variants: the columns.
        attributes: Attributes to compare on; none means all of the target.
        sources: Ids of sources, the most promising first; ``auto`` alone takes them from a
            ranking; none trains without a source.
        top: How many of the best-ranked sources a strategy gets that makes use of several. Others
            start from the first one.
        seeds: Runs per strategy, size and fold.
        examples: Numbers of training rows per attribute; None stands for all. The largest is what
            strategies are compared at, the others are a learning curve.
        max_train: All means at most so many.
        transfer: Settings that strategies share.
        retrain: Fine-tune the sources again, from their data, instead of starting from their
            deltas.
    """

    strategies: tuple[str, ...] = DEFAULT_STRATEGIES
    attributes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    top: int = Field(default=3, ge=1)
    seeds: int = Field(default=3, ge=1)
    examples: tuple[int | None, ...] = (None,)
    max_train: int | None = Field(default=None, ge=2)
    transfer: TransferConfig = Field(default_factory=TransferConfig)
    retrain: bool = False

    @field_validator("strategies")
    @classmethod
    def _strategies_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            check_joint_name(name)  # its error is a ValueError, which pydantic reports
        if not names or len(set(names)) < len(names):
            raise ValueError("each strategy once, and at least one")
        return names

    @field_validator("examples")
    @classmethod
    def _enough_examples(cls, sizes: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if not sizes or any(size is not None and size < 2 for size in sizes):
            raise ValueError("numbers of training rows from 2 on, or all")
        return sizes

    @model_validator(mode="after")
    def _auto_stands_alone(self) -> ComparisonConfig:
        if AUTO in self.sources and len(self.sources) > 1:
            raise ValueError("auto, or names of sources, not both")
        return self

    @model_validator(mode="after")
    def _own_settings_are_of_these_strategies(self) -> ComparisonConfig:
        used = {name.partition(":")[0] for name in self.strategies}
        members = {word for name in self.strategies for word in name.split(":")[1:]}
        check_own(self.transfer.own, sorted(used | (members & set(STRATEGIES))))
        return self

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The different numbers of training rows, ascending; None for all."""
        capped = {self.max_train if size is None else size for size in self.examples}
        if self.max_train is not None:
            capped = {min(size, self.max_train) for size in capped if size is not None}
        return tuple(sorted(capped, key=lambda size: (size is None, size or 0)))
