"""Ridge regression on features that are factorised once, and how well a prediction holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import FitError, ShapeError

Numbers = npt.NDArray[Any]

# In units of the mean eigenvalue of the features' Gram matrix. Held-out R² is flat between
# neighbouring powers of ten.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)

_FEWEST_ROWS = 10


def r_squared(true: Numbers, predicted: Numbers) -> float:
    """Return 1 - SSE / SST over all columns; SST is about the mean of ``true``.

    Args:
        true: (n, d).
        predicted: (n, d).

    Raises:
        ShapeError: The shapes differ.
        FitError: All rows of ``true`` are equal, so there is nothing to explain.
    """
    if true.shape != predicted.shape or true.ndim != 2:
        raise ShapeError(f"shapes {true.shape} and {predicted.shape}", expected="two equal (n, d)")
    exact = true.astype(np.float64)
    total = total_variance(exact)
    return 1.0 - float(np.square(exact - predicted).sum()) / total


def total_variance(rows: Float64, what: str = "tuned embeddings") -> float:
    """Return the sum of squares about the mean.

    Raises:
        FitError: There is none.
    """
    total = float(np.square(rows - rows.mean(axis=0)).sum()) if len(rows) else 0.0
    if not total > 0:
        raise FitError(
            f"{len(rows)} {what} that are all equal",
            expected="embeddings that differ from text to text",
            hint="fine-tune with a lower learning rate",
        )
    return total


@dataclass(frozen=True)
class Features:
    """Features of some rows, factorised once for every target and every penalty.

    Attributes:
        mean: (p,), their mean.
        eigenvalues: (p,), of the Gram matrix about the mean.
        eigenvectors: (p, p).
    """

    mean: Float64
    eigenvalues: Float64
    eigenvectors: Float64

    @classmethod
    def of(cls, features: Float64) -> Self:
        """Factorise (n, p) features: O(n p² + p³)."""
        mean = features.mean(axis=0)
        centred = features - mean
        eigenvalues, eigenvectors = np.linalg.eigh(centred.T @ centred)
        if not eigenvalues[-1] > 0:
            raise FitError(f"{len(features)} texts with equal features", expected="some variety")
        return cls(mean, np.maximum(eigenvalues, 0.0), eigenvectors)

    def shrinkage(self, penalty: float) -> Float64:
        """Return (p, 1) 1 / (eigenvalue + penalty), the penalty in mean eigenvalues."""
        weights: Float64 = 1 / (self.eigenvalues + penalty * self.eigenvalues.mean())
        return weights[:, None]


def leading_directions(cross: Float64, coefficients: Float64, rank: int) -> Float64:
    """Return (k, rank) leading directions of the augmented fitted values, best first.

    Their Gram matrix is ``C^T (G + penalty I)^-1 C``, the cross moments times the coefficients.
    """
    directions = np.linalg.eigh(cross.T @ coefficients)[1][:, : -rank - 1 : -1]
    peaks = np.abs(directions).argmax(axis=0)
    signs: Float64 = np.sign(directions[peaks, np.arange(rank)])
    return directions * signs


def check_rows(first: Numbers, second: Numbers) -> None:
    """Check that two sets of embeddings can be fitted to each other.

    Raises:
        ShapeError: They are not matrices with as many rows.
        FitError: A number is not finite, or there are fewer than ten rows.
    """
    shapes = (first.shape, second.shape)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][0] != shapes[1][0]:
        raise ShapeError(
            f"embeddings of shapes {shapes[0]} and {shapes[1]}",
            expected="two dimensions each and as many rows",
            hint="embed the same texts",
        )
    if shapes[0][0] < _FEWEST_ROWS:
        raise FitError(
            f"{shapes[0][0]} texts to fit a map on",
            expected=f"at least {_FEWEST_ROWS}, better 1,000 or more",
            hint="more anchors per task",
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise FitError(
            "embeddings that are NaN or infinite",
            expected="finite numbers only",
            hint="fine-tune with a lower learning rate, or in float32",
        )
