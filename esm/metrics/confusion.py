"""Which classes are told apart: confusion matrices, and precision, recall and F1 per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.records import Record
from esm.metrics.predictions import predicted_labels
from esm.tasks.tagging import NO_WORD
from esm.tasks.task import Problem, Task

Counts = npt.NDArray[np.int64]


class ClassResult(Record):
    """How well one class is found, as means over runs.

    Attributes:
        name: The class.
        support: Test rows of the class, mean over all runs.
        precision: Share of the rows predicted as the class that belong to it; 0 where a run
            predicts none.
        recall: Share of its rows that are predicted as such.
        f1: Harmonic mean of both, run by run.

    The three are means over the runs whose test rows have the class, and None where none has.
    """

    name: str
    support: float
    precision: float | None
    recall: float | None
    f1: float | None


def confusion_matrix(
    task: Task, labels: npt.NDArray[Any], outputs: npt.NDArray[Any]
) -> Counts | None:
    """Count rows by true and predicted class.

    Args:
        task: Says which problem it is and what its classes are.
        labels: As :func:`~esm.metrics.predictions.performance` takes them.
        outputs: As :func:`~esm.metrics.predictions.performance` takes them.

    Returns:
        (c, c), true classes in rows and predicted ones in columns; for a multi-label task
        (c, 2, 2), one such table per label with absent before present; None for regression. For a
        tagging task words are counted.
    """
    if task.problem is Problem.REGRESSION:
        return None
    predicted = predicted_labels(task, outputs)
    classes = len(task.label_names)
    if task.problem is Problem.MULTILABEL:
        counts = np.zeros((classes, 2, 2), dtype=np.int64)
        column = np.broadcast_to(np.arange(classes), labels.shape)
        np.add.at(counts, (column, (labels > 0.5).astype(np.int64), predicted), 1)
        return counts
    if task.problem is Problem.TAGGING:
        predicted = predicted[labels[:, : predicted.shape[1]] != NO_WORD]
        labels = labels[labels != NO_WORD]
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def class_results(runs: Sequence[npt.ArrayLike], names: Sequence[str]) -> tuple[ClassResult, ...]:
    """Return precision, recall and F1 of every class from the confusion matrices of runs.

    Args:
        runs: One matrix per run, as :func:`confusion_matrix` returns it.
        names: Names of the c classes.
    """
    # (runs, c) each: rows that are the class, are predicted as it, and are both.
    actual, predicted, right = (
        np.stack(counts).astype(np.float64)
        for counts in zip(*(_totals(np.asarray(run)) for run in runs), strict=True)
    )
    has_rows = actual > 0
    nan = np.full_like(actual, np.nan)
    recall = np.divide(right, actual, out=nan.copy(), where=has_rows)
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    f1 = np.divide(2 * right, actual + predicted, out=nan.copy(), where=has_rows)
    means = [
        [_mean(values[has_rows[:, code], code]) for values in (precision, recall, f1)]
        for code in range(len(names))
    ]
    return tuple(
        ClassResult(name=name, support=support, precision=p, recall=r, f1=f)
        for name, support, (p, r, f) in zip(names, actual.mean(axis=0), means, strict=True)
    )


def _totals(counts: Counts) -> tuple[Counts, Counts, Counts]:
    """Return, per class, how many rows it has, is predicted for, and rightly."""
    if counts.ndim == 3:
        return counts[:, 1, :].sum(axis=1), counts[:, :, 1].sum(axis=1), counts[:, 1, 1]
    return counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if values.size else None
