"""Metrics: expected numbers from paper and pencil and from scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, f1_score

from esm.common.errors import ShapeError, TaskError
from esm.metrics.predictions import performance, predicted_labels
from esm.tasks.task import Examples, Metric, Problem, SplitName, Task


def task_of(problem, metric, num_outputs=3):
    names = () if problem is Problem.REGRESSION else tuple("abcdefgh"[:num_outputs])
    rows = Examples(texts=("one",), pairs=None, labels=np.zeros(1))
    return Task("toy", problem, metric, names, {SplitName.TRAIN: rows})


CLASSES = task_of(Problem.CLASSIFICATION, Metric.MACRO_F1)
SCALE = task_of(Problem.ORDINAL, Metric.MACRO_F1)
VALUES = task_of(Problem.REGRESSION, Metric.SPEARMAN)
LABELS = task_of(Problem.MULTILABEL, Metric.MACRO_F1)


def logits(predicted, num_outputs=3):
    return np.eye(num_outputs)[np.asarray(predicted)]


def test_classification_by_hand():
    # class 0: precision 1/2, recall 1/2, F1 1/2; class 1: precision 1/2, recall 1/2, F1 1/2
    metrics = performance(CLASSES, np.array([0, 0, 1, 1]), logits([0, 1, 0, 1]))
    assert metrics == {"macro_f1": 0.5, "accuracy": 0.5, "matthews": 0.0}


def test_a_class_that_was_only_predicted_does_not_count():
    # class 0: precision 1, recall 2/3, F1 0.8; class 1: 1. Class 2 occurs in no label.
    metrics = performance(CLASSES, np.array([0, 0, 0, 1]), logits([0, 0, 2, 1]))
    assert metrics["macro_f1"] == pytest.approx(0.9)


def test_a_class_that_was_never_predicted_counts_as_zero():
    metrics = performance(CLASSES, np.array([0, 0, 1, 2]), logits([0, 0, 1, 1]))
    assert metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_perfect_prediction_of_one_class_only(recwarn):
    metrics = performance(CLASSES, np.array([1, 1]), logits([1, 1]))
    assert not recwarn
    assert metrics == {"macro_f1": 1.0, "accuracy": 1.0, "matthews": 0.0}


@given(st.data())
def test_classification_does_not_depend_on_the_order_of_rows_or_scale_of_logits(data):
    n = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    labels, outputs = rng.integers(0, 3, n), rng.normal(size=(n, 3))
    order = rng.permutation(n)
    metrics = performance(CLASSES, labels, outputs)
    assert performance(CLASSES, labels[order], 7 * outputs[order] + 1) == pytest.approx(metrics)
    expected = f1_score(labels, outputs.argmax(1), labels=sorted(set(labels)), average="macro")
    assert metrics["macro_f1"] == pytest.approx(expected)


def test_regression_by_hand():
    # ranks 1 2 3 against 1 3 2: 1 - 6 * (0 + 1 + 1) / (3 * 8) = 0.5
    metrics = performance(VALUES, np.array([1.0, 2.0, 4.0]), np.array([[1.0], [3.0], [2.0]]))
    assert metrics == {"spearman": pytest.approx(0.5), "mae": pytest.approx(1.0)}


def test_regression_with_ties_equals_scipy():
    labels, predicted = np.array([1.0, 1.0, 2.0, 3.0]), np.array([0.1, 0.4, 0.4, 0.3])
    expected = spearmanr(labels, predicted).statistic
    assert performance(VALUES, labels, predicted[:, None])["spearman"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "predicted"), [([1.0, 2.0], [5.0, 5.0]), ([3.0, 3.0], [1.0, 2.0]), ([1.0], [2.0])]
)
def test_a_constant_side_has_rank_correlation_zero(labels, predicted, recwarn):
    outputs = np.array(predicted)[:, None]
    assert performance(VALUES, np.array(labels), outputs)["spearman"] == 0.0
    assert not recwarn


def test_ordinal_by_hand():
    # Predicted classes 0, 1, 2, 2 (rounded, halves up, clipped) for true classes 0, 0, 2, 1.
    metrics = performance(SCALE, np.array([0, 0, 2, 1]), np.array([[-3.0], [0.5], [2.4], [1.6]]))
    # F1: class 0 2/3 (1 of 2 found), class 1 0, class 2 2/3 (1 of 2 predicted right).
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert metrics["accuracy"] == 0.5
    assert metrics["mae"] == 0.5  # ranks, of the rounded predictions
    # Quadratic weights: observed 0 + 1 + 0 + 1 = 2; expected from the margins (2, 1, 1) of the
    # labels and (1, 1, 2) of the predictions (2*1*1 + 2*2*4 + 1*1*1 + 1*2*1 + 1*1*4 + 1*1*1) / 4.
    assert metrics["kappa"] == pytest.approx(1 - 2 / (26 / 4))
    # Outputs as they are: ranks 1 2 4 3 against 1.5 1.5 4 3.
    assert metrics["spearman"] == pytest.approx(spearmanr([0, 0, 2, 1], [-3, 0.5, 2.4, 1.6])[0])


def test_a_level_that_does_not_occur_still_lies_between_its_neighbours():
    labels, outputs = np.array([0, 0, 2, 2]), np.array([[0.0], [2.0], [2.0], [2.0]])
    predicted = outputs[:, 0].astype(int)
    expected = cohen_kappa_score(labels, predicted, labels=[0, 1, 2], weights="quadratic")
    assert performance(SCALE, labels, outputs)["kappa"] == pytest.approx(expected)


def test_one_level_only_has_no_kappa(recwarn):
    assert performance(SCALE, np.array([1, 1]), np.array([[1.2], [0.9]]))["kappa"] == 0.0
    assert not recwarn


@pytest.mark.parametrize(
    ("task", "outputs", "expected"),
    [
        ("classes", [[0.1, 0.9, 0.2], [3, 1, 2]], [1, 0]),
        ("scale", [[0.49], [0.5], [1.5], [-7.0], [7.0]], [0, 1, 2, 0, 2]),
        ("labels", [[0.1, -0.1, 0.0]], [[1, 0, 0]]),
        ("values", [[0.3], [0.7]], [0.3, 0.7]),
    ],
)
def test_what_outputs_say(task, outputs, expected):
    tasks = {"classes": CLASSES, "scale": SCALE, "labels": LABELS, "values": VALUES}
    assert predicted_labels(tasks[task], np.array(outputs)).tolist() == expected


def test_multilabel_by_hand():
    labels = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    outputs = np.array([[0.3, -1.0, -2.0], [-0.1, 2.0, 1.0]])
    # label a: precision 1, recall 1/2, F1 2/3; label b: F1 1; label c has no positive row
    metrics = performance(LABELS, labels, outputs)
    assert metrics == {"macro_f1": pytest.approx(5 / 6), "accuracy": 0.5}


def test_multilabel_without_any_positive_label(recwarn):
    metrics = performance(LABELS, np.zeros((2, 3)), -np.ones((2, 3)))
    assert metrics == {"macro_f1": 0.0, "accuracy": 1.0}
    assert not recwarn


@pytest.mark.parametrize("task", [CLASSES, SCALE, VALUES, LABELS])
def test_the_primary_metric_is_there(task):
    shape = (4, 3) if task is LABELS else (4,)
    labels = np.zeros(shape, dtype=np.int64 if task in (CLASSES, SCALE) else np.float64)
    assert task.metric in performance(task, labels, np.zeros((4, task.num_outputs)))


def test_a_metric_that_the_problem_does_not_have():
    task = task_of(Problem.REGRESSION, Metric.MATTHEWS)
    with pytest.raises(TaskError, match=r"regression task with the metric matthews.*spearman"):
        performance(task, np.zeros(2), np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (np.zeros(0, int), np.zeros((0, 3)), "no rows to evaluate"),
        (np.zeros(4, int), np.zeros((5, 3)), r"labels \(4,\) and outputs \(5, 3\)"),
        (np.zeros(4, int), np.zeros((4, 2)), r"expected .*\(4, 3\)"),
        (np.zeros((4, 3)), np.zeros((4, 3)), r"labels \(4, 3\)"),
        (np.zeros(1, int), np.array([[0.0, np.nan, 1.0]]), "1 outputs .* not finite"),
    ],
)
def test_what_does_not_fit_is_refused(labels, outputs, message):
    with pytest.raises(ShapeError, match=message):
        performance(CLASSES, labels, outputs)
