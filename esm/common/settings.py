"""What a run is told: which base model, how to fine-tune, how to transfer.

These records are written into pools, rankings and ledgers, so they are read without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import Field
from pydantic import ValidationError as PydanticError

from esm.common.errors import SettingError
from esm.common.records import AnyRecord, Record
from esm.common.runtime import Precision
from esm.common.storage import content_hash

OFFLINE = "offline"


class Pooling(StrEnum):
    """How the hidden states of a text's tokens become its embedding."""

    MEAN = "mean"
    CLS = "cls"
    POOLER = "pooler"
    LAST = "last"


class EncoderConfig(Record):
    """Which encoder to load and how to read texts with it.

    Attributes:
        model: ``"offline"`` for the packaged encoder (all-MiniLM-L6-v2), a folder, or a Hub id.
        revision: Hub revision; a commit hash pins the weights.
        pooling: None takes what the model declares, else the default of its architecture.
        max_length: Most tokens of one input of the model, special tokens included; fewer where the
            model takes fewer.
        max_chunks: A longer text is read in overlapping windows, at most so many; 1 keeps its
            beginning alone. Costs a forward pass per window, in training too.
        stride: Tokens that neighbouring windows share; half a window at most.
        precision: Number format of the forward pass; weights and embeddings stay float32.
    """

    model: str = OFFLINE
    revision: str | None = None
    pooling: Pooling | None = None
    max_length: int = Field(default=256, ge=8)
    max_chunks: int = Field(default=1, ge=1)
    stride: int = Field(default=32, ge=0)
    precision: Precision = Precision.FLOAT32


class BaseIdentity(Record):
    """What decides the embeddings: maps and caches hold only for the encoder they were made with.

    Attributes:
        model: As the user named it; two names of the same weights are the same encoder.
        weights: SHA-256 over names, shapes and bytes of the weights; None where maps were made
            elsewhere, for a model that is known by its name only.
        pooling: How tokens become one vector.
        max_length: Most tokens of one input of the model.
        max_chunks: Most windows in which a longer text is read.
        stride: Tokens that neighbouring windows share.
        precision: Number format of the forward pass.
        width: d, the embedding width.
        num_layers: Layers of the encoder.
    """

    model: str
    weights: str | None
    pooling: Pooling
    max_length: int
    max_chunks: int = 1
    stride: int = 32
    precision: Precision
    width: int
    num_layers: int

    @property
    def reading(self) -> str:
        """How much of a text is read, in words."""
        chunks = "" if self.max_chunks == 1 else f"{self.max_chunks} chunks of "
        return f"{chunks}{self.max_length} tokens"

    def content_hash(self) -> str:
        """Return a hash of everything but the name."""
        return content_hash(self.model_dump(mode="json", exclude={"model"}))


class ClassWeights(StrEnum):
    """Whether rare classes count more in training.

    BALANCED gives all classes the same total weight, AUTO does so where the task's metric is
    macro-F1, NONE weighs all rows the same.
    """

    AUTO = "auto"
    BALANCED = "balanced"
    NONE = "none"


class FineTuneConfig(Record):
    """Settings of one fine-tuning run: AdamW with a linear schedule, gradients clipped to norm 1.

    Attributes:
        num_epochs: Passes over the examples.
        batch_size: Examples per step.
        learning_rate: Highest learning rate, reached after the warm-up.
        warmup_fraction: Share of the steps during which the learning rate rises from 0.
        weight_decay: Decoupled weight decay; biases and layer norms have none.
        bf16: Compute the passes of the training in bfloat16 where that is faster, see
            :func:`~esm.common.runtime.has_bfloat16`; weights, gradients and loss stay float32, and
            embeddings and predictions keep the encoder's own precision.
        max_examples: How many training examples of a source task to use at most.
        class_weights: Whether rare classes count more; as published, they do not.
        seed: Seed of the sample, the head, the order of the examples and the dropout.
    """

    num_epochs: int = Field(default=2, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    bf16: bool = True
    max_examples: int = Field(default=2000, ge=1)
    class_weights: ClassWeights = ClassWeights.NONE
    seed: int = Field(default=0, ge=0)

    @classmethod
    def paper(cls, seed: int = 0) -> Self:
        """Return the published settings of Embedding Space Maps.

        Source:
            Schulte, Hamborg and Akbik 2024 (arXiv 2410.15148): BERT, AdamW, three epochs of up to
            10,000 examples.
        """
        return cls(
            num_epochs=3,
            batch_size=32,
            learning_rate=2e-5,
            warmup_fraction=0.0,
            max_examples=10_000,
            seed=seed,
        )

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return settings by name: ``default`` or ``paper``.

        Raises:
            SettingError: There is no such preset.
        """
        if name not in ("default", "paper"):
            raise SettingError(f"preset {name!r}", expected="default or paper")
        return cls.paper() if name == "paper" else cls()


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
        return checked(kind, {key.removeprefix(prefix): given[key] for key in given})


def checked(kind: type[AnyRecord], values: Mapping[str, Any]) -> AnyRecord:
    """Build settings from a user's values.

    Raises:
        SettingError: A value is out of range, of the wrong type or unknown.
    """
    try:
        return kind.model_validate(dict(values))
    except PydanticError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise SettingError(
            f"{name} = {str(problem['input'])[:60]!r}",
            expected=problem["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
        ) from error
