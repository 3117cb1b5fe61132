"""Which strategies can be told apart: a paired bootstrap over seeds and test rows, and Holm.

Two things make a difference between strategies uncertain: other test rows, and other seeds. Both
are drawn anew, rows within each fold and seeds as a whole, the same ones for all strategies, so
that what makes a row hard or a seed lucky for all of them cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from esm.common.arrays import Array, Float64
from esm.tasks.task import Task
from esm.trials.resample import counts, resampled_metric

RESAMPLES = 10_000
LEVEL = 0.05

# Resamples whose counts are in memory at once.
_AT_ONCE = 500


@dataclass(frozen=True)
class Judged:
    """A strategy's outputs on the test rows.

    Attributes:
        outputs: (n, c) by fold and seed; a system without seeds has the seed None.
    """

    outputs: Mapping[tuple[int | None, int | None], Array]

    def seeds(self) -> tuple[int | None, ...]:
        """The seeds, the same ones in every fold."""
        return tuple(dict.fromkeys(seed for _, seed in self.outputs))


def resampled_values(
    tasks: Mapping[int | None, Task],
    columns: Mapping[str, Judged],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Float64]:
    """Return the mean metric of every strategy over seeds and folds, in each resample.

    Seeds are drawn with replacement among those that all strategies with seeds have in common.

    Cost: for each run one product of (b, n) counts with (n, c²) indicators.

    Args:
        tasks: The attribute by fold.
        columns: Outputs by strategy.
        resamples: b.
        seed: Seed of the draws.

    Returns:
        (b,) by strategy; all from the same rows and seeds.

    Source:
        Owen 2007, "The pigeonhole bootstrap": resampling rows and columns of a table is a little
        too careful where both matter, and right to the first order.
    """
    generator = np.random.default_rng(seed)
    with_seeds = [set(one.seeds()) for one in columns.values() if one.seeds() != (None,)]
    common = sorted(set.intersection(*with_seeds), key=str) if with_seeds else [None]
    drawn = generator.integers(len(common), size=(resamples, len(common)))
    # (b, s): how often each seed was drawn, over their number.
    share = np.stack([np.bincount(row, minlength=len(common)) for row in drawn]) / len(common)
    values = {name: np.zeros(resamples) for name in columns}
    for fold, task in tasks.items():
        labels = task.test.labels
        for start in range(0, resamples, _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, resamples))
            rows = counts(len(labels), part.stop - part.start, generator)
            for name, judged in columns.items():
                fixed = judged.seeds() == (None,)
                for place, one in enumerate([None] if fixed else common):
                    found = resampled_metric(task, labels, judged.outputs[fold, one])(rows)
                    weight = 1.0 if fixed else share[part, place]
                    values[name][part] += weight * found / len(tasks)
    return values


def p_value(difference: Float64) -> float:
    """Return how likely a difference at least as clear is where there is none, two-sided.

    Twice the smaller share of resamples on one side of zero; resamples with no difference count
    for both sides, so that equal predictions give 1.

    Example:
        >>> p_value(np.array([0.1] * 97 + [-0.1] * 2))
        0.06
    """
    below = int((difference <= 0).sum())
    above = int((difference >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(difference)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values: below a level only where Holm's procedure rejects at it.

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, number in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * float(p_values[number])))
        adjusted[number] = highest
    return adjusted


def all_pairs(values: Mapping[str, Float64]) -> dict[frozenset[str], float]:
    """Return the adjusted p-value of every pair of strategies.

    Over all pairs, not only those with the best: which one is the best was chosen by the same
    rows, and so its comparisons are covered whichever it is.
    """
    pairs = list(combinations(values, 2))
    raw = [p_value(values[first] - values[second]) for first, second in pairs]
    return {frozenset(pair): p for pair, p in zip(pairs, holm(raw), strict=True)}
