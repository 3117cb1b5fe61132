"""Class weights and weighted losses: by hand, and against scikit-learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from esm.tasks.task import LABELLED, Metric, Problem
from esm.training.class_weights import balanced_class_weights, positive_weights, weighs_classes
from esm.training.losses import training_loss
from esm.training.settings import ClassWeights
from tests.toy_tasks import toy_task

ZERO, ONE = torch.zeros(1), torch.ones(1)
LN2 = np.log(2)


def loss(problem, outputs, targets, weights, mean=ZERO, scale=ONE):
    return training_loss(
        problem,
        torch.tensor(outputs),
        torch.tensor(targets),
        None if weights is None else torch.tensor(weights),
        mean=mean,
        scale=scale,
    ).item()


def test_weights_equal_scikit_learn_and_average_one_over_the_rows():
    labels = np.array([0] * 7 + [2] * 2 + [3])
    weights = balanced_class_weights(labels)
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels)
    np.testing.assert_allclose(weights[[0, 2, 3]], expected)
    assert weights[labels].mean() == pytest.approx(1)
    assert weights[1] == 1


def test_weights_of_presence_are_bounded():
    labels = np.zeros((100, 4))
    labels[:20, 0] = labels[:80, 1] = labels[:1, 2] = labels[:, 3] = 1.0
    assert positive_weights(labels) == pytest.approx([4, 0.25, 10, 0.1])


@pytest.mark.parametrize("problem", LABELLED)
@pytest.mark.parametrize("metric", [Metric.MACRO_F1, Metric.ACCURACY])
def test_when_classes_are_weighed(problem, metric):
    has_classes = problem is not Problem.REGRESSION
    task = dataclasses.replace(toy_task(problem), metric=metric)
    assert weighs_classes(ClassWeights.BALANCED, task) is has_classes
    assert weighs_classes(ClassWeights.NONE, task) is False
    expected = has_classes and metric is Metric.MACRO_F1
    assert weighs_classes(ClassWeights.AUTO, task) is expected


def test_cross_entropy_by_hand():
    # Row losses ln 2 (even odds) and ln(4/3) (odds of 3 to 1), with weights 3 and 1.
    outputs = [[0.0, 0.0], [0.0, float(np.log(3))]]
    found = loss(Problem.CLASSIFICATION, outputs, [0, 1], [3.0, 1.0])
    assert found == pytest.approx((3 * LN2 + np.log(4 / 3)) / 2)
    even = loss(Problem.CLASSIFICATION, outputs, [0, 1], None)
    assert even == pytest.approx((LN2 + np.log(4 / 3)) / 2)


def test_binary_cross_entropy_by_hand():
    # All logits are 0: ln 2 each, times 4 where the first label is present.
    outputs, targets = [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
    found = loss(Problem.MULTILABEL, outputs, targets, [4.0, 1.0])
    assert found == pytest.approx((4 + 1 + 1 + 1) * LN2 / 4)


def test_squared_errors_by_hand():
    # Ranks 0 and 2 with mean 1 and spread 2 are -0.5 and 0.5: errors 0.5 and 1.5.
    mean, scale = torch.tensor([1.0]), torch.tensor([2.0])
    outputs = [[0.0], [2.0]]
    ranks = loss(Problem.ORDINAL, outputs, [0, 2], [3.0, 1.0, 0.5], mean, scale)
    assert ranks == pytest.approx((3 * 0.25 + 0.5 * 2.25) / 2)
    amounts = loss(Problem.REGRESSION, outputs, [0.0, 2.0], None, mean, scale)
    assert amounts == pytest.approx((0.25 + 2.25) / 2)
