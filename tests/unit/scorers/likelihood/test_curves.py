"""The two functions of which the evidence is made, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esm.maps.stack import LowRankStack
from esm.scorers.likelihood.curves import curves
from esm.scorers.likelihood.dense import DenseTarget, dense_curves, diagonalise, tridiagonalise
from esm.scorers.likelihood.projection import project
from esm.scorers.likelihood.target import TargetSpectrum
from tests.likelihood_cases import draw_case, draw_dense, draw_low_rank, mapped_rows

CPU = torch.device("cpu")
SHAPES = [(60, 12, 16), (20, 12, 16), (13, 12, 16), (8, 12, 16), (5, 12, 3), (40, 1, 1)]
LOG_STRENGTHS = torch.tensor([-9.0, -4.0, 0.0, 3.0, 11.0], dtype=torch.float64)


def by_definition(case, one, log_strength, scale=1.0):
    """Return log det(I + S / s) and min ||y - F m||² + s ||m||² of the rows, divided by a."""
    rows = mapped_rows(case, one) / scale
    weights = np.ones(len(rows)) if case.weights is None else case.weights
    root = np.sqrt(weights * len(rows) / weights.sum())[:, None]
    features, columns = root * rows, root * case.columns
    strength = math.exp(log_strength)
    moments = features.T @ features
    _, determinant = np.linalg.slogdet(np.eye(len(moments)) + moments / strength)
    stacked = np.vstack([features, math.sqrt(strength) * np.eye(len(moments))])
    targets = np.vstack([columns, np.zeros((len(moments), columns.shape[1]))])
    solved = np.linalg.lstsq(stacked, targets, rcond=None)[0]
    return determinant, np.square(targets - stacked @ solved).sum(0)


@pytest.mark.parametrize(("n", "d", "p"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_low_rank_maps(n, d, p, weighted):
    case = draw_case(n, n, d, p, 3, weighted=weighted)
    rng = np.random.default_rng(n)
    maps = [draw_low_rank(rng, d, p, min(4, d, p)) for _ in range(3)]
    target = TargetSpectrum.of(case.moments, CPU)
    found = curves(target, project(target, LowRankStack.of(maps)), LOG_STRENGTHS)
    assert found.trusted.all()
    for number, one in enumerate(maps):
        for node, log_strength in enumerate(LOG_STRENGTHS.tolist()):
            expected = by_definition(case, one, log_strength, one.scale)
            assert float(found.log_determinant[number, node]) == pytest.approx(
                expected[0], abs=1e-9
            )
            np.testing.assert_allclose(
                found.log_residual[number, node].exp(), expected[1], rtol=1e-9
            )


@pytest.mark.parametrize(("n", "d", "p"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_dense_maps(n, d, p, weighted):
    case = draw_case(n, n, d, p, 3, weighted=weighted)
    rng = np.random.default_rng(n)
    maps = [draw_dense(rng, d) for _ in range(3)]
    target = DenseTarget(TargetSpectrum.of(case.moments, CPU))
    found = dense_curves(target.reduce(maps), LOG_STRENGTHS)
    assert found.trusted.all()
    for number, one in enumerate(maps):
        for node, log_strength in enumerate(LOG_STRENGTHS.tolist()):
            expected = by_definition(case, one, log_strength)
            assert float(found.log_determinant[number, node]) == pytest.approx(
                expected[0], abs=1e-9
            )
            np.testing.assert_allclose(
                found.log_residual[number, node].exp(), expected[1], rtol=1e-9
            )


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_the_tridiagonal_and_the_diagonal_form_are_the_same_matrix_turned(size):
    rng = np.random.default_rng(size)
    root = rng.standard_normal((size, size))
    products, sides = (
        torch.from_numpy(root @ root.T),
        torch.from_numpy(rng.standard_normal((size, 2))),
    )
    expected = sides.T @ torch.linalg.solve(products + torch.eye(size), sides)
    for form in (tridiagonalise, diagonalise):
        diagonal, beside, turned = form(products.clone(), sides)
        beside = beside[: size - 1]
        matrix = np.diag(diagonal + 1) + np.diag(beside, 1) + np.diag(beside, -1)
        found = turned.T @ np.linalg.solve(matrix, turned)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_digits_that_were_lost_are_noticed():
    """A map that is all but the labels themselves leaves a residual of rounding only."""
    case = draw_case(0, 60, 12, 3, 3)
    exact = type(case)(case.base, case.columns.copy(), case.columns, None)
    rng = np.random.default_rng(0)
    one = draw_low_rank(rng, 12, 3, 3, scale=1e-5)
    target = TargetSpectrum.of(exact.moments, CPU)
    nodes = torch.tensor([0.0], dtype=torch.float64)
    found = curves(target, project(target, LowRankStack.of([one])), nodes)
    assert not found.trusted.any()


def test_reducing_leaves_the_threads_as_they_were():
    case, rng = draw_case(0, 12, 6, 6, 2), np.random.default_rng(0)
    target = DenseTarget(TargetSpectrum.of(case.moments, CPU))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        target.reduce([draw_dense(rng, 6)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_bits_of_a_reduced_map_do_not_depend_on_the_threads():
    case, rng = draw_case(0, 60, 48, 6, 2), np.random.default_rng(0)
    target = DenseTarget(TargetSpectrum.of(case.moments, CPU))
    maps = [draw_dense(rng, 48) for _ in range(16)]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found.append(target.reduce(maps))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        for name in ("diagonal", "beside", "sides", "apart"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
