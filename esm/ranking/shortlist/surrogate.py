"""What exact scores of some maps tell of the others: a Gaussian process over signatures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64

Signatures = npt.NDArray[np.float32]

# Choices of the kernel: length over which scores are alike, share of a part that is linear in the
# signature, and variance of what signatures do not tell, all for scores of variance 1.
_LENGTHS = (0.5, 0.8, 1.3, 2.0, 3.5)
_LINEAR = (0.0, 0.05, 0.3)
_NOISES = (1e-3, 3e-3, 1e-2, 3e-2)

# Most maps by which the kernel is chosen, and rows that are predicted at once.
_CHOICE = 400
_ROWS = 4096


class Kernel(NamedTuple):
    """``exp(-|x - x'|² / 2 l²) + linear x·x'``, and the noise."""

    length: float
    linear: float
    noise: float

    def between(self, rows: Signatures, others: Signatures) -> npt.NDArray[np.float32]:
        """Return (m, n) values between signatures (m, D) and (n, D)."""
        products = rows @ others.T
        squares = np.square(rows).sum(1)[:, None] + np.square(others).sum(1)
        alike: npt.NDArray[np.float32] = squares - 2 * products
        np.clip(alike, 0, None, out=alike)
        alike *= np.float32(-0.5 / self.length**2)
        np.exp(alike, out=alike)
        if self.linear:
            products *= np.float32(self.linear)
            alike += products
        return alike


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Predicts scores from signatures.

    Attributes:
        kernel: The kernel.
        points: (n, D) signatures of the maps that were scored.
        weights: (n,), of the kernel at each.
        mean: Mean of the scores.
    """

    kernel: Kernel
    points: Signatures
    weights: npt.NDArray[np.float32]
    mean: float

    @classmethod
    def fit(cls, points: Signatures, scores: Float64, kernel: Kernel) -> Self:
        """Fit to exact scores: O(n² D + n³).

        Args:
            points: (n, D).
            scores: (n,).
            kernel: See :func:`choose_kernel`.
        """
        from scipy.linalg import cho_factor, cho_solve

        mean, spread = _moments(scores)
        gram = _gram(points, kernel)
        solved = cho_solve(cho_factor(gram, lower=True), (scores - mean) / spread)
        return cls(kernel, points, (solved * spread).astype(np.float32), mean)

    def predict(self, rows: Signatures) -> Float64:
        """Return (m,) predicted scores of signatures (m, D): O(m n D)."""
        found = np.empty(len(rows))
        for begin in range(0, len(rows), _ROWS):
            part = rows[begin : begin + _ROWS]
            found[begin : begin + len(part)] = self.kernel.between(part, self.points) @ self.weights
        return found + self.mean


def choose_kernel(points: Signatures, scores: Float64) -> Kernel:
    """Return the kernel under which scores left out one by one are most likely.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 5.10 to
    5.12; the scale of the kernel is set to its optimum. Where there are many points, every other
    one, or fewer, is looked at.
    """
    step = -(-len(points) // _CHOICE)
    points, scores = points[::step], scores[::step]
    mean, spread = _moments(scores)
    aim = (scores - mean) / spread
    best, chosen = np.inf, Kernel(1.0, 0.0, 1e-2)
    for length, linear in product(_LENGTHS, _LINEAR):
        values, vectors = np.linalg.eigh(_gram(points, Kernel(length, linear, 0.0)))
        squares, turned = np.square(vectors), vectors.T @ aim
        for noise in _NOISES:
            inverse = 1 / (np.clip(values, 0, None) + noise)
            variance = 1 / (squares @ inverse)
            error = (vectors @ (inverse * turned)) * variance
            scale = np.mean(np.square(error) / variance)
            loss = np.log(scale) + np.log(variance).mean()
            if loss < best:
                best, chosen = loss, Kernel(length, linear, noise)
    return chosen


def _gram(points: Signatures, kernel: Kernel) -> npt.NDArray[Any]:
    gram = kernel.between(points, points).astype(np.float64)
    gram[np.diag_indices(len(gram))] += kernel.noise
    return gram


def _moments(scores: Float64) -> tuple[float, float]:
    return float(scores.mean()), float(scores.std()) or 1.0
