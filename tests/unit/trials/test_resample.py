"""Metrics of resamples: the same as on rows that are really repeated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esm.metrics.predictions import performance
from esm.tasks.task import Examples, Metric, Problem
from esm.trials.resample import counts, resampled_metric
from tests.toy_tasks import toy_task

KINDS = [
    (Problem.CLASSIFICATION, Metric.MACRO_F1),
    (Problem.CLASSIFICATION, Metric.ACCURACY),
    (Problem.CLASSIFICATION, Metric.MATTHEWS),
    (Problem.ORDINAL, Metric.MACRO_F1),
    (Problem.ORDINAL, Metric.KAPPA),
    (Problem.ORDINAL, Metric.SPEARMAN),
    (Problem.REGRESSION, Metric.SPEARMAN),
    (Problem.MULTILABEL, Metric.MACRO_F1),
    (Problem.MULTILABEL, Metric.ACCURACY),
]


def rows_of(problem, count, rng):
    """Labels and outputs that go together a little, with ties and absent classes."""
    classes = 4
    moods = rng.integers(classes - 1, size=count)
    if problem is Problem.CLASSIFICATION:
        return moods, rng.normal(size=(count, classes)) + np.eye(classes)[moods]
    if problem is Problem.MULTILABEL:
        labels = (rng.random((count, classes)) < [0.5, 0.3, 0.1, 0.0]).astype(float)
        return labels, rng.normal(size=(count, classes)) + labels
    values = np.round(moods + rng.normal(size=count), 1)[:, None]
    return (moods if problem is Problem.ORDINAL else moods.astype(float)), values


@pytest.mark.parametrize(("problem", "metric"), KINDS)
@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_each_metric_is_that_of_the_repeated_rows(problem, metric, count, seed):
    rng = np.random.default_rng(seed)
    labels, outputs = rows_of(problem, count, rng)
    names = () if problem is Problem.REGRESSION else ("a", "b", "c", "d")
    task = dataclasses.replace(toy_task(problem), metric=metric, label_names=names)
    drawn = counts(count, 6, rng)
    found = resampled_metric(task, labels, outputs)(drawn)
    for row, value in zip(drawn.astype(int), found, strict=True):
        repeated = np.repeat(np.arange(count), row)
        expected = performance(task, labels[repeated], outputs[repeated])[metric]
        assert value == pytest.approx(expected, abs=1e-9)


def test_a_resample_has_as_many_rows_as_there_are():
    drawn = counts(7, 50, np.random.default_rng(0))
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert len(np.unique(drawn, axis=0)) > 40


def test_one_row_of_a_kind():
    task = toy_task()
    rows = Examples(("x",), None, np.array([1]))
    value = resampled_metric(task, rows.labels, np.array([[0.0, 1.0, 0.0]]))(np.ones((1, 1)))
    assert value.tolist() == [1.0]
