"""How the learning rate goes over the steps of a training: multiples of its highest value."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

Schedule = Callable[[int, int], float]
"""From the number of a step, counted from 0, and that of all steps to a multiple in [0, 1]."""


def linear(warmup_fraction: float) -> Schedule:
    """Return a rise from 0 over the first steps and a fall to 0 over the rest.

    Args:
        warmup_fraction: Share of the steps that the rise takes, rounded up.

    Example:
        >>> [linear(0.5)(step, 4) for step in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def multiple(step: int, steps: int) -> float:
        warmup = math.ceil(warmup_fraction * steps)
        if step < warmup:
            return step / warmup
        return max(0.0, (steps - step) / max(1, steps - warmup))

    return multiple


def slanted_triangular(cut_fraction: float = 0.1, ratio: float = 32.0) -> Schedule:
    """Return a short rise and a long fall between 1 / ratio and 1.

    Args:
        cut_fraction: Share of the steps that the rise takes.
        ratio: How much smaller the lowest learning rate is than the highest.

    Source:
        Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification",
        equation 3, with its defaults.
    """

    def multiple(step: int, steps: int) -> float:
        cut = max(1, math.floor(steps * cut_fraction))
        falling = 1 - (step - cut) / (cut * (1 / cut_fraction - 1))
        share = step / cut if step < cut else falling
        return (1 + max(0.0, share) * (ratio - 1)) / ratio

    return multiple


Stages = Callable[[int], Collection[str]]
"""From the number of an epoch, counted from 0, to the names of the parameters trained in it."""


@dataclass(frozen=True)
class Pace:
    """How a training differs from one rate for all weights, warmed up and let down linearly.

    Attributes:
        rates: Multiples of the learning rate by names of parameters; 1 for all others.
        schedule: How the rates go over the steps; None for the linear one.
        stages: What is trained in each epoch; None for all that require a gradient.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    schedule: Schedule | None = None
    stages: Stages | None = None


def split_by_rate(
    optimizer: torch.optim.Optimizer, model: nn.Module, rates: Mapping[str, float]
) -> None:
    """Take an optimiser's groups apart, in place, so that parameters of one rate are together.

    Args:
        optimizer: It has made no step yet; what else its groups say, such as weight decay, stays.
        model: The model whose parameters it trains.
        rates: Multiples of the learning rate by names of parameters; 1 for all others.
    """
    multiples = {
        id(parameter): rates.get(name, 1.0) for name, parameter in model.named_parameters()
    }
    whole = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for group in whole:
        for rate in sorted({multiples[id(parameter)] for parameter in group["params"]}):
            chosen = [each for each in group["params"] if multiples[id(each)] == rate]
            optimizer.add_param_group({**group, "params": chosen, "lr": rate * group["lr"]})


class Unfreezing(TrainerCallback):
    """Before each epoch, let its parameters be trained and freeze the others.

    Args:
        model: The model; parameters without a gradient now are never touched.
        stages: What is trained in each epoch.
    """

    def __init__(self, model: nn.Module, stages: Stages) -> None:
        self._parameters = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self._stages = stages

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Freeze and unfreeze."""
        names = self._stages(round(state.epoch or 0))
        for name, parameter in self._parameters:
            parameter.requires_grad_(name in names)
