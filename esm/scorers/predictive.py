"""What each example says of a score: leave-one-out log predictive densities of LogME's model.

The log evidence of n examples is a sum of predictive densities, each given the examples before;
given all the others, each example has a share of its own, and how much these shares scatter is
how uncertain the evidence is. Alpha and beta stay as they were fitted on all examples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from esm.common.arrays import Float64
from esm.common.errors import ShapeError
from esm.scorers.moments import normalise_weights

# Keeps the logarithm finite where an example's features determine its label altogether.
_SMALLEST = float(np.finfo(np.float64).tiny)


class Precisions(NamedTuple):
    """Fitted precisions of every label column's regression, (K,) each."""

    prior: Float64  # alpha, of the coefficients
    noise: Float64  # beta, of an example of weight 1


def leave_one_out_densities(
    features: Float64, columns: Float64, precisions: Precisions, weights: Float64 | None = None
) -> Float64:
    """Return (n,) log densities of each example's labels given all others', mean over columns.

    Bayesian regression without intercept, ``y ~ N(X m, 1 / beta)``, ``m ~ N(0, 1 / alpha)``. With
    residuals e and leverages h of the fit to all examples, those without example i follow in
    closed form: its residual is ``e / (1 - h)``, its variance ``1 / (beta (1 - h))``. An example
    of weight w counts as w examples of one w-th of a turn each: its density to the power of w.

    Args:
        features: (n, d).
        columns: (n, K) label columns.
        precisions: Fitted alpha and beta of each column.
        weights: (n,) positive weights of the examples; they are scaled to average 1.

    Returns:
        (n,) nats. Cost: one singular value decomposition, O(n d min(n, d)).

    Raises:
        ShapeError: Shapes do not fit.

    Source:
        Cook and Weisberg 1982, Residuals and Influence in Regression, section 2.2, for the
        deletion of a row; here with a ridge.
    """
    if features.ndim != 2 or columns.shape != (len(features), len(precisions.prior)):
        raise ShapeError(
            f"features of shape {features.shape}, label columns of shape {columns.shape}",
            expected=f"(n, d) and (n, {len(precisions.prior)})",
        )
    scale = normalise_weights(weights, len(features))[:, None]
    root = np.sqrt(scale)
    left, singular, _ = np.linalg.svd(root * features, full_matrices=False)
    labels = root * columns
    projections = left.T @ labels
    ratio = precisions.prior / precisions.noise
    kept = ratio / (np.square(singular)[:, None] + ratio)  # (k, K), the share left as residual
    outside = labels - left @ projections
    uncovered = 1 - np.square(left).sum(axis=1)
    if len(features) <= features.shape[1]:  # zero in exact arithmetic; rounding must not decide
        outside, uncovered = np.zeros_like(outside), np.zeros_like(uncovered)
    residuals = left @ (kept * projections) + outside
    free = np.maximum(uncovered, 0.0)[:, None] + np.square(left) @ kept  # 1 - h
    free = np.maximum(free, _SMALLEST)
    densities: Float64 = (
        scale * np.log(precisions.noise / (2 * np.pi))
        + np.log(free)
        - precisions.noise * np.square(residuals) / free
    ) / 2
    mean: Float64 = densities.mean(axis=1)
    return mean
