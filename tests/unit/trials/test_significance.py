"""What can be told apart: equal strategies seldom, different ones usually, Holm as published."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from esm.metrics.predictions import performance
from esm.tasks.task import Examples, Metric, SplitName
from esm.trials.significance import Judged, all_pairs, holm, p_value, resampled_values
from tests.toy_tasks import toy_task


def task_of(labels):
    rows = Examples(tuple(f"text {i}" for i in range(len(labels))), None, labels)
    task = dataclasses.replace(toy_task(num_classes=2), metric=Metric.ACCURACY)
    return dataclasses.replace(task, splits={SplitName.TRAIN: rows, SplitName.TEST: rows})


def outputs_of(labels, accuracy, rng):
    """Outputs that are right with this probability, row by row."""
    right = rng.random(len(labels)) < accuracy
    predicted = np.where(right, labels, 1 - labels)
    return np.eye(2)[predicted]


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, and never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_value_by_hand():
    assert p_value(np.zeros(99)) == 1.0
    assert p_value(np.ones(99)) == pytest.approx(2 / 100)
    assert p_value(np.array([1.0] * 96 + [-1.0] * 3)) == pytest.approx(2 * 4 / 100)


def test_values_of_resamples_centre_on_what_was_measured():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    task = task_of(labels)
    columns = {
        name: Judged({(None, seed): outputs_of(labels, accuracy, rng) for seed in range(3)})
        for name, accuracy in (("a", 0.7), ("b", 0.9))
    }
    columns["outside"] = Judged({(None, None): outputs_of(labels, 0.8, rng)})
    values = resampled_values({None: task}, columns, resamples=2000)
    for name, judged in columns.items():
        measured = np.mean(
            [performance(task, labels, one)["accuracy"] for one in judged.outputs.values()]
        )
        assert values[name].mean() == pytest.approx(measured, abs=0.005)
    # Of the outside system rows alone vary: the binomial standard error.
    share = performance(task, labels, columns["outside"].outputs[None, None])["accuracy"]
    assert values["outside"].std() == pytest.approx(np.sqrt(share * (1 - share) / 200), rel=0.1)


def test_rows_and_seeds_are_the_same_for_all_strategies():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    outputs = {(None, seed): outputs_of(labels, 0.7, rng) for seed in range(2)}
    values = resampled_values(
        {None: task_of(labels)}, {"a": Judged(outputs), "b": Judged(outputs)}, resamples=200
    )
    np.testing.assert_array_equal(values["a"], values["b"])
    assert all_pairs(values) == {frozenset({"a", "b"}): 1.0}


def test_folds_are_averaged():
    labels = np.arange(40) % 2
    right, wrong = np.eye(2)[labels], np.eye(2)[1 - labels]
    task = task_of(labels)
    judged = Judged({(0, 0): right, (1, 0): wrong})
    values = resampled_values({0: task, 1: task}, {"a": judged}, resamples=50)
    assert values["a"].tolist() == [0.5] * 50


def test_seeds_that_disagree_cannot_be_told_apart_however_many_rows():
    """With one seed each strategy is clearly ahead: that is luck of the seed."""
    rng = np.random.default_rng(2)
    labels = np.arange(2000) % 2
    good, bad = (outputs_of(labels, accuracy, rng) for accuracy in (0.9, 0.7))
    columns = {
        "a": Judged({(None, 0): good, (None, 1): bad}),
        "b": Judged({(None, 0): bad, (None, 1): good}),
    }
    (p,) = all_pairs(resampled_values({None: task_of(labels)}, columns, resamples=500)).values()
    assert p > 0.4


def rejections(first, second, *, rows, trials, seeds=3):
    """How often two strategies of these accuracies are told apart at 5 %."""
    rng = np.random.default_rng(3)
    told = 0
    for trial in range(trials):
        labels = rng.integers(2, size=rows)
        columns = {
            name: Judged({(None, s): outputs_of(labels, accuracy, rng) for s in range(seeds)})
            for name, accuracy in (("a", first), ("b", second))
        }
        values = resampled_values({None: task_of(labels)}, columns, resamples=199, seed=trial)
        (p,) = all_pairs(values).values()
        told += p < 0.05
    return told / trials


def test_equal_strategies_are_seldom_told_apart():
    assert rejections(0.75, 0.75, rows=80, trials=120) <= 0.1


def test_a_clear_difference_is_usually_told():
    assert rejections(0.65, 0.85, rows=120, trials=30) >= 0.8
