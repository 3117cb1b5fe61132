"""How one training run is set: passes, batches, learning rate, weights of classes."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field

from esm.common.errors import SettingError
from esm.common.records import Record


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
