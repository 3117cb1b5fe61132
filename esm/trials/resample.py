"""Metrics of many resamples at once: rows are not copied but counted.

A resample of n rows with replacement is a row of counts that add up to n. All metrics but the
rank correlation follow from weighted counts of (true, predicted) pairs, hence from one matrix
product; the rank correlation from weighted ranks. Each equals
:func:`~esm.metrics.predictions.performance` on the rows repeated as often as they are counted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from esm.common.arrays import Array, Float64
from esm.metrics.predictions import predicted_labels, span_counts
from esm.tasks.tagging import NO_WORD
from esm.tasks.task import Metric, Problem, Task

Resampled = Callable[[Float64], Float64]
"""From counts (b, n) of resamples to the value of a metric in each, (b,)."""


def counts(rows: int, resamples: int, generator: np.random.Generator) -> Float64:
    """Draw resamples of rows with replacement: how often each row is in each, (b, n)."""
    drawn = generator.multinomial(rows, np.full(rows, 1.0 / rows), size=resamples)
    return drawn.astype(np.float64)


def resampled_metric(task: Task, labels: Array, outputs: Array) -> Resampled:
    """Return a function that gives the task's primary metric on resamples of rows.

    Args:
        task: Says which problem and metric it is.
        labels: (n,), (n, c) or (n, w), as :func:`~esm.metrics.predictions.performance` takes them.
        outputs: (n, c) or (n, w, c), the same.
    """
    if task.metric is Metric.SPEARMAN:
        return _spearman(labels.astype(np.float64), outputs[:, 0].astype(np.float64))
    predicted = predicted_labels(task, outputs)
    if task.problem is Problem.MULTILABEL:
        return _multilabel(task.metric, labels > 0.5, predicted > 0)
    if task.problem is Problem.TAGGING:
        return _tags(task, labels[:, : predicted.shape[1]], predicted)
    return _classes(task.metric, len(task.label_names), labels, predicted)


# ------------------------------------------------------------------------------------ classes


def _classes(metric: Metric, classes: int, labels: Array, predicted: Array) -> Resampled:
    pairs = np.zeros((len(labels), classes * classes))
    pairs[np.arange(len(labels)), labels * classes + predicted] = 1.0
    return _counted(metric, classes, pairs)


def _counted(metric: Metric, classes: int, pairs: Float64) -> Resampled:
    """Return a metric of the (n, c * c) counts of (true, predicted) pairs of each row."""
    measure = {
        Metric.MACRO_F1: _macro_f1,
        Metric.ACCURACY: _accuracy,
        Metric.MATTHEWS: _matthews,
        Metric.KAPPA: _kappa,
    }[metric]

    def of(resamples: Float64) -> Float64:
        return measure((resamples @ pairs).reshape(-1, classes, classes))

    return of


def _macro_f1(confusion: Float64) -> Float64:
    """Return the mean F1 of the classes that occur, for (b, c, c) counts."""
    right = np.einsum("bii->bi", confusion)
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    f1 = 2 * right / np.maximum(actual + predicted, 1.0)
    occurs = actual > 0
    mean: Float64 = (f1 * occurs).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)
    return mean


def _accuracy(confusion: Float64) -> Float64:
    share: Float64 = np.einsum("bii->b", confusion) / confusion.sum(axis=(1, 2))
    return share


def _matthews(confusion: Float64) -> Float64:
    """Return Matthews' correlation for many classes; 0 where one side is constant."""
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    total = confusion.sum(axis=(1, 2))
    right = np.einsum("bii->b", confusion)
    covariance = right * total - (actual * predicted).sum(axis=1)
    spread = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (actual**2).sum(axis=1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0.0)))


def _kappa(confusion: Float64) -> Float64:
    """Return Cohen's kappa with quadratic weights; 0 where both sides are one and the same."""
    classes = confusion.shape[1]
    ranks = np.arange(classes)
    weights = (ranks[:, None] - ranks[None]) ** 2.0
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    total = confusion.sum(axis=(1, 2))
    observed = (confusion * weights).sum(axis=(1, 2))
    expected = np.einsum("bi,ij,bj->b", actual, weights, predicted) / total
    kappa = 1.0 - _ratio(observed, expected)
    return np.where(expected > 0, kappa, 0.0)


def _ratio(above: Float64, below: Float64) -> Float64:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


# --------------------------------------------------------------------------------- tags of words


def _tags(task: Task, labels: Array, predicted: Array) -> Resampled:
    """Texts are drawn, each with all of its words."""
    if task.metric is Metric.SPAN_F1:
        spans = span_counts(task.label_names, labels, predicted).astype(np.float64)

        def of(resamples: Float64) -> Float64:
            right, found, true = (resamples @ spans).T
            f1: Float64 = 2 * right / np.maximum(found + true, 1.0)
            return f1

        return of
    classes = len(task.label_names)
    pairs = np.zeros((len(labels), classes * classes))
    rows, words = np.nonzero(labels != NO_WORD)
    np.add.at(pairs, (rows, labels[rows, words] * classes + predicted[rows, words]), 1.0)
    return _counted(task.metric, classes, pairs)


# ----------------------------------------------------------------------------------- label sets


def _multilabel(metric: Metric, truth: Array, predicted: Array) -> Resampled:
    if metric is Metric.ACCURACY:
        whole = (truth == predicted).all(axis=1).astype(np.float64)
        return lambda resamples: (resamples @ whole) / resamples.sum(axis=1)
    right = (truth & predicted).astype(np.float64)
    either = truth.astype(np.float64) + predicted
    held = truth.astype(np.float64)

    def of(resamples: Float64) -> Float64:
        f1 = 2 * (resamples @ right) / np.maximum(resamples @ either, 1.0)
        occurs = resamples @ held > 0
        mean: Float64 = (f1 * occurs).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)
        return mean

    return of


# ----------------------------------------------------------------------------- rank correlation


def _spearman(labels: Float64, values: Float64) -> Resampled:
    def of(resamples: Float64) -> Float64:
        first, second = _ranks(labels, resamples), _ranks(values, resamples)
        total = resamples.sum(axis=1, keepdims=True)
        first = first - (resamples * first).sum(axis=1, keepdims=True) / total
        second = second - (resamples * second).sum(axis=1, keepdims=True) / total
        covariance = (resamples * first * second).sum(axis=1)
        spread = (resamples * first**2).sum(axis=1) * (resamples * second**2).sum(axis=1)
        return _ratio(covariance, np.sqrt(spread))

    return of


def _ranks(values: Float64, resamples: Float64) -> Float64:
    """Return the mean rank of each row's value in each resample, (b, n)."""
    distinct, group = np.unique(values, return_inverse=True)
    of_group = np.zeros((len(resamples), len(distinct)))
    for column in range(len(values)):
        of_group[:, group[column]] += resamples[:, column]
    below = np.cumsum(of_group, axis=1) - of_group
    mean: Float64 = (below + (of_group + 1) / 2)[:, group]
    return mean
