"""What temperatures do to log loss where the calibration rows are all decided rightly, simulated.

Classes are normal clouds of unit variance, so that the logits of the true model are known; the
simulated model's are those times a factor: 0.3 is a model that is too unsure, 1 one that knows, 2
and 4 are too sure. Drawn again and again are the calibration rows; log loss is measured on 20,000
fresh rows, as a multiple of what the model had without calibration::

    .venv/bin/python -m benchmarks.saturated_calibration --out benchmarks/results

``calibrated`` are the probabilities of :func:`esm.metrics.calibration.calibrate`, ``limited`` the
same where no class gets more than its rows support, as the confidences of ``esm predict``, and
``likelihood`` those of the temperature under which the labels are the likeliest, in [0.05, 20].
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq, minimize_scalar

from esm.metrics.calibration import (
    CalibratedOn,
    calibrate,
    is_right,
    negative_log_likelihood,
    probabilities,
    supported,
)
from esm.tasks.task import Examples, Problem

PROBLEM = Problem.CLASSIFICATION
ACCURACIES = (0.97, 0.99)
FACTORS = (0.3, 1.0, 2.0, 4.0)
CLASSES = (2, 4)
_FRESH = 20_000

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Clouds around ``distance`` on axes of their own, seen by a model with a factor."""

    classes: int
    distance: float
    factor: float = 1.0

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return labels (n,) and the model's logits (n, c)."""
        labels = rng.integers(0, self.classes, count)
        points = rng.standard_normal((count, self.classes))
        points[np.arange(count), labels] += self.distance
        return labels, self.factor * self.distance * points


def world(classes: int, accuracy: float, factor: float) -> World:
    """Return a world in which the best model has this accuracy."""

    def excess(distance: float) -> float:
        labels, logits = World(classes, distance).draw(200_000, np.random.default_rng(1))
        return float((logits.argmax(axis=1) == labels).mean()) - accuracy

    return World(classes, float(brentq(excess, 0.5, 10.0, xtol=1e-3)), factor)


def losses(place: World, rows: int, seed: int) -> tuple[bool, dict[str, float]]:
    """Return whether all calibration rows are decided rightly, and log losses on fresh rows."""
    rng = np.random.default_rng(seed)
    labels, logits = place.draw(rows, rng)
    fresh, outputs = place.draw(_FRESH, rng)
    known = Examples(tuple(map(str, range(rows))), None, labels)
    temperature = calibrate(PROBLEM, known, logits, CalibratedOn.VALIDATION).temperature

    def loss(value: float) -> float:
        return negative_log_likelihood(PROBLEM, fresh, outputs / value)

    found = minimize_scalar(
        lambda value: negative_log_likelihood(PROBLEM, labels, logits / np.exp(value)),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    right = is_right(PROBLEM, labels, probabilities(PROBLEM, logits)).all()
    return bool(right), {
        "uncalibrated": loss(1.0),
        "calibrated": loss(temperature),
        "limited": _limited(probabilities(PROBLEM, outputs, temperature), fresh, supported(rows)),
        "likelihood": loss(float(np.exp(found.x))),
    }


def _limited(chances: Float64, labels: npt.NDArray[np.int64], highest: float) -> float:
    """Return the log loss where what a class has above the highest goes to the other classes."""
    surest = chances.argmax(axis=1)
    top = chances.max(axis=1)
    above = np.clip(1.0 - top, 1e-300, None)
    scale = np.where(top > highest, (1.0 - highest) / above, 1.0)
    own = chances[np.arange(len(labels)), labels]
    limited = np.where(labels == surest, np.minimum(own, highest), own * scale)
    return float(-np.log(np.maximum(limited, 1e-300)).mean())


def simulate(rows: int, draws: int) -> Iterator[dict[str, object]]:
    """Yield one line per world and kind of draw: how often, and ratios of log losses."""
    for classes in CLASSES:
        for accuracy in ACCURACIES:
            for factor in FACTORS:
                place = world(classes, accuracy, factor)
                drawn = [losses(place, rows, seed) for seed in range(draws)]
                for kind in (True, False):
                    found = pd.DataFrame([line for right, line in drawn if right is kind])
                    ratios = found.div(found["uncalibrated"], axis=0)
                    yield {
                        "classes": classes,
                        "accuracy": accuracy,
                        "factor": factor,
                        "rows": rows,
                        "all_right": kind,
                        "draws": len(found),
                        "uncalibrated": round(found["uncalibrated"].mean(), 4),
                        **{
                            f"{name}_{measure}": round(getattr(ratios[name], measure)(), 3)
                            for name in ("calibrated", "limited", "likelihood")
                            for measure in ("median", "max")
                        },
                    }


def main() -> None:
    """Simulate and write a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    table = pd.DataFrame(simulate(options.rows, options.draws))
    table.to_csv(options.out / "saturated_calibration.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
