"""Moments equal the plain computation on mapped embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from esm.common.errors import FitError, ShapeError, TaskError
from esm.maps.forms import DenseMap, LowRankMap
from esm.scorers.moments import Moments, label_columns
from esm.tasks.task import Problem
from esm.training.class_weights import balance_weights

D, P, N = 5, 7, 40


def target(seed=0, columns=3):
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((N, D)) + 3
    lifted = rng.standard_normal((N, P)) - 2
    labels = rng.integers(0, 2, (N, columns)).astype(float)
    return base, lifted, labels, rng.uniform(0.5, 2, N)


def maps(seed=1):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    return [LowRankMap(0.5, draw(D, 2), draw(P, 2), draw(D)), DenseMap(draw(D, D), draw(D)), None]


@pytest.mark.parametrize("source_map", maps())
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_equal_those_of_the_mapped_embeddings(source_map, weighted):
    base, lifted, labels, weights = target()
    weights = weights if weighted else np.ones(N)
    moments = Moments.of(base, lifted, labels, weights if weighted else None)
    mapped = base if source_map is None else source_map.apply(base, lifted)
    found = moments.identity() if source_map is None else moments.mapped(source_map)

    weights = weights * N / weights.sum()
    mean, label_mean = np.average(mapped, 0, weights), np.average(labels, 0, weights)
    centred, centred_labels = mapped - mean, labels - label_mean
    scatter = (centred * weights[:, None]).T @ centred
    np.testing.assert_allclose(found.scatter, scatter, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        found.cross, (centred * weights[:, None]).T @ centred_labels, rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.label_means, label_mean, rtol=1e-12)
    np.testing.assert_allclose(found.label_squares, weights @ centred_labels**2, rtol=1e-12)
    assert found.count == N


def test_the_uncentred_moments_are_those_of_the_affine_map():
    """The textbook form S = A M A^T with z = [h, w, 1]."""
    base, lifted, labels, _ = target()
    source_map = maps()[0]
    z = np.hstack([base, lifted, np.ones((N, 1))])
    affine = source_map.affine()
    found = Moments.of(base, lifted, labels).mapped(source_map)
    second = found.scatter + N * np.outer(found.mean, found.mean)
    np.testing.assert_allclose(second, affine @ (z.T @ z) @ affine.T, rtol=1e-10)
    first = found.cross + N * np.outer(found.mean, found.label_means)
    np.testing.assert_allclose(first, affine @ z.T @ labels, rtol=1e-9)


def test_weights_count_by_their_ratios():
    base, lifted, labels, weights = target()
    once = Moments.of(base, lifted, labels, weights)
    twice = Moments.of(base, lifted, labels, 2 * weights)
    np.testing.assert_allclose(once.gram, twice.gram, rtol=1e-13)


def test_a_weight_of_two_is_the_example_twice():
    base, lifted, labels, _ = target()
    weights = np.where(np.arange(N) < 10, 2.0, 1.0)
    doubled = [np.vstack([array, array[:10]]) for array in (base, lifted, labels)]
    weighted, repeated = Moments.of(base, lifted, labels, weights), Moments.of(*doubled)
    np.testing.assert_allclose(weighted.gram / N, repeated.gram / (N + 10), rtol=1e-12)


def test_float32_embeddings_with_a_large_offset_keep_their_digits():
    base, lifted, labels, _ = target()
    shifted = Moments.of(base + 2.0**20, lifted, labels)
    np.testing.assert_allclose(shifted.gram, Moments.of(base, lifted, labels).gram, rtol=1e-7)


def test_a_dense_map_needs_no_lifted_features():
    base, lifted, labels, _ = target()
    dense = maps()[1]
    with_lift = Moments.of(base, lifted, labels).mapped(dense)
    without = Moments.of(base, None, labels).mapped(dense)
    np.testing.assert_allclose(with_lift.scatter, without.scatter, rtol=1e-12)


def test_maps_that_do_not_fit_are_refused():
    base, lifted, labels, _ = target()
    with pytest.raises(ShapeError, match=r"over 7 lifted features; expected width 5 over 0"):
        Moments.of(base, None, labels).mapped(maps()[0])
    with pytest.raises(ShapeError, match="map of width 5 over 0 lifted features; expected width 4"):
        Moments.of(base[:, :4], lifted, labels).mapped(maps()[1])


def test_bad_examples_are_refused():
    base, lifted, labels, weights = target()
    with pytest.raises(ShapeError, match=r"\(40, 5\), \(39, 7\), \(40, 3\).*as many rows"):
        Moments.of(base, lifted[1:], labels)
    with pytest.raises(ShapeError, match="two dimensions each"):
        Moments.of(base, lifted, labels[:, 0])
    with pytest.raises(FitError, match="not finite"):
        Moments.of(np.where(base > 4, np.nan, base), lifted, labels)
    with pytest.raises(FitError, match="weights that are not positive"):
        Moments.of(base, lifted, labels, weights - 1)
    with pytest.raises(ShapeError, match=r"weights of shape \(39,\); expected \(40,\)"):
        Moments.of(base, lifted, labels, weights[1:])
    with pytest.raises(FitError, match="1 examples; expected at least 2"):
        Moments.of(base[:1], lifted[:1], labels[:1])


# ------------------------------------------------------------------------------------- labels


def test_absent_classes_are_dropped():
    columns = label_columns(Problem.CLASSIFICATION, np.array([0, 3, 3, 1]), 5)
    np.testing.assert_array_equal(columns, [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]])


def test_labels_of_a_multi_label_task_that_never_vary_are_dropped():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(
        label_columns(Problem.MULTILABEL, labels, 3), [[1.0], [0.0], [1.0]]
    )


def test_regression_labels_lose_their_unit():
    kilograms = np.array([1.0, 2.0, 4.0, 9.0])
    columns = label_columns(Problem.REGRESSION, kilograms, 1)
    np.testing.assert_allclose(columns, label_columns(Problem.REGRESSION, 2.2 * kilograms + 7, 1))
    np.testing.assert_allclose([columns.mean(), columns.std()], [0, 1], atol=1e-12)
    assert columns.shape == (4, 1)


def test_ranks_are_one_standardised_column():
    columns = label_columns(Problem.ORDINAL, np.array([0, 2, 2, 0]), 3)
    assert columns.tolist() == [[-1.0], [1.0], [1.0], [-1.0]]


@pytest.mark.parametrize(
    ("problem", "labels", "message"),
    [
        (Problem.CLASSIFICATION, np.zeros(4, int), "one class only in 4 rows"),
        (Problem.CLASSIFICATION, np.array([0, 3]), "class numbers from 0 to 3; expected 0 to 2"),
        (Problem.CLASSIFICATION, np.array([-1, 1]), "class numbers from -1 to 1"),
        (Problem.REGRESSION, np.array([1.0, np.nan]), "labels that are NaN or infinite"),
        (Problem.REGRESSION, np.ones(3), "3 rows with the same label"),
        (Problem.MULTILABEL, np.ones((3, 2)), "3 rows with the same label"),
    ],
)
def test_labels_that_say_nothing_are_refused(problem, labels, message):
    with pytest.raises(TaskError, match=message):
        label_columns(problem, labels, 3)


def test_balanced_classes_weigh_the_same():
    labels = np.array([0, 0, 0, 0, 2, 2, 5])
    weights = balance_weights(labels)
    assert weights.mean() == pytest.approx(1)
    for label in (0, 2, 5):
        assert weights[labels == label].sum() == pytest.approx(7 / 3)
    with pytest.raises(ShapeError, match=r"labels of shape \(2, 2\)"):
        balance_weights(np.eye(2))
