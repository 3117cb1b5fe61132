"""Weights that make rare classes count as much as frequent ones in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import ShapeError
from esm.tasks.task import Metric, Problem, Task
from esm.training.settings import ClassWeights

# A label of one row in a thousand would otherwise drown the rest of the batch.
_LARGEST_POSITIVE_WEIGHT = 10.0


def weighs_classes(choice: ClassWeights, task: Task) -> bool:
    """Whether training on a task weighs classes; AUTO does where macro-F1 is its metric."""
    if task.problem is Problem.REGRESSION:
        return False
    return choice is ClassWeights.BALANCED or (
        choice is ClassWeights.AUTO and task.metric is Metric.MACRO_F1
    )


def balanced_class_weights(labels: npt.NDArray[Any]) -> Float64:
    """Return weights of the classes up to the last that occurs: all that do weigh the same.

    With n rows, c classes that occur and n_k rows of class k: ``n / (c n_k)``, which averages 1
    over the rows. A class that does not occur has weight 1; no loss ever uses it.

    Args:
        labels: (n,) class numbers.

    Example:
        >>> balanced_class_weights(np.array([0, 0, 0, 2])).round(3).tolist()
        [0.667, 1.0, 2.0]
    """
    rows = np.bincount(labels)
    occurs = rows > 0
    weights = np.ones(len(rows))
    weights[occurs] = len(labels) / (occurs.sum() * rows[occurs])
    return weights


def positive_weights(labels: npt.NDArray[Any]) -> Float64:
    """Return (c,) weights of a label's presence against its absence, within 1/10 and 10.

    Args:
        labels: (n, c) zeros and ones.

    Example:
        >>> positive_weights(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])).tolist()
        [2.0, 10.0]
    """
    present = labels.sum(axis=0)
    ratio = (len(labels) - present) / np.maximum(present, 1e-9)
    weights: Float64 = np.clip(ratio, 1 / _LARGEST_POSITIVE_WEIGHT, _LARGEST_POSITIVE_WEIGHT)
    return weights


def balance_weights(labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return (n,) weights under which every class that occurs weighs the same; they average 1.

    Args:
        labels: (n,) class numbers.

    Raises:
        ShapeError: Labels are not (n,).

    Example:
        >>> balance_weights(np.array([0, 0, 0, 1])).round(3).tolist()
        [0.667, 0.667, 0.667, 2.0]
    """
    if labels.ndim != 1:
        raise ShapeError(f"labels of shape {labels.shape}", expected="(n,) class numbers")
    _, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: npt.NDArray[np.float64] = len(labels) / (len(counts) * counts[positions])
    return weights
