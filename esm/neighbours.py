"""Nearest neighbours by faiss: the only module that imports it.

Faiss and torch each bring an OpenMP runtime. Faiss is imported when it is first asked for, after
torch in every run of this tool, and its threads are those of the environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esm.errors import ShapeError

Codes = npt.NDArray[np.uint8]


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
