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


def _search(points: npt.NDArray[np.float32], count: int) -> Rows:
    """Return (n, count) candidates of each row, itself among them unless many are equal to it."""
    import faiss

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
