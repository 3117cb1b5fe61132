"""The arms of a validation, and its settings."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from esm.common.errors import ValidationError
from esm.common.records import Record
from esm.common.settings import TransferConfig
from esm.strategies.registry import STRATEGIES, check_name


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
