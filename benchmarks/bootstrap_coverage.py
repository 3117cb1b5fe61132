"""Coverage of the bootstrap's 90 % intervals, by simulation.

Samples of n examples are drawn again and again from one world of d = 32 dimensions, a base model
and eight sources in it. What the intervals have to cover is the gain that such samples give on
average::

    .venv/bin/python -m benchmarks.bootstrap_coverage --repetitions 300
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from esm.ranking.intervals import bootstrap_gains
from esm.scorers.logme import fitted_precisions, logme_of_moments
from esm.scorers.moments import Moments, label_columns
from esm.scorers.predictive import leave_one_out_densities
from esm.tasks.task import Problem
from esm.training.class_weights import balance_weights

WIDTH = 32
RATIOS = (0.3, 1.0, 3.0, 10.0)
_SOURCES = 8
_NOISE = 1.5

Float64 = npt.NDArray[np.float64]


class Kind(StrEnum):
    """Labels of the simulated target; BALANCED weighs its two classes the same."""

    BINARY = "binary"
    BALANCED = "balanced"
    AMOUNTS = "amounts"


@dataclass(frozen=True)
class Coverage:
    """How often intervals cover the mean gain over fresh samples.

    Attributes:
        count: n.
        covered: Share of intervals that cover it, over all sources and repetitions.
        worst: The same of the source that fares worst.
        found: Share of samples in which the truly best source is in the first group.
    """

    count: int
    covered: float
    worst: float
    found: float


class World:
    """Embeddings whose labels depend on them and on features that sources see better or worse."""

    def __init__(self, kind: Kind, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.kind = kind
        self.mean = rng.standard_normal(WIDTH) / 2
        scales = (1 + np.arange(WIDTH)) ** -0.7
        self.scales = scales / np.sqrt(np.mean(scales**2))
        self.hidden = 1.5 * rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)
        self.linear, self.bent = rng.standard_normal((2, WIDTH)) / np.sqrt(WIDTH)
        self.maps = []
        for source in range(_SOURCES):
            seen = rng.standard_normal((WIDTH, 4)) / np.sqrt(WIDTH)
            share = source / (_SOURCES - 1)
            seen[:, 0] = (1 - share) * seen[:, 0] + share * self.bent
            self.maps.append((rng.uniform(0.7, 1.0), seen @ rng.standard_normal((4, WIDTH))))

    def sample(self, count: int, rng: np.random.Generator) -> tuple[list[Float64], Float64]:
        """Return (n, d) embeddings of the base and of every source, and (n,) labels."""
        while True:
            base = self.mean + self.scales * rng.standard_normal((count, WIDTH))
            hidden = np.tanh(base @ self.hidden)
            signal = 2 * ((base - self.mean) @ self.linear + 2 * hidden @ self.bent)
            if self.kind is Kind.AMOUNTS:
                labels = signal + _NOISE * rng.standard_normal(count)
                break
            labels = (rng.random(count) < 1 / (1 + np.exp(-signal))).astype(np.float64)
            if 1 < labels.sum() < count - 1:
                break
        return [base, *(scale * base + hidden @ lift for scale, lift in self.maps)], labels


def scored(kind: Kind, embeddings: list[Float64], labels: Float64) -> tuple[Float64, Float64]:
    """Return (m,) gains and (n, m) shares of the examples in them, as a ranking computes both."""
    problem = Problem.REGRESSION if kind is Kind.AMOUNTS else Problem.CLASSIFICATION
    columns = label_columns(problem, labels if kind is Kind.AMOUNTS else labels.astype(np.int64), 2)
    weights = balance_weights(labels) if kind is Kind.BALANCED else None
    scores, shares = [], []
    for rows in embeddings:
        moments = Moments.of(rows, None, columns, weights).identity()
        scores.append(logme_of_moments(moments))
        shares.append(leave_one_out_densities(rows, columns, fitted_precisions(moments), weights))
    found, parts = np.array(scores), np.array(shares).T
    return found[1:] - found[0], parts[:, 1:] - parts[:, :1]


def samples(
    world: World, count: int, repetitions: int
) -> Iterator[tuple[Float64, Float64, Float64]]:
    """Yield gains, shares and labels of fresh samples."""
    for repetition in range(repetitions):
        embeddings, labels = world.sample(count, np.random.default_rng([repetition, count]))
        yield *scored(world.kind, embeddings, labels), labels


def coverage(kind: Kind, ratio: float, repetitions: int, draws: int = 400) -> Coverage:
    """Simulate samples of n = ratio d examples and count what their intervals cover."""
    world, count = World(kind, seed=0), round(ratio * WIDTH)
    gains, low, high, first = [], [], [], []
    for repetition, (gain, shares, labels) in enumerate(samples(world, count, repetitions)):
        strata = labels if kind is Kind.BALANCED else None
        found = bootstrap_gains(shares, gain, draws=draws, seed=repetition, strata=strata)
        gains.append(gain)
        low.append(found.low)
        high.append(found.high)
        first.append(found.group == 1)
    truth = np.mean(gains, axis=0)
    covered = (np.array(low) <= truth) & (truth <= np.array(high))
    return Coverage(
        count=count,
        covered=float(covered.mean()),
        worst=float(covered.mean(axis=0).min()),
        found=float(np.array(first)[:, truth.argmax()].mean()),
    )


def main() -> None:
    """Print coverage for every kind of labels and n / d."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=300)
    repetitions = parser.parse_args().repetitions
    print(f"d = {WIDTH}, {_SOURCES} sources, {repetitions} samples; 90 % intervals cover, in %:")
    print(f"{'labels':10}{'n / d':>6}{'n':>6}{'covered':>9}{'worst':>7}{'best in group 1':>17}")
    for kind in Kind:
        for ratio in RATIOS:
            found = coverage(kind, ratio, repetitions)
            print(
                f"{kind:10}{ratio:6g}{found.count:6}{100 * found.covered:9.1f}"
                f"{100 * found.worst:7.1f}{100 * found.found:17.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
