"""Nearest neighbours with faiss, exact, ties by index. The one place that imports faiss.

Faiss and torch each bring an OpenMP runtime. Faiss is imported when it is first asked for, after
torch in every run of this tool, and its threads are those of the environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esm.errors import ShapeError

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


def _search(points: npt.NDArray[np.float32], count: int) -> Rows:
    """Return (n, count) candidates of each row, itself among them unless many are equal to it."""
    faiss = _faiss()
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    candidates: Rows = index.search(points, count)[1]
    return candidates


def _ordered(
    exact: npt.NDArray[np.float64], row: int, candidates: Rows
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return candidates other than the row itself, nearest first, and their squared distances."""
    others = np.sort(candidates[candidates != row])
    distances = np.square(exact[others] - exact[row]).sum(axis=1)
    order = np.argsort(distances, kind="stable")
    return others[order], distances[order]


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
