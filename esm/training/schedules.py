"""How the learning rate goes over the steps of a training: multiples of its highest value."""

from __future__ import annotations

import math
from collections.abc import Callable

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
