"""The evidence of one map's embeddings: at its maximum, and as the reference computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.scorers.likelihood.rules import (
    NOISE_FLOOR,
    REFERENCE_EPSILON,
    SMALLEST,
    TOLERANCE,
)
from esm.scorers.moments import FeatureMoments

# The grid on which the maximum is looked for: its step in log t, how far it reaches beyond the
# smallest eigenvalue and beyond their sum, and how many golden sections follow (to 1e-8).
_GRID_STEP = 0.25
_NEAR_ZERO = 0.1 * NOISE_FLOOR
_NEAR_INFINITY = 1e4
_SECTIONS = 36
_MOST_HILLS = 8
_GOLDEN = (math.sqrt(5) - 1) / 2


class _Posterior(NamedTuple):
    """What one update needs of the posterior of each column, (K,) each."""

    weight_norm: Float64  # squared norm of the posterior mean
    residual: Float64  # residual sum of squares
    degrees: Float64  # effective number of parameters, gamma


@dataclass(frozen=True)
class Spectrum:
    """Bayesian regression of K columns in the eigenbasis of the features.

    The features' second moments are ``diag(eigenvalues) + offset offset^T``. The second term is
    their common offset, sqrt(n) times the mean; kept apart, it costs no digits however large it
    is: the Sherman-Morrison identity and the matrix determinant lemma account for it exactly.

    Attributes:
        eigenvalues: (k, 1), lambda >= 0.
        projections: (k, K), u, the columns in the left singular basis; 0 where lambda is 0.
        outside: (K,), squared norm of the columns outside that basis.
        offset: (k, 1), g; 0 where nothing was centred.
        label_offset: (K,), eta, sqrt(n) times the mean of each column.
        width: d; the d - k directions that are not listed have eigenvalue 0.
        count: n.
    """

    eigenvalues: Float64
    projections: Float64
    outside: Float64
    offset: Float64
    label_offset: Float64
    width: int
    count: int

    @classmethod
    def of_features(cls, features: Float64, columns: Float64) -> Self:
        """Decompose (n, d) features as they are, without centring."""
        left, singular, _ = np.linalg.svd(features, full_matrices=False)
        projections = left.T @ columns
        return cls(
            eigenvalues=np.square(singular)[:, None],
            projections=projections,
            outside=np.square(columns - left @ projections).sum(0),
            offset=np.zeros((len(singular), 1)),
            label_offset=np.zeros(columns.shape[1]),
            width=features.shape[1],
            count=len(features),
        )

    @classmethod
    def of_moments(cls, moments: FeatureMoments) -> Self:
        """Decompose centred moments: O(d³)."""
        eigenvalues, basis = np.linalg.eigh(moments.scatter)
        width, count = len(eigenvalues), moments.count
        # n centred rows span at most n - 1 directions, and rounding reaches the rest: what is
        # zero in exact arithmetic has to be zero here, or it is divided by.
        smallest = eigenvalues[-1] * width * np.finfo(np.float64).eps
        real = (eigenvalues > smallest) & (np.arange(width) >= width - (count - 1))
        eigenvalues = np.where(real, eigenvalues, 0.0)[:, None]
        inverse_root = np.where(real, 1.0, 0.0)[:, None] / np.sqrt(
            np.where(real[:, None], eigenvalues, 1.0)
        )
        projections = inverse_root * (basis.T @ moments.cross)
        outside = moments.label_squares - np.square(projections).sum(0)
        if real.sum() == count - 1:
            outside = np.zeros_like(outside)  # the features span all of the centred labels
        return cls(
            eigenvalues=eigenvalues,
            projections=projections,
            outside=np.maximum(outside, 0.0),
            offset=np.sqrt(count) * (basis.T @ moments.mean)[:, None],
            label_offset=np.sqrt(count) * moments.label_means,
            width=width,
            count=count,
        )

    @cached_property
    def whole(self) -> Float64:
        """(K,) sums of squares of the columns."""
        squares = np.square(self.projections).sum(0) + self.outside + np.square(self.label_offset)
        whole: Float64 = np.maximum(squares, SMALLEST)
        return whole

    def curves(self, ratio: Float64) -> _Curves:
        """Return the functions that the evidence is made of, for (K,) ratios t: O(k K)."""
        shrink = 1 / (self.eigenvalues + ratio)
        # (S + tI)^-1 for S = diag(lambda) + g g^T, by Sherman and Morrison.
        lever = 1 + (np.square(self.offset) * shrink).sum(0)
        root = np.sqrt(self.eigenvalues)
        drift = self.label_offset - (self.offset * root * shrink * self.projections).sum(0)
        residual = (ratio * shrink * np.square(self.projections)).sum(0) + self.outside
        return _Curves(
            residual=residual + np.square(drift) / lever + NOISE_FLOOR * self.whole,
            log_determinant=np.log1p(self.eigenvalues / ratio).sum(0) + np.log(lever),
        )

    def profile(self, ratio: Float64) -> Float64:
        """Return (K,) log evidences per example at ratios t, the highest over the noise."""
        found = self.curves(ratio)
        height: Float64 = _constant(self.count) - np.log(found.residual) / 2
        return height - found.log_determinant / (2 * self.count)

    def posterior(self, ratio: Float64) -> _Posterior:
        """Return the posteriors for (K,) ratios t = alpha / beta of features without an offset."""
        shrink = 1 / (self.eigenvalues + ratio)
        mean = np.sqrt(self.eigenvalues) * shrink * self.projections
        residual = ratio * shrink * self.projections
        return _Posterior(
            weight_norm=np.square(mean).sum(0),
            residual=np.square(residual).sum(0) + self.outside,
            degrees=(self.eigenvalues * shrink).sum(0),
        )


class _Curves(NamedTuple):
    """What the evidence of each column is made of at a ratio t = alpha / beta, (K,) each."""

    residual: Float64  # min over m of ||y - F m||^2 + t ||m||^2, and the floor of the noise
    log_determinant: Float64  # log det(I + S / t)


class Maximum(NamedTuple):
    """Where the evidence of each column is highest, (K,) each."""

    evidence: Float64  # nats per example
    ratio: Float64  # alpha / beta


def _constant(count: int) -> float:
    return (math.log(count) - 1 - math.log(2 * math.pi)) / 2


def maximum(spectrum: Spectrum) -> Maximum:
    """Return the maximum over both precisions: a grid over log t, then golden sections.

    At the noise precision n / P(t) the evidence is a function of the ratio t = alpha / beta alone,

        -1/2 log(P(t) / n) - 1/(2 n) log det(I + S / t) - 1/2 - 1/2 log(2 pi)

    with P the penalised residual, to which a floor of the noise is added (as a prior of beta would:
    exp(-floor beta / 2)). Towards t = infinity it has a limit, which is the maximum where the
    features tell nothing of the labels. The grid reaches beyond all eigenvalues.

    Source:
        MacKay 1992, section 4; golden sections: Kiefer 1953, Proc. AMS 4.
    """
    positive = spectrum.eigenvalues[spectrum.eigenvalues > 0]
    total = float(positive.sum() + np.square(spectrum.offset).sum())
    num_columns = spectrum.projections.shape[1]
    limit = _constant(spectrum.count) - np.log((1 + NOISE_FLOOR) * spectrum.whole) / 2
    if not total:
        return Maximum(limit, np.ones(num_columns))
    low = math.log(_NEAR_ZERO * min(float(positive.min(initial=total)), total))
    high = math.log(_NEAR_INFINITY * total)
    grid = np.linspace(low, high, math.ceil((high - low) / _GRID_STEP) + 1)
    heights = np.array([spectrum.profile(np.full(num_columns, math.exp(at))) for at in grid])
    step = grid[1] - grid[0]
    ratio, evidence = np.exp(grid[heights.argmax(0)]), heights.max(0)
    for start in _hills(heights):
        found = _refined(spectrum, grid[start], step, (low, high))
        higher = found.evidence > evidence
        ratio = np.where(higher, found.ratio, ratio)
        evidence = np.where(higher, found.evidence, evidence)
    ratio = np.where(limit >= evidence, math.exp(high), ratio)
    return Maximum(np.maximum(evidence, limit), ratio)


def _hills(heights: Float64) -> list[npt.NDArray[np.int64]]:
    """Return places (K,) on a grid (G, K) that are no lower than those beside them, highest first.

    A column with fewer such places than another repeats its highest.
    """
    edge = np.full((1, heights.shape[1]), -np.inf)
    around = np.concatenate([edge, heights, edge])
    is_hill = (heights >= around[:-2]) & (heights >= around[2:])
    order = np.argsort(np.where(is_hill, -heights, np.inf), axis=0, kind="stable")
    counts = is_hill.sum(0)
    return [
        np.where(rank < counts, order[rank], order[0])
        for rank in range(min(int(counts.max()), _MOST_HILLS))
    ]


def _refined(spectrum: Spectrum, start: Float64, step: float, ends: tuple[float, float]) -> Maximum:
    """Return the maxima within a step of log t around places (K,), by golden sections."""
    left, right = np.maximum(start - step, ends[0]), np.minimum(start + step, ends[1])
    for _ in range(_SECTIONS):
        inner = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        goes_left = spectrum.profile(np.exp(inner[0])) >= spectrum.profile(np.exp(inner[1]))
        left, right = np.where(goes_left, left, inner[0]), np.where(goes_left, inner[1], right)
    ratio = np.exp((left + right) / 2)
    return Maximum(spectrum.profile(ratio), ratio)


def reference(spectrum: Spectrum, max_updates: int) -> Float64:
    """Return (K,) log evidences per example as the reference computes them.

    Every column starts anew at alpha = beta = 1 and stops on its own. The evidence combines the
    last alpha and beta with the posterior from before that update.
    """
    n, d = spectrum.count, spectrum.width
    num_columns = spectrum.projections.shape[1]
    alpha, beta, weight_norm, residual, degrees = np.ones((5, num_columns))
    active = np.ones(num_columns, dtype=bool)
    for _ in range(max_updates):
        ratio = alpha / beta
        posterior = spectrum.posterior(ratio)
        degrees = np.where(active, posterior.degrees, degrees)
        weight_norm = np.where(active, posterior.weight_norm, weight_norm)
        residual = np.where(active, posterior.residual, residual)
        new_alpha = degrees / (weight_norm + REFERENCE_EPSILON)
        new_beta = (n - degrees) / (residual + REFERENCE_EPSILON)
        alpha = np.where(active, np.maximum(new_alpha, SMALLEST), alpha)
        beta = np.where(active, np.maximum(new_beta, SMALLEST), beta)
        active &= np.abs(alpha / beta - ratio) > TOLERANCE * ratio
        if not active.any():
            break
    evidence: Float64 = (
        d * np.log(alpha)
        + n * np.log(beta)
        - np.log(alpha + beta * spectrum.eigenvalues).sum(0)
        - beta * residual
        - alpha * weight_norm
        - n * np.log(2 * np.pi)
    ) / (2 * n)
    return evidence
