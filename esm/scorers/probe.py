"""Probe: what a linear model really reaches on a source's embeddings, by cross-validation.

On tuned embeddings (``frozen``) it is the frozen-encoder transfer itself, in the small; on mapped
ones (``probe``) a prediction of it. Logistic regression for classes and labels, ridge regression
for amounts and ranks, judged by the target's own metric on rows that were not fitted.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from esm.common.arrays import Array
from esm.common.errors import TaskError
from esm.metrics.predictions import performance
from esm.scorers.base import METRIC, EmbeddingKind, Evidence, Scorer, TargetAttribute
from esm.tasks.splits.draw import cross_folds
from esm.tasks.task import Problem

FOLDS = 5
_SEED = 0
_CONSTANT = 1e-6

# Inverse penalties of logistic regression, and penalties of ridge regression per row.
_INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0)
_RIDGE_PENALTIES = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Probe(Scorer):
    """The target's metric, of cross-validated linear predictions.

    Folds are the same for all sources, equal texts lie in one fold, and the penalty is the one
    that is best on the base embeddings: so nothing is chosen in a source's favour.

    Cost: per source and fold one logistic regression per class, of (n, d); about half a second a
    source at n = 1,000, d = 384 and two classes, many times that of LogME.

    Attributes:
        name: ``probe``, or ``frozen``.
        reads: Mapped embeddings, or those of the tuned encoders.
    """

    name: str = "probe"
    reads: EmbeddingKind = EmbeddingKind.MAPPED
    unit = METRIC
    weighs_classes = True
    has_base = True

    def score(self, evidence: Evidence) -> float:
        """Return the metric of predictions for rows that were not fitted.

        Raises:
            TaskError: There are too few rows to divide, or they have one label.
        """
        target = evidence.target
        penalty = target.once("probe", lambda: _best_penalty(target))
        return cross_validate(target, evidence.embeddings(self.reads), penalty)


def _best_penalty(target: TargetAttribute) -> float:
    """Return the penalty that is best on the base embeddings, the strongest of equals."""
    amounts = target.task.problem in (Problem.REGRESSION, Problem.ORDINAL)
    offered = _RIDGE_PENALTIES[::-1] if amounts else _INVERSE_PENALTIES
    base = target.base
    return max(offered, key=lambda penalty: cross_validate(target, base, penalty))


def cross_validate(target: TargetAttribute, embeddings: Array, penalty: float) -> float:
    """Return the target's metric, of predictions of each fold by a model of the others.

    Args:
        target: The target; class balance where its rows are weighted.
        embeddings: (n, d) embeddings of its rows.
        penalty: Inverse penalty of logistic regression; penalty per row of ridge regression.

    Raises:
        TaskError: There are too few rows to divide, or they have one label.
    """
    task, labels = target.task, target.labels
    if len(np.unique(labels, axis=0)) < 2:
        raise TaskError(
            f"{len(labels)} rows of {task.id} with the same label",
            expected="at least two different labels",
            hint="score more rows, or leave the attribute out",
        )
    folds = target.once(
        "probe folds", lambda: cross_folds(target.examples, task.problem, FOLDS, _SEED)
    )
    if len(np.unique(folds)) < 2:
        raise TaskError(f"{len(labels)} rows of {task.id}", expected="at least two distinct texts")
    outputs = np.zeros((len(labels), task.num_outputs))
    for fold in np.unique(folds):
        left_out = folds == fold
        fitted = embeddings[~left_out].astype(np.float64)
        mean, scale = fitted.mean(axis=0), fitted.std(axis=0)
        # A dimension that never varies has a spread of rounding errors, not one of exactly 0.
        scale[scale <= _CONSTANT * scale.max()] = 1.0
        outputs[left_out] = _predict(
            target,
            ~left_out,
            (fitted - mean) / scale,
            (embeddings[left_out] - mean) / scale,
            penalty,
        )
    return performance(task, labels, outputs)[task.metric]


def _predict(
    target: TargetAttribute, rows: Array, fitted: Array, unseen: Array, penalty: float
) -> Array:
    """Return raw outputs (m, c) for unseen rows (m, d) of a model of the fitted ones."""
    labels, weights = target.labels[rows], target.weights
    own = None if weights is None else weights[rows]
    if target.task.problem is Problem.MULTILABEL:
        columns = [_classes(column > 0.5, 2, own, fitted, unseen, penalty) for column in labels.T]
        return np.stack([column[:, 1] - 0.5 for column in columns], axis=1)
    if target.task.problem is Problem.CLASSIFICATION:
        return _classes(labels, target.task.num_outputs, own, fitted, unseen, penalty)
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=penalty * len(labels)).fit(fitted, labels, sample_weight=own)
    predicted: Array = model.predict(unseen)[:, None]
    return predicted


def _classes(
    labels: Array,
    num_classes: int,
    weights: Array | None,
    fitted: Array,
    unseen: Array,
    inverse_penalty: float,
) -> Array:
    """Return (m, c): 1 for the class that is predicted, else 0."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    outputs = np.zeros((len(unseen), num_classes))
    if len(np.unique(labels)) < 2:  # a rare class may lie in the other fold altogether
        outputs[:, int(labels[0])] = 1.0
        return outputs
    model = LogisticRegression(C=inverse_penalty, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its predictions hardly change then
        predicted = model.fit(fitted, labels, sample_weight=weights).predict(unseen)
    outputs[np.arange(len(unseen)), predicted.astype(np.int64)] = 1.0
    return outputs
