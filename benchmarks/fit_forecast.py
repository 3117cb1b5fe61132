"""Fit the forecasts of the package to the measured transfer matrix.

Slopes are fitted within targets (ridge on features and gains about their target's mean), so that
easy and hard targets do not pass for good and bad sources; the level is the mean over targets of
what is left. Everything is judged on datasets that were left out: targets of one dataset share
their texts, so they are always left out together::

    python -m benchmarks.fit_forecast
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.matrix import RESULTS, complete, mean_truth, run_noise
from esm.common.storage import write_json
from esm.metrics.rankings import NO_TRANSFER, dataset_of
from esm.scorers.forecast import Forecast, Term

Float64 = npt.NDArray[np.float64]
PACKAGE = Path(__file__).parents[1] / "esm" / "scorers" / "forecasts"
PENALTY = 50.0

# What each packaged forecast reads. Of richer sets (likeness of texts and tasks, neighbours, the
# published form, size) none was better on datasets left out.
FORECASTS = {"logme": ("logme",), "probe": ("probe",), "fused": ("logme", "probe")}


@dataclass(frozen=True)
class Cells:
    """Features and measured gains of sources on targets, row by row.

    Attributes:
        keys: Target and source of each row.
        names: Names of the features.
        features: (m, f).
        gains: (m,), points over no transfer.
    """

    keys: list[tuple[str, str]]
    names: tuple[str, ...]
    features: Float64
    gains: Float64

    @property
    def targets(self) -> npt.NDArray[np.str_]:
        """Target of each row."""
        return np.array([target for target, _ in self.keys])

    @property
    def datasets(self) -> npt.NDArray[np.str_]:
        """Dataset of each row's target."""
        return np.array([dataset_of(target) for target, _ in self.keys])

    def take(self, rows: npt.NDArray[np.bool_]) -> Cells:
        """Return some of the rows."""
        keys = [key for key, kept in zip(self.keys, rows, strict=True) if kept]
        return Cells(keys, self.names, self.features[rows], self.gains[rows])


def gather(runs: pd.DataFrame, scores: pd.DataFrame, names: Sequence[str]) -> Cells:
    """Put measured gains beside features; a cell without all features is left out.

    A feature is the gain of a selector of that name over the untouched base model where it has
    one, else its score. Gains are means over strategies of the gain under each.
    """
    stated = scores.gain.fillna(scores.score).astype(float)
    keyed = zip(scores.selector, scores.target, scores.source, strict=True)
    known = dict(zip(keyed, stated.tolist(), strict=True))
    gains: dict[tuple[str, str], list[float]] = {}
    for _, part in runs.groupby("strategy"):
        for target, performance in mean_truth(part).items():
            none = performance.get(NO_TRANSFER)
            for source, value in performance.items():
                if none is not None and source != NO_TRANSFER:
                    gains.setdefault((target, source), []).append(100 * (value - none))
    keys = [key for key in sorted(gains) if all((name, *key) in known for name in names)]
    return Cells(
        keys,
        tuple(names),
        np.array([[known[(name, *key)] for name in names] for key in keys]).reshape(len(keys), -1),
        np.array([np.mean(gains[key]) for key in keys]),
    )


def within(values: Float64, groups: npt.NDArray[np.str_]) -> Float64:
    """Return values about the mean of their group."""
    centred = values.astype(float).copy()
    for group in np.unique(groups):
        centred[groups == group] -= values[groups == group].mean(axis=0)
    return centred


def fit(cells: Cells, penalty: float = PENALTY) -> tuple[Float64, Float64, float]:
    """Return weights, centres and level."""
    features = within(cells.features, cells.targets)
    scale = features.std(axis=0)
    scale[scale == 0] = 1.0
    standard = features / scale
    gram = standard.T @ standard + penalty * np.eye(len(scale))
    weights = np.linalg.solve(gram, standard.T @ within(cells.gains, cells.targets)) / scale
    targets = np.unique(cells.targets)
    means = [
        (cells.features[cells.targets == t].mean(axis=0), cells.gains[cells.targets == t].mean())
        for t in targets
    ]
    centre = np.mean([mean for mean, _ in means], axis=0)
    level = float(np.mean([gain for _, gain in means]))
    return weights, centre, level


