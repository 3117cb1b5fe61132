"""LAPACK called without the interpreter's lock, against NumPy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esm.scorers.likelihood.lapack import triangular_product, tridiagonal


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99))
def test_triangular_product(rows, columns, seed):
    rng = np.random.default_rng(seed)
    upper, right = np.triu(rng.standard_normal((rows, rows))), rng.standard_normal((rows, columns))
    expected = upper @ right
    np.testing.assert_allclose(triangular_product(upper, right.copy()), expected, atol=1e-12)
    np.testing.assert_allclose(
        triangular_product(upper, np.asfortranarray(right)), expected, atol=1e-12
    )


def test_what_lies_below_the_diagonal_is_not_read():
    upper = np.array([[2.0, 3.0], [np.nan, 5.0]])
    assert triangular_product(upper, np.eye(2)).tolist() == [[2.0, 3.0], [0.0, 5.0]]


@given(size=st.integers(1, 70), columns=st.integers(1, 9), seed=st.integers(0, 99))
def test_tridiagonal_form(size, columns, seed):
    """T is the matrix turned by the Q of which Q^T times the identity is given."""
    rng = np.random.default_rng(seed)
    root, sides = rng.standard_normal((size, size)), rng.standard_normal((size, columns))
    matrix = root @ root.T
    diagonal, beside, turned = tridiagonal(matrix.copy(), np.hstack([sides, np.eye(size)]))
    sides_turned, turn = turned[:, :columns], turned[:, columns:]
    beside = beside[: size - 1]
    expected = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    np.testing.assert_allclose(turn @ turn.T, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(turn @ matrix @ turn.T, expected, atol=1e-10)
    np.testing.assert_allclose(sides_turned, turn @ sides, atol=1e-11)


def test_the_sides_are_not_touched_and_one_row_has_a_zero_beside_it():
    sides = np.array([[1.0, -2.0]])
    diagonal, beside, turned = tridiagonal(np.array([[3.0]]), sides)
    assert (diagonal.tolist(), beside.tolist(), turned.tolist()) == ([3.0], [0.0], [[1.0, -2.0]])
    turned[:] = 7
    assert sides.tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize("workers", [2, 4])
def test_threads_get_the_same_bits(workers):
    rng = np.random.default_rng(0)
    roots = rng.standard_normal((12, 90, 90))

    def reduce(root):
        return np.hstack([part.ravel() for part in tridiagonal(root @ root.T, root[:, :3])])

    alone = [reduce(root) for root in roots]
    with ThreadPoolExecutor(workers) as executor:
        beside_others = list(executor.map(reduce, roots))
    np.testing.assert_array_equal(alone, beside_others)
