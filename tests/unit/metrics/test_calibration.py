"""Temperatures and their errors, against torch, scikit-learn and pencil and paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from esm.common.errors import ShapeError, TaskError
from esm.metrics.calibration import (
    CalibratedOn,
    Calibration,
    calibrate,
    calibration_error,
    calibration_rows,
    confidence,
    is_right,
    negative_log_likelihood,
    probabilities,
)
from esm.tasks.splits.draw import sample
from esm.tasks.task import Examples, Problem, SplitName
from tests.toy_tasks import toy_task

CLASSES, LABELS = Problem.CLASSIFICATION, Problem.MULTILABEL


def overconfident(rows=400, classes=3, factor=4.0, seed=0):
    """Labels drawn from a softmax, and the logits that went in, made too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, classes))
    chances = probabilities(CLASSES, logits)
    labels = np.array([rng.choice(classes, p=row) for row in chances])
    return labels, logits * factor


def as_rows(labels):
    return Examples(tuple(f"text {row}" for row in range(len(labels))), None, labels)


def torch_temperature(logits, labels, loss):
    log_temperature = torch.zeros(1, requires_grad=True, dtype=torch.float64)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=200, line_search_fn="strong_wolfe")

    def step():
        optimiser.zero_grad()
        value = loss(torch.from_numpy(logits) / log_temperature.exp(), torch.from_numpy(labels))
        value.backward()
        return value

    optimiser.step(step)
    return log_temperature.exp().item()


def test_the_temperature_is_the_one_that_torch_finds():
    labels, logits = overconfident()
    found = calibrate(CLASSES, as_rows(labels), logits, CalibratedOn.TEST)
    expected = torch_temperature(logits, labels, torch.nn.functional.cross_entropy)
    assert found.temperature == pytest.approx(expected, rel=1e-4)
    assert found.temperature == pytest.approx(4.0, rel=0.25)  # what the logits were multiplied by
    assert found.nll_before == pytest.approx(log_loss(labels, probabilities(CLASSES, logits)))
    assert found.nll_after < found.nll_before
    assert found.ece_after < 0.5 * found.ece_before


def test_all_labels_of_a_multi_label_task_share_one_temperature():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(300, 4))
    labels = (rng.random(logits.shape) < probabilities(LABELS, logits)).astype(np.float64)
    found = calibrate(LABELS, as_rows(labels), 3.0 * logits, CalibratedOn.UNUSED)
    expected = torch_temperature(
        3.0 * logits, labels, torch.nn.functional.binary_cross_entropy_with_logits
    )
    assert found.temperature == pytest.approx(expected, rel=1e-4)
    assert (found.calibrated_on, found.rows) == (CalibratedOn.UNUSED, 300)


def test_probabilities_are_those_of_torch_and_sum_to_one():
    logits = np.array([[2.0, -1.0, 800.0], [0.0, 0.0, 0.0]])
    expected = torch.softmax(torch.from_numpy(logits) / 2.5, dim=1)
    np.testing.assert_allclose(probabilities(CLASSES, logits, 2.5), expected, atol=1e-12)
    expected = torch.sigmoid(torch.from_numpy(-logits))
    np.testing.assert_allclose(probabilities(LABELS, -logits), expected, atol=1e-12)


def test_the_calibration_error_on_paper():
    # Three decisions at 0.9, two of them right; one at 0.6, wrong: (3 |2/3 - .9| + .6) / 4.
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    labels = np.array([0, 0, 0, 1])
    expected = (3 * abs(2 / 3 - 0.9) + 0.6) / 4
    assert calibration_error(CLASSES, labels, chances) == pytest.approx(expected)
    # As four labels of one row each: at 0.9 two of three right, at 0.6 wrong.
    flat = np.array([[0.9], [0.9], [0.1], [0.6]])
    wanted = np.array([[1.0], [1.0], [1.0], [0.0]])
    assert calibration_error(LABELS, wanted, flat) == pytest.approx(expected)


def test_a_multi_label_row_is_as_sure_as_its_least_sure_label():
    chances = np.array([[0.9, 0.2, 0.4], [0.99, 0.95, 0.9]])
    np.testing.assert_allclose(confidence(LABELS, chances), [0.6, 0.9])
    labels = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    assert is_right(LABELS, labels, chances).tolist() == [False, True]


def test_a_class_that_was_never_trained_does_not_spoil_the_temperature():
    labels, logits = overconfident()
    with_unknown = np.hstack([logits, np.full((len(logits), 1), -1e6)])
    relabelled = labels.copy()
    relabelled[:5] = 3
    found = calibrate(CLASSES, as_rows(relabelled), with_unknown, CalibratedOn.TEST)
    expected = calibrate(CLASSES, as_rows(labels[5:]), logits[5:], CalibratedOn.TEST)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-4)
    only_unknown = negative_log_likelihood(CLASSES, np.full(5, 3), with_unknown[:5])
    assert only_unknown == 0.0


