"""Neighbours by faiss against scikit-learn's brute force and plain loops."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from esm.common.errors import ShapeError
from esm.common.neighbours import nearest, nearest_codes, nearest_others
from tests.paths import ROOT


def plainly(points, k):
    """Sort (distance, index) of all other rows."""
    exact = points.astype(np.float64) - points.astype(np.float64).mean(0)
    return np.array(
        [
            sorted(
                (j for j in range(len(exact)) if j != i),
                key=lambda j: (((exact[j] - exact[i]) ** 2).sum(), j),
            )[:k]
            for i in range(len(exact))
        ]
    )


def test_equal_to_scikit_learn_by_brute_force():
    points = np.random.default_rng(0).standard_normal((300, 24)).astype(np.float32)
    index = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(points)
    expected = index.kneighbors(return_distance=False)  # of the points themselves, left out
    assert np.array_equal(nearest_others(points, 7), expected)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 70),
    d=st.integers(1, 4),
    k=st.integers(1, 8),
    values=st.integers(1, 4),
    offset=st.sampled_from([0.0, 1000.0]),
)
def test_ties_are_ordered_by_index(seed, n, d, k, values, offset):
    """Points on a coarse grid: most distances are tied, many points are equal."""
    points = np.random.default_rng(seed).integers(0, values, (n, d)).astype(np.float32) + offset
    k = min(k, n - 1)
    assert np.array_equal(nearest_others(points, k), plainly(points, k))


def test_many_equal_rows_push_none_out():
    points = np.zeros((100, 3), np.float32)
    points[50:] = 1
    found = nearest_others(points, 3)
    assert found[0].tolist() == [1, 2, 3]
    assert found[99].tolist() == [50, 51, 52]


def test_as_many_neighbours_as_there_are_and_no_more():
    points = np.arange(4, dtype=np.float32)[:, None]
    assert nearest_others(points, 3)[0].tolist() == [1, 2, 3]
    for k in (0, 4):
        with pytest.raises(ShapeError, match=rf"{k} neighbours of points \(4, 1\)"):
            nearest_others(points, k)


def test_queries_find_what_brute_force_finds():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((300, 24)).astype(np.float32)
    queries = rng.standard_normal((50, 24)).astype(np.float32)
    index = NearestNeighbors(n_neighbors=9, algorithm="brute").fit(points)
    distances, expected = index.kneighbors(queries)
    rows, squares = nearest(queries, points, 9)
    assert np.array_equal(rows, expected)
    np.testing.assert_allclose(np.sqrt(squares), distances, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    k=st.integers(1, 8),
    values=st.integers(1, 3),
    offset=st.sampled_from([0.0, 1000.0]),
)
def test_queries_order_ties_by_index_and_do_not_depend_on_each_other(seed, n, k, values, offset):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, values, (n, 3)).astype(np.float32) + offset
    queries = rng.integers(0, values, (30, 3)).astype(np.float32) + offset
    k = min(k, n)
    rows, squares = nearest(queries, points, k)
    centre = points.astype(np.float64).mean(0)
    for query, found, distances in zip(queries, rows, squares, strict=True):
        every = (((points - centre) - (query - centre)) ** 2).sum(axis=1)
        expected = np.lexsort((np.arange(n), every))[:k]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(distances, every[expected])
        assert nearest(query[None], points, k)[0][0].tolist() == found.tolist()


def test_no_query_has_no_neighbour():
    rows, squares = nearest(np.empty((0, 3)), np.ones((2, 3)), 2)
    assert rows.shape == squares.shape == (0, 2)
    with pytest.raises(ShapeError, match=r"3 neighbours of queries \(1, 3\) among points \(2, 3\)"):
        nearest(np.ones((1, 3)), np.ones((2, 3)), 3)


def test_faiss_is_imported_in_one_place():
    package = ROOT / "esm"
    importing = {
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(name.name == "faiss" for name in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "faiss")
    }
    assert importing == {"neighbours.py"}


def brute_force(queries, codes):
    """Count the bits that differ, pair by pair."""
    return [
        min(sum(int(a ^ b).bit_count() for a, b in zip(query, code, strict=True)) for code in codes)
        for query in queries
    ]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
)
def test_the_nearest_code_is_the_brute_force_one(width, count, queries, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (count, width), dtype=np.uint8)
    asked = rng.integers(0, 256, (queries, width), dtype=np.uint8)
    if queries:
        asked[0] = codes[-1]
    found = nearest_codes(asked, codes)
    assert found.shape == (queries,)
    assert found.tolist() == brute_force(asked, codes)


def test_codes_that_do_not_fit_are_refused():
    codes = np.zeros((2, 32), dtype=np.uint8)
    for queries, base in ((codes[:, :8], codes), (codes, codes[:0]), (codes[0], codes)):
        with pytest.raises(ShapeError, match="at least 1"):
            nearest_codes(queries, base)
