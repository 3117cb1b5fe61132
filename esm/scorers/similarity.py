"""Cosine similarity of vectors; used by the scorers that compare one vector per task."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def cosine(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Return the cosine of the angle between two vectors; NaN where one of them is zero.

    Example:
        >>> cosine(np.array([1.0, 0.0]), np.array([3.0, 4.0]))
        0.6
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms > 0 else float("nan")