def test_rows_that_are_all_right_sharpen_until_the_surest_has_what_they_support():
    # Two rows support 3/4 at most; a margin of 1 has it at a temperature of 1 / log 3.
    logits = np.array([[1.0, 0.0], [0.0, 0.5]])
    found = calibrate(CLASSES, as_rows(np.array([0, 1])), logits, CalibratedOn.TEST)
    assert (found.bound_reached, found.at_bound, found.highest) == (True, True, 0.75)
    assert found.temperature == pytest.approx(1 / np.log(3))
    flat = np.array([[1.0], [-0.5]])  # the same decisions as those of one label
    labels = np.array([[1.0], [0.0]])
    again = calibrate(LABELS, as_rows(labels), flat, CalibratedOn.TEST)
    assert (again.bound_reached, again.temperature) == (True, pytest.approx(1 / np.log(3)))


def test_rows_that_are_all_right_do_not_blur_either():
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])
    found = calibrate(CLASSES, as_rows(np.array([0, 1])), logits, CalibratedOn.TEST)
    assert (found.temperature, found.bound_reached) == (1.0, True)
    assert found.nll_after == found.nll_before
    level = np.zeros((2, 2))  # no decision is surer than another one, at any temperature
    level[0, 0] = level[1, 1] = 1e-9
    assert calibrate(CLASSES, as_rows(np.array([0, 1])), level, CalibratedOn.TEST).temperature == (
        pytest.approx(0.05)
    )


def test_one_wrong_row_near_the_boundary_does_not_make_the_others_certain():
    rng = np.random.default_rng(0)
    margins = np.append(rng.uniform(1.0, 3.0, 31), -0.05)
    logits = np.column_stack([margins, np.zeros(32)])
    rows = as_rows(np.zeros(32, dtype=np.int64))
    unsmoothed = torch_temperature(logits, rows.labels, torch.nn.functional.cross_entropy)
    smoothing = torch.nn.CrossEntropyLoss(label_smoothing=2 / 34)  # 1/34 of it for the other class
    found = calibrate(CLASSES, rows, logits, CalibratedOn.TEST)
    assert unsmoothed < 0.5
    assert found.temperature == pytest.approx(
        torch_temperature(logits, rows.labels, smoothing), rel=1e-3
    )
    assert (found.bound_reached, found.at_bound) == (False, False)


def test_smoothed_labels_as_torch_smooths_them():
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    # torch spreads over all classes, the own one included: 3/2 of a share of the others.
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), label_smoothing=0.15
    )
    found = negative_log_likelihood(CLASSES, labels, logits, smoothing=0.1)
    assert found == pytest.approx(expected.item())
    wanted = rng.integers(0, 2, (20, 3)).astype(np.float64)
    targets = np.abs(wanted - 0.1)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.from_numpy(targets)
    )
    found = negative_log_likelihood(LABELS, wanted, logits, smoothing=0.1)
    assert found == pytest.approx(expected.item())


def test_what_an_earlier_version_stored_can_be_read():
    stored = calibrate(CLASSES, as_rows(np.array([0, 1])), np.eye(2), CalibratedOn.TEST)
    content = stored.model_dump(mode="json", exclude={"bound_reached"})
    old = Calibration.model_validate(content | {"temperature": 0.05000003})
    assert (old.bound_reached, old.at_bound) == (None, True)
    assert not Calibration.model_validate(content | {"temperature": 0.5}).at_bound


def test_values_have_no_temperature():
    rows = as_rows(np.array([1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"2 labels and outputs \(2, 1\) of a regression task"):
        calibrate(Problem.REGRESSION, rows, np.zeros((2, 1)), CalibratedOn.TEST)


# ------------------------------------------------------------------------- which rows are taken


def spread_out(rows):
    """A task whose training texts are all different."""
    task = toy_task(num_train=rows)
    texts = tuple(f"{text} {row}" for row, text in enumerate(task.train.texts))
    train = Examples(texts, None, task.train.labels)
    return with_splits(task, {**task.splits, SplitName.TRAIN: train})


def with_splits(task, splits):
    return type(task)(task.id, task.problem, task.metric, task.label_names, splits)


def test_validation_rows_come_first():
    task = spread_out(100)
    task = with_splits(task, {**task.splits, SplitName.VALIDATION: task.test})
    assert calibration_rows(task, 20, 0) == (CalibratedOn.VALIDATION, task.test)


def test_training_rows_that_were_not_used_come_second():
    task = spread_out(100)
    origin, rows = calibration_rows(task, 40, seed=0)
    used = sample(task.train, task.problem, 40, 0)
    assert origin is CalibratedOn.UNUSED
    assert len(rows) == 60
    assert not set(rows.texts) & set(used.texts)


def test_a_text_that_was_used_is_not_unused():
    task = spread_out(100)
    train = Examples(task.train.texts[:1] * 100, None, task.train.labels)
    task = with_splits(task, {**task.splits, SplitName.TRAIN: train})
    assert calibration_rows(task, 40, 0)[0] is CalibratedOn.TEST


def test_few_unused_rows_are_not_enough():
    task = spread_out(60)
    assert calibration_rows(task, 20, 0) == (CalibratedOn.TEST, task.test)


def test_many_rows_are_sampled():
    task = spread_out(1400)
    origin, rows = calibration_rows(task, 100, 0)
    assert (origin, len(rows)) == (CalibratedOn.UNUSED, 1000)


def test_no_rows_at_all():
    task = with_splits(toy_task(), {SplitName.TRAIN: toy_task().train})
    with pytest.raises(TaskError, match="has no test rows"):
        calibration_rows(task, len(task.train), 0)
