"""The arms of a validation, and its settings."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from esm.common.errors import ValidationError
from esm.common.records import Record
from esm.strategies.registry import STRATEGIES, check_name, check_own, check_single
from esm.strategies.settings import TransferConfig


class Arm(StrEnum):
    """Why a source is in a validation."""

    PICK = "pick"
    NAMED = "named"
    NONE = "none"
    RANDOM = "random"
    ALL = "all"


class TrialConfig(Record):
    """Settings that validations and comparisons share.

    Attributes:
        attributes: Attributes to train on; none means all.
        seeds: Runs of each kind; what a seed varies, the strategy says.
        examples: Numbers of training rows per attribute; None stands for all. The largest is what
            is compared at, the others are a learning curve.
        max_train: All means at most so many: one stratified sample, the same for every run.
        transfer: Settings that strategies share.
        retrain: Fine-tune the sources again, from their data, instead of starting from their
            deltas.
    """

    attributes: tuple[str, ...] = ()
    seeds: int = Field(default=3, ge=1)
    examples: tuple[int | None, ...] = (None,)
    max_train: int | None = Field(default=None, ge=2)
    transfer: TransferConfig = Field(default_factory=TransferConfig)
    retrain: bool = False

    @field_validator("attributes")
    @classmethod
    def _attributes_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"attribute {', '.join(twice)} twice; each once")
        return names

    @field_validator("examples")
    @classmethod
    def _enough_examples(cls, sizes: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if not sizes or any(size is not None and size < 2 for size in sizes):
            raise ValueError("numbers of training rows from 2 on, or all")
        return sizes

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The different numbers of training rows, ascending; None for all."""
        capped = {self.max_train if size is None else size for size in self.examples}
        if self.max_train is not None:
            capped = {min(size, self.max_train) for size in capped if size is not None}
        return tuple(sorted(capped, key=lambda size: (size is None, size or 0)))


class ValidationConfig(TrialConfig):
    """Settings of a validation.

    Attributes:
        top: How many of the best-ranked sources to train with.
        sources: Further sources to train with, by id, whatever their rank.
        controls: ``none`` (no intermediate task), ``random`` (other sources), ``all`` (the rest).
        random_sources: How many random sources per attribute.
        control_seed: Seed of their choice.
        source_seeds: Training seeds of the intermediate stage, taken in turns by the runs of an
            arm; 1 keeps the pool's. It has to divide ``seeds``, so that each is used as often.
        strategy: How to train on the attribute.
    """

    top: int = Field(default=3, ge=1)
    sources: tuple[str, ...] = ()
    controls: tuple[Arm, ...] = (Arm.NONE, Arm.RANDOM)
    random_sources: int = Field(default=2, ge=1)
    control_seed: int = Field(default=0, ge=0)
    source_seeds: int = Field(default=1, ge=1)
    strategy: str = STRATEGIES[0]

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
            check_single(name)
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

    @property
    def strategies(self) -> tuple[str, ...]:
        """The one strategy, as a comparison names its own."""
        return (self.strategy,)


AUTO = "auto"
"""In place of the name of a source: the best-ranked ones."""

DEFAULT_STRATEGIES = ("features", "houlsby", "full", "multitask")


class ComparisonConfig(TrialConfig):
    """Settings of a comparison.

    Attributes:
        strategies: Names of strategies, with their variants: the columns.
        sources: Ids of sources, the most promising first; ``auto`` alone takes them from a
            ranking; none trains without a source.
        top: How many of the best-ranked sources a strategy gets that makes use of several. Others
            start from the first one.
    """

    strategies: tuple[str, ...] = DEFAULT_STRATEGIES
    sources: tuple[str, ...] = ()
    top: int = Field(default=3, ge=1)

    @field_validator("strategies")
    @classmethod
    def _strategies_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            check_name(name)  # its error is a ValueError, which pydantic reports
        if not names or len(set(names)) < len(names):
            raise ValueError("each strategy once, and at least one")
        return names

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
