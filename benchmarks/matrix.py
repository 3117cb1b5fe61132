"""The measured transfer matrix: means over seeds, noise, what of it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esm.metrics.rankings import NO_TRANSFER, dataset_of

RESULTS = Path(__file__).with_name("results")
KS = (1, 3, 5)


@dataclass(frozen=True)
class Estimate:
    """A mean over targets and its standard error, clustered by dataset."""

    mean: float
    error: float


def clustered(values: Mapping[str, float]) -> Estimate:
    """Return the mean over targets with an error that allows for dependence within a dataset.

    The sandwich estimator with the usual G / (G - 1) for G datasets; nan for a single dataset.
    """
    numbers = np.array(list(values.values()))
    mean = numbers.mean()
    sums: dict[str, float] = {}
    for target, value in values.items():
        sums[dataset_of(target)] = sums.get(dataset_of(target), 0.0) + value - mean
    groups = len(sums)
    if groups < 2:
        return Estimate(float(mean), float("nan"))
    spread = sum(total**2 for total in sums.values()) * groups / (groups - 1)
    return Estimate(float(mean), float(np.sqrt(spread) / len(numbers)))


def mean_truth(runs: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the mean performance over seeds, by target and source."""
    means = runs.groupby(["target", "source"]).value.mean().reset_index()
    truth: dict[str, dict[str, float]] = {}
    for target, source, value in zip(means.target, means.source, means.value, strict=True):
        truth.setdefault(str(target), {})[str(source)] = float(value)
    return truth


def run_noise(runs: pd.DataFrame) -> dict[str, float]:
    """Return the standard deviation between seeds of one cell, pooled by target."""
    sources = runs[runs.source != NO_TRANSFER]
    spread = sources.groupby(["target", "source"]).value.var(ddof=1)
    pooled = spread.groupby("target").mean() ** 0.5
    return {str(target): float(value) for target, value in pooled.items()}


def source_spread(runs: pd.DataFrame) -> dict[str, float]:
    """Return the standard deviation of the sources' true means by target, noise taken off."""
    found = {}
    noise = run_noise(runs)
    sources = runs[runs.source != NO_TRANSFER]
    for target, cells in sources.groupby("target"):
        means = cells.groupby("source").value.mean()
        seeds = cells.groupby("source").seed.count().mean()
        variance = means.var(ddof=1) - noise[str(target)] ** 2 / seeds
        found[str(target)] = float(np.sqrt(max(variance, 0.0)))
    return found


def complete(runs: pd.DataFrame, seeds: int = 2) -> pd.DataFrame:
    """Return the runs of sources that have all seeds, of targets with at least five such sources.

    A measurement that was cut short leaves cells with one seed, which would be noisier than
    the rest.
    """
    runs = runs[runs.source_seed.isna() | (runs.source_seed == 0)]
    counts = runs.groupby(["strategy", "target", "source"]).seed.transform("count")
    whole = runs[counts >= seeds]
    sources = whole.groupby(["strategy", "target"]).source.transform("nunique")
    return whole[sources > max(KS)]
