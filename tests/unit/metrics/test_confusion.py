"""Confusion matrices and per-class results against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    classification_report,
    multilabel_confusion_matrix,
)
from sklearn.metrics import (
    confusion_matrix as sklearn_confusion_matrix,
)

from esm.metrics.confusion import class_results, confusion_matrix
from esm.metrics.predictions import predicted_labels
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task

NAMES = ("a", "b", "c", "d")
RNG = np.random.default_rng(0)


def task_of(problem):
    rows = Examples(("one",), None, np.zeros(1))
    return Task("t", problem, Metric.MACRO_F1, NAMES, {SplitName.TRAIN: rows})


def compare(found, report):
    for result in found:
        expected = report[result.name]
        assert result.support == expected["support"]
        assert result.precision == pytest.approx(expected["precision"])
        assert result.recall == pytest.approx(expected["recall"])
        assert result.f1 == pytest.approx(expected["f1-score"])


@pytest.mark.parametrize("problem", [Problem.CLASSIFICATION, Problem.ORDINAL])
def test_classes_equal_scikit_learn(problem):
    labels = RNG.integers(0, 4, 50)
    outputs = RNG.normal(1.5, 1.5, size=(50, 1 if problem is Problem.ORDINAL else 4))
    predicted = predicted_labels(task_of(problem), outputs)
    counts = confusion_matrix(task_of(problem), labels, outputs)
    expected = sklearn_confusion_matrix(labels, predicted, labels=range(4))
    np.testing.assert_array_equal(counts, expected)
    report = classification_report(
        labels, predicted, labels=range(4), target_names=NAMES, output_dict=True, zero_division=0
    )
    compare(class_results([counts.tolist()], NAMES), report)


def test_label_sets_equal_scikit_learn():
    labels, outputs = (RNG.random((50, 4)) < 0.4).astype(float), RNG.normal(size=(50, 4))
    counts = confusion_matrix(task_of(Problem.MULTILABEL), labels, outputs)
    np.testing.assert_array_equal(counts, multilabel_confusion_matrix(labels, outputs > 0))
    report = classification_report(
        labels.astype(int), outputs > 0, target_names=NAMES, output_dict=True, zero_division=0
    )
    compare(class_results([counts.tolist()], NAMES), report)


def test_amounts_have_no_confusion():
    assert confusion_matrix(task_of(Problem.REGRESSION), np.zeros(3), np.zeros((3, 1))) is None


def test_means_are_over_the_runs_that_have_the_class():
    first, second = [[1, 1], [0, 0]], [[2, 0], [1, 1]]
    a, b = class_results([first, second], ("a", "b"))
    # a: recall 1/2 and 1, precision 1 and 2/3, F1 2/3 and 4/5.
    assert a.model_dump() == pytest.approx(
        {"name": "a", "support": 2, "precision": 5 / 6, "recall": 0.75, "f1": (2 / 3 + 4 / 5) / 2}
    )
    # b: absent from the first run's test rows.
    assert b.model_dump() == pytest.approx(
        {"name": "b", "support": 1, "precision": 1, "recall": 0.5, "f1": 2 / 3}
    )


def test_a_class_that_no_run_tests_or_predicts():
    never, missed = class_results([[[0, 0], [3, 0]]], ("never", "missed"))
    assert (never.support, never.precision, never.recall, never.f1) == (0, None, None, None)
    assert (missed.support, missed.precision, missed.recall, missed.f1) == (3, 0, 0, 0)
