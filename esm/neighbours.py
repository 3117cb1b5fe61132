"""Nearest neighbours with faiss, exact, ties by index. The one place that imports faiss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esm.errors import ShapeError

Rows = npt.NDArray[np.int64]

# Candidates beyond those that are asked for, among which rounding and ties are resolved.
_MARGIN = 16
_ROUNDING = 1e-5


def nearest_others(points: npt.NDArray[Any], k: int) -> Rows:
    """Return the k nearest other rows of every row, by Euclidean distance: leave-one-out.

    Equal distances are ordered by index. faiss finds candidates in float32; their distances are
    then computed again in float64, and a row whose candidates might not hold all of its neighbours
    (many equal texts, for instance) is compared with all others.

    Cost: O(n² d) multiplications, O(n (d + k)) memory.

    Args:
        points: (n, d) finite numbers.
        k: At most n - 1.

    Returns:
        (n, k) int64, nearest first.

    Raises:
        ShapeError: Not two dimensions, or k is out of range.
    """
    if points.ndim != 2 or not 1 <= k < len(points):
        raise ShapeError(
            f"{k} neighbours of points {points.shape}", expected="(n, d) and k from 1 to n - 1"
        )
    exact = points.astype(np.float64)
    exact = exact - exact.mean(axis=0)
    n, num_candidates = len(exact), min(len(exact), k + 1 + _MARGIN)
    candidates = _search(exact.astype(np.float32), num_candidates)
    tolerance = _ROUNDING * np.square(exact).sum(axis=1).max()
    found = np.empty((n, k), dtype=np.int64)
    for row in range(n):
        nearest, distances = _ordered(exact, row, candidates[row])
        unsure = len(nearest) < k or distances[k - 1] + tolerance >= distances[-1]
        if num_candidates < n and unsure:
            nearest, _ = _ordered(exact, row, np.arange(n))
        found[row] = nearest[:k]
    return found


def nearest(
    queries: npt.NDArray[Any], points: npt.NDArray[Any], k: int
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return the k nearest points of every query, by Euclidean distance.

    Exact, and ordered, as :func:`nearest_others`: neither the number of queries nor their order
    changes a neighbour. Cost: O(q n d) multiplications, O(q (d + k)) memory.

    Args:
        queries: (q, d) finite numbers.
        points: (n, d) finite numbers.
        k: From 1 to n.

    Returns:
        (q, k) int64 rows of the points, nearest first, and (q, k) squared distances.

    Raises:
        ShapeError: The widths differ, or k is out of range.
    """
    if queries.shape[1:] != points.shape[1:] or points.ndim != 2 or not 1 <= k <= len(points):
        raise ShapeError(
            f"{k} neighbours of queries {queries.shape} among points {points.shape}",
            expected="(q, d), (n, d) and k from 1 to n",
        )
    centre = points.astype(np.float64).mean(axis=0)
    exact, asked = points - centre, queries - centre
    n, num_candidates = len(points), min(len(points), k + _MARGIN)
    candidates = _search(exact.astype(np.float32), num_candidates, asked.astype(np.float32))
    longest = max(np.square(each).sum(axis=1).max(initial=0.0) for each in (exact, asked))
    rows = np.empty((len(asked), k), dtype=np.int64)
    squares = np.empty((len(asked), k))
    for place, query in enumerate(asked):
        found, distances = _sorted(exact, query, np.sort(candidates[place]))
        if num_candidates < n and distances[k - 1] + _ROUNDING * longest >= distances[-1]:
            found, distances = _sorted(exact, query, np.arange(n))
        rows[place], squares[place] = found[:k], distances[:k]
    return rows, squares


def _search(
    points: npt.NDArray[np.float32], count: int, queries: npt.NDArray[np.float32] | None = None
) -> Rows:
    """Return (q, count) candidates of each query; of each point, itself among them, without any.

    A point is not among its own candidates where many are equal to it.
    """
    import faiss

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(np.ascontiguousarray(points))
    asked = points if queries is None else queries
    candidates: Rows = index.search(np.ascontiguousarray(asked), count)[1]
    return candidates


def _ordered(
    exact: npt.NDArray[np.float64], row: int, candidates: Rows
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return candidates other than the row itself, nearest first, and their squared distances."""
    return _sorted(exact, exact[row], np.sort(candidates[candidates != row]))


def _sorted(
    exact: npt.NDArray[np.float64], query: npt.NDArray[np.float64], rows: Rows
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return ascending rows, nearest to the query first, and their squared distances to it."""
    distances = np.square(exact[rows] - query).sum(axis=1)
    order = np.argsort(distances, kind="stable")
    return rows[order], distances[order]