def left_out(cells: Cells, penalty: float = PENALTY) -> Float64:
    """Return (m,) expected gains, each from a fit without the target's dataset."""
    expected = np.full(len(cells.keys), np.nan)
    for dataset in np.unique(cells.datasets):
        rows = cells.datasets == dataset
        weights, centre, level = fit(cells.take(~rows), penalty)
        expected[rows] = level + (cells.features[rows] - centre) @ weights
    return expected


def forecast(cells: Cells, runs: pd.DataFrame, base_model: str) -> Forecast:
    """Fit to all rows; the spread is that on datasets left out."""
    weights, centre, level = fit(cells)
    spread = float(np.sqrt(np.mean(np.square(cells.gains - left_out(cells)))))
    return Forecast(
        terms=tuple(
            Term(feature=name, weight=round(float(w), 6), centre=round(float(c), 6))
            for name, w, c in zip(cells.names, weights, centre, strict=True)
        ),
        level=round(level, 4),
        spread=round(spread, 4),
        metric=str(runs.metric.iloc[0]),
        base_model=base_model,
        strategies=tuple(sorted(runs.strategy.unique())),
        targets=len(np.unique(cells.targets)),
        datasets=len(np.unique(cells.datasets)),
        sources=len({source for _, source in cells.keys}),
    )


@dataclass(frozen=True)
class Signs:
    """How often the sign of a gain is foreseen, where the gain is beyond doubt.

    Attributes:
        balanced: Mean over the two signs of the share foreseen; nan where one never occurs.
        majority: Share of the commoner sign: what is reached without looking.
        pairs: Pairs of source and target that count.
    """

    balanced: float
    majority: float
    pairs: int


def signs(cells: Cells, runs: pd.DataFrame, expected: Float64) -> Signs:
    """Judge the signs of expected gains against gains of more than twice their standard error.

    The error is that of a difference of two means, from the spread between seeds pooled by target.
    """
    variances: dict[str, list[float]] = {}
    for _, part in runs.groupby("strategy"):
        seeds = part.groupby(["target", "source"]).seed.count().mean()
        for target, noise in run_noise(part).items():
            variances.setdefault(target, []).append(2 * (100 * noise) ** 2 / seeds)
    errors = np.array([np.sqrt(np.mean(variances[t]) / len(variances[t])) for t, _ in cells.keys])
    sure = np.abs(cells.gains) > 2 * errors
    truth, said = cells.gains[sure] > 0, expected[sure] > 0
    if not sure.any():
        return Signs(float("nan"), float("nan"), 0)
    rates = [
        float((said[truth == sign] == sign).mean())
        for sign in (True, False)
        if (truth == sign).any()
    ]
    balanced = float(np.mean(rates)) if len(rates) == 2 else float("nan")
    return Signs(balanced, float(max(truth.mean(), 1 - truth.mean())), int(sure.sum()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the packaged forecasts and say how they do on datasets left out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--strategies", default="full", help="whose gains to forecast, by commas")
    options = parser.parse_args(arguments)
    runs = complete(pd.read_csv(options.results / "truth.csv"))
    runs = runs[runs.strategy.isin(options.strategies.split(","))]
    scores = pd.read_csv(options.results / "scores.csv")
    for name, features in FORECASTS.items():
        cells = gather(runs, scores, features)
        found = forecast(cells, runs, "offline")
        write_json(PACKAGE / f"{name}.json", found.model_dump(mode="json"))
        judged = signs(cells, runs, left_out(cells))
        print(
            f"{name}: {len(cells.keys)} pairs, spread {found.spread:.2f} points (gains"
            f" {cells.gains.std():.2f}); sign foreseen {100 * judged.balanced:.0f} % balanced,"
            f" majority {100 * judged.majority:.0f} %, of {judged.pairs} sure pairs"
        )


if __name__ == "__main__":
    main()
