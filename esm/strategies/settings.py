"""What transfer strategies can be told: settings that all share, and those of each."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from esm.common.errors import SettingError
from esm.common.records import AnyRecord, Record, build_settings
from esm.training.settings import ClassWeights, FineTuneConfig


class TransferConfig(Record):
    """Settings that strategies share; None leaves the choice to the strategy.

    Attributes:
        num_epochs: Passes over the training rows.
        batch_size: Examples per step.
        learning_rate: Highest learning rate.
        adapter_size: Width of the bottlenecks, for strategies with adapters.
        class_weights: Whether rare classes count more.
        bf16: See :class:`FineTuneConfig`.
        own: What strategies have settings of their own for, by names such as ``lora.rank``.
    """

    num_epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    adapter_size: int | None = Field(default=None, ge=1)
    class_weights: ClassWeights = ClassWeights.AUTO
    bf16: bool = True
    own: Mapping[str, str | int | float] = Field(default_factory=dict)

    def settings(self, default: FineTuneConfig, seed: int) -> FineTuneConfig:
        """Return a strategy's default with what is set here, and the seed, put in."""
        chosen = self.model_dump(exclude={"adapter_size", "own"}, exclude_none=True)
        return default.model_copy(update={**chosen, "seed": seed})

    def own_settings(self, name: str, kind: type[AnyRecord]) -> AnyRecord:
        """Return the settings that one strategy has for itself: its defaults and what is set here.

        Args:
            name: Name of the strategy.
            kind: What it can be told.

        Raises:
            SettingError: A value is out of range, of the wrong type or unknown.
        """
        prefix = f"{name}."
        given = {key: value for key, value in self.own.items() if key.startswith(prefix)}
        unknown = {key for key in given if key.removeprefix(prefix) not in kind.model_fields}
        if unknown:
            known = ", ".join(prefix + field for field in kind.model_fields)
            raise SettingError(
                f"{name} has no setting {min(unknown)!r}", expected=f"one of {known}"
            )
        return build_settings(kind, {key.removeprefix(prefix): given[key] for key in given})
