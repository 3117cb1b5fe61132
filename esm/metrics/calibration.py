"""Probabilities that mean what they say: one temperature, fitted on rows that were not trained on.

A trained model is usually too sure of itself. Dividing its logits by one number, the temperature,
mends that without changing which class is the likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import Field

from esm.common.arrays import Array
from esm.common.errors import ShapeError
from esm.common.records import Record
from esm.tasks.identity import row_keys
from esm.tasks.splits.draw import sample, sample_rows
from esm.tasks.task import Examples, Problem, SplitName, Task

# Fewer training rows than that are too few to choose a temperature by.
_FEWEST_UNUSED = 50

# More rows hardly change the temperature, but each costs a forward pass.
_MOST_ROWS = 1000

_LOWEST, _HIGHEST = 0.05, 20.0
_BINS = 15

# A class that no training row has may get a logit so low that no temperature can mend it.
_OUT_OF_REACH = 1000.0


class CalibratedOn(StrEnum):
    """Which rows a temperature was fitted on.

    TEST means that the model was judged by the same rows: the error of its probabilities is then
    measured a little too low.
    """

    VALIDATION = "validation rows"
    UNUSED = "training rows that were not used"
    TEST = "test rows"


class Calibration(Record):
    """How a model's probabilities were mended.

    Attributes:
        temperature: What logits are divided by; above 1 the model was too sure of itself.
        calibrated_on: Which rows it was fitted on.
        rows: How many they were.
        rows_hash: Hash of their texts and labels.
        nll_before: Mean negative log-likelihood of these rows, nats, at temperature 1.
        nll_after: At the fitted temperature.
        ece_before: Expected calibration error at temperature 1, in [0, 1].
        ece_after: At the fitted temperature.
    """

    temperature: float = Field(gt=0, allow_inf_nan=False)
    calibrated_on: CalibratedOn
    rows: int
    rows_hash: str
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def has_probabilities(problem: Problem) -> bool:
    """Whether outputs of this kind are logits; the others are values."""
    return problem in (Problem.CLASSIFICATION, Problem.MULTILABEL)


def calibration_rows(task: Task, size: int, seed: int) -> tuple[CalibratedOn, Examples]:
    """Return the best rows that there are to fit a temperature on, at most 1,000 of them.

    These are the validation rows; else, where there are at least 50, the training rows that a
    sample leaves out and whose texts are not in it; else the test rows.

    Args:
        task: The task.
        size: Size of the sample of its training rows that was trained on.
        seed: Seed of that sample.

    Raises:
        TaskError: The task has none of these rows.
    """
    unused = _unused(task, size, seed)
    if SplitName.VALIDATION in task.splits:
        origin, rows = CalibratedOn.VALIDATION, task.splits[SplitName.VALIDATION]
    elif len(unused) >= _FEWEST_UNUSED:
        origin, rows = CalibratedOn.UNUSED, unused
    else:
        origin, rows = CalibratedOn.TEST, task.test
    return origin, sample(rows, task.problem, _MOST_ROWS, seed)


def _unused(task: Task, size: int, seed: int) -> Examples:
    keys = row_keys(task.train.texts, None)
    used = {keys[row] for row in sample_rows(task.train, task.problem, size, seed)}
    return task.train.take([row for row, key in enumerate(keys) if key not in used])


def calibrate(
    problem: Problem, rows: Examples, outputs: Array, calibrated_on: CalibratedOn
) -> Calibration:
    """Fit a temperature: the one under which the rows' labels are the likeliest.

    Args:
        problem: Classification, or multi-label, where all labels share one temperature.
        rows: n rows that were not trained on.
        outputs: (n, c) logits of them.
        calibrated_on: Which rows they are.

    Raises:
        ShapeError: There are not as many rows as outputs, or none, or outputs are no logits.

    Source:
        Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks". The
        temperature is kept in [0.05, 20], which it would leave where every row, or none, is
        predicted rightly.
    """
    from scipy.optimize import minimize_scalar

    _check(problem, rows.labels, outputs)

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(
            problem, rows.labels, outputs / float(np.exp(log_temperature))
        )

    bounds = (float(np.log(_LOWEST)), float(np.log(_HIGHEST)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    temperature = float(np.exp(found.x))
    return Calibration(
        temperature=temperature,
        calibrated_on=calibrated_on,
        rows=len(rows),
        rows_hash=rows.content_hash(),
        nll_before=loss(0.0),
        nll_after=loss(float(found.x)),
        ece_before=calibration_error(problem, rows.labels, probabilities(problem, outputs)),
        ece_after=calibration_error(
            problem, rows.labels, probabilities(problem, outputs, temperature)
        ),
    )


def _check(problem: Problem, labels: Array, outputs: Array) -> None:
    if not has_probabilities(problem) or len(labels) == 0 or len(labels) != len(outputs):
        raise ShapeError(
            f"{len(labels)} labels and outputs {outputs.shape} of a {problem} task",
            expected="one row of logits per label, of a classification or multi-label task",
        )


def probabilities(problem: Problem, outputs: Array, temperature: float = 1.0) -> Array:
    """Return probabilities (n, c): of the classes, or of each label of a multi-label task."""
    scaled = np.asarray(outputs, dtype=np.float64) / temperature
    if problem is Problem.MULTILABEL:
        return np.exp(-np.logaddexp(0.0, -scaled))
    return np.exp(_log_softmax(scaled))


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def negative_log_likelihood(problem: Problem, labels: Array, logits: Array) -> float:
    """Return the mean negative log-likelihood of labels, nats per row (or per row and label).

    A row whose class lies more than 1,000 below another one is left out: it was never trained on.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if problem is Problem.MULTILABEL:
        return float(np.logaddexp(0.0, np.where(labels > 0.5, -logits, logits)).mean())
    own = _log_softmax(logits)[np.arange(len(labels)), labels]
    reached = own[own > -_OUT_OF_REACH]
    return float(np.abs(reached).mean()) if reached.size else 0.0


def confidence(problem: Problem, chances: Array) -> Array:
    """Return how sure a decision is (n,): the chance of the class, or of the least sure label."""
    if problem is Problem.MULTILABEL:
        sureness: Array = np.maximum(chances, 1.0 - chances).min(axis=1)
        return sureness
    highest: Array = chances.max(axis=1)
    return highest


def is_right(problem: Problem, labels: Array, chances: Array) -> npt.NDArray[np.bool_]:
    """Return whether each row is decided rightly (n,): the class, or every one of the labels."""
    if problem is Problem.MULTILABEL:
        right: npt.NDArray[np.bool_] = ((chances > 0.5) == (labels > 0.5)).all(axis=1)
        return right
    same: npt.NDArray[np.bool_] = chances.argmax(axis=1) == labels
    return same


def calibration_error(problem: Problem, labels: Array, chances: Array) -> float:
    """Return the expected calibration error: how far confidence and accuracy lie apart, in [0, 1].

    Over 15 bins of equal width, weighted by their rows; of a multi-label task every label of
    every row is a decision of its own.

    Source:
        Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using
        Bayesian Binning", as in Guo et al. 2017.
    """
    if problem is Problem.MULTILABEL:
        sure = np.maximum(chances, 1.0 - chances).ravel()
        right = ((chances > 0.5) == (labels > 0.5)).ravel()
    else:
        sure, right = confidence(problem, chances), is_right(problem, labels, chances)
    bins = np.clip(np.ceil(sure * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, weights=right - sure, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(sure))


def mean_probabilities(chances: Sequence[Array]) -> Array:
    """Return the mean over models (n, c)."""
    mean: Array = np.mean(np.stack(list(chances)), axis=0)
    return mean
