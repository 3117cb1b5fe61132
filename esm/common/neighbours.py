"""Nearest neighbours with faiss, exact, ties by index. The one place that imports faiss.

Faiss and torch each bring an OpenMP runtime. Faiss is imported when it is first asked for, after
torch in every run of this tool, and its threads are those of the environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import ShapeError

Rows = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

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
    faiss = _faiss()
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


def nearest_codes(queries: Codes, codes: Codes) -> npt.NDArray[np.int32]:
    """Return how many bits lie between each query and the nearest of some codes.

    The search is exact, O(q n b) in popcounts: 512 queries and 1,000 codes of 256 bits take a
    millisecond.

    Args:
        queries: (q, b) uint8, q codes of 8 b bits.
        codes: (n, b) uint8, at least one.

    Returns:
        (q,) Hamming distances.

    Raises:
        ShapeError: The codes do not have the same width, or there are none.
    """
    if queries.ndim != 2 or codes.ndim != 2 or queries.shape[1] != codes.shape[1] or not len(codes):
        raise ShapeError(
            f"codes of shape {codes.shape} for queries of shape {queries.shape}",
            expected="(n, b) and (q, b) with n at least 1",
        )
    if not len(queries):
        return np.empty(0, dtype=np.int32)
    index = _faiss().IndexBinaryFlat(8 * codes.shape[1])
    index.add(np.ascontiguousarray(codes))
    distances, _ = index.search(np.ascontiguousarray(queries), 1)
    nearest: npt.NDArray[np.int32] = distances[:, 0]
    return nearest


def _faiss() -> Any:
    import faiss

    return faiss
