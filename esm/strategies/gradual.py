"""Gradual unfreezing (Howard and Ruder 2018): from the head down, lower layers slower."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from torch import nn

from esm.common.errors import EncoderError
from esm.common.records import Record
from esm.encoder.encoder import Encoder
from esm.strategies.settings import TransferConfig
from esm.strategies.tuning import Tuned, Tuning
from esm.tasks.task import Examples, Outputs
from esm.training.finetune import HeadedEncoder, train
from esm.training.layers.bottlenecks import freeze_all_but
from esm.training.schedules import Pace, slanted_triangular
from esm.training.settings import FineTuneConfig
from esm.training.state import State

DEFAULT = FineTuneConfig(num_epochs=15, batch_size=16, learning_rate=1e-3)

Group = frozenset[str]

# Parameters outside of the layers that come before them: all others there come after the last.
_BELOW = re.compile(r"embed|wte|wpe|relative_attention_bias")


class GradualSettings(Record):
    """What gradual unfreezing alone can be told.

    Attributes:
        decay: By what the learning rate is divided from each layer to the one below.
        cut_fraction: Share of the steps in which the rates rise.
        ratio: How much smaller the lowest rates are than the highest.
    """

    decay: float = Field(default=2.6, ge=1, allow_inf_nan=False)
    cut_fraction: float = Field(default=0.1, gt=0, lt=1)
    ratio: float = Field(default=32.0, ge=1, allow_inf_nan=False)


class Gradual(Tuning):
    """Train the head for an epoch, then also the last layer, then also the one before, and so on.

    With fewer epochs than there are layers the lowest ones stay as they are; the result says so.

    Source:
        Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification",
        section 3: discriminative rates with the factor 2.6, slanted triangular rates with
        cut_frac 0.1 and ratio 32, one more layer per epoch. Their highest rate, 0.01, is one for
        recurrent networks; 0.001 is one for the head of a Transformer.
    """

    name = "gradual"
    default = DEFAULT

    def own(self, config: TransferConfig) -> dict[str, Any]:
        """Return the shape of the rates."""
        own = config.own_settings(self.name, GradualSettings)
        return {f"{self.name}.{name}": value for name, value in own.model_dump().items()}

    def own_of(self, encoder: Encoder, task: Outputs, state: State) -> dict[str, Any]:
        """Return how many groups of layers were trained."""
        found = {name for name in state if name.startswith("encoder.")}
        groups = layer_groups(encoder.model)
        for count in range(len(groups) + 1):
            if found == {f"encoder.{name}" for name in frozenset().union(*groups[:count])}:
                return {"groups": count}
        raise EncoderError(
            f"the trained weights of {task.id} are not those of its upper layers",
            expected="all weights of some layers, from the last one down",
            hint="esm validate again, with the same base model",
        )

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Let everything be trained, or what was trained: so many groups from the top."""
        model = HeadedEncoder(encoder, task)
        if "groups" in own:
            groups = layer_groups(model.backbone)[: own["groups"]]
            freeze_all_but(model.backbone, frozenset().union(*groups))
        return model

    def tune(
        self,
        model: HeadedEncoder,
        rows: Examples,
        config: FineTuneConfig,
        own: Mapping[str, Any],
        *,
        weighs: bool,
    ) -> Tuned:
        """Train by stages; say how far down it went."""
        groups = model_groups(model)
        pace = Pace(
            rates={
                name: float(own["gradual.decay"]) ** -depth
                for depth, group in enumerate(groups)
                for name in group
            },
            schedule=slanted_triangular(own["gradual.cut_fraction"], own["gradual.ratio"]),
            stages=lambda epoch: frozenset().union(*groups[: epoch + 1]),
        )
        train(model, rows, config, weighs=weighs, pace=pace)
        reached = min(config.num_epochs, len(groups))
        if reached == len(groups):
            return Tuned()
        below = len(groups) - 1
        return Tuned((f"the head and {reached - 1} of {below} groups of layers were trained",))


def layer_groups(model: nn.Module) -> Sequence[Group]:
    """Return the names of an encoder's parameters by layer, the last layer first.

    What follows the last layer belongs to it; embeddings make the last group.
    """
    by_layer: dict[int, set[str]] = {}
    for name, _ in model.named_parameters():
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        by_layer.setdefault(_depth(name, number), set()).add(name)
    after = by_layer.pop(_AFTER, set())
    numbers = sorted(by_layer, reverse=True)
    by_layer[numbers[0]] |= after
    return [frozenset(by_layer[number]) for number in numbers]


_BEFORE, _AFTER = -1, 10**6


def _depth(name: str, number: int | None) -> int:
    if number is not None:
        return number
    return _BEFORE if _BELOW.search(name) else _AFTER


def model_groups(model: HeadedEncoder) -> Sequence[Group]:
    """Return the names of a model's parameters by group: the head, then the layers downwards."""
    head = frozenset(f"head.{name}" for name, _ in model.head.named_parameters())
    return [
        head,
        *(
            frozenset(f"backbone.{name}" for name in group)
            for group in layer_groups(model.backbone)
        ),
    ]
