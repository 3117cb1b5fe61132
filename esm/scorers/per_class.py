"""A target's labels as classes, for scores that are defined for classes only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import TaskError
from esm.scorers.base import TargetAttribute
from esm.tasks.task import Problem

Classes = npt.NDArray[np.int64]


def mean_over_classes(
    target: TargetAttribute, score: Callable[[Classes], float], name: str
) -> float:
    """Return a score of classes; of a target with sets of labels, the mean over its labels.

    Ordinal classes are classes. A label that all rows have, or none, says nothing and is left out.

    Args:
        target: The target.
        score: Scores (n,) class numbers, consecutive from 0.
        name: The score's name, for the error.

    Raises:
        TaskError: Labels are amounts, or there is one class only.
    """
    problem, labels = target.task.problem, target.labels
    if problem is Problem.REGRESSION:
        raise TaskError(
            f"{target.task.id} has amounts for labels, for which {name} is not defined",
            expected="classes, an ordered scale or sets of labels",
            hint="--scorer logme",
        )
    columns = labels.T > 0.5 if problem is Problem.MULTILABEL else labels[None]
    views = [_codes(column) for column in columns]
    scores = [score(view) for view in views if view.any()]
    if not scores:
        raise TaskError(
            f"one class only in {len(labels)} rows of {target.task.id}",
            expected="at least two classes",
            hint="score more rows, or leave the attribute out",
        )
    return float(np.mean(scores))


def _codes(labels: npt.NDArray[Any]) -> Classes:
    codes: Classes = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return codes
