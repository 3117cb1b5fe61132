"""Cheap orders of maps that were tried before the surrogate: each alone, for one target.

Kernel alignment (Cristianini et al., "On Kernel-Target Alignment", NeurIPS 2001, centred): with
``F = X + Z U^T`` the mapped embeddings divided by the map's scale, ``||F^T Y||² / ||F^T F||``.

First-order expansion: the derivative of the base model's evidence at its fixed point in the
direction of the map's change. With residual r, coefficients m, penalised residual P and prior
strength s of a column, ``F = X + Z U^T`` changes it by
``r^T Z U^T m / P - tr((X^T X + s I)^-1 X^T Z U^T) / n``; for all columns together that is
``tr(V^T G U)`` with one matrix G of the target. The change of the common offset is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from esm.maps.stack import LowRankStack
from esm.moments import Moments
from esm.scorers.logme import fitted_precisions

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class Orders:
    """Scores stacks of anchored maps for one target; higher is better."""

    def __init__(self, moments: Moments) -> None:
        d = moments.width
        gram, cross = moments.gram, moments.cross
        base, mixed = gram[:d, :d], gram[d:, :d]  # X^T X, W^T X
        self._base, self._mixed, self._wide = (
            each.astype(np.float32) for each in (base, mixed, gram[d:, d:])
        )
        self._labels, self._wide_labels = cross[:d].astype(np.float32), cross[d:].astype(np.float32)
        self._direction = _direction(moments, base, mixed).astype(np.float32)

    def first_order(self, stack: LowRankStack) -> Float64:
        """Return the first-order change of the evidence, nats per example."""
        left, right = _parts(stack)
        scores: Float64 = ((right @ self._direction) * left).sum((1, 2)).astype(np.float64)
        return scores

    def alignment(self, stack: LowRankStack) -> Float64:
        """Return the centred kernel alignment, up to a factor of the target."""
        left, right = _parts(stack)
        through = left.transpose(0, 2, 1) @ (right @ self._wide_labels)
        labelled = np.square(self._labels + through).sum((1, 2))
        # F^T F = X^T X + A + A^T + U B U^T with A = X^T Z U^T and B = Z^T Z.
        read = right @ self._mixed  # (m, r, d), Z^T X
        inner = right @ self._wide @ right.transpose(0, 2, 1)
        change = read.transpose(0, 2, 1) @ left
        change = change + change.transpose(0, 2, 1) + left.transpose(0, 2, 1) @ (inner @ left)
        whole = np.square(self._base + change).sum((1, 2))
        return (labelled / np.sqrt(whole)).astype(np.float64)


def _parts(stack: LowRankStack) -> tuple[Float32, Float32]:
    scale = stack.scale.astype(np.float32)[:, None, None]
    return stack.left.astype(np.float32) / scale, stack.right.astype(np.float32)


def _direction(moments: Moments, base: Float64, mixed: Float64) -> Float64:
    """Return G (p, d)."""
    d, count = moments.width, moments.count
    offset, means = moments.mean[:d], moments.label_means
    base = base + count * np.outer(offset, offset)  # LogME has no intercept
    prior, noise = fitted_precisions(moments.identity())
    strengths = prior / noise
    eigenvalues, basis = np.linalg.eigh(base)
    eigenvalues = np.clip(eigenvalues, 0, None)
    total: Any = 0.0
    for column, strength in enumerate(strengths):
        inverse = (basis / (eigenvalues + strength)) @ basis.T
        label = moments.cross[:d, column] + count * means[column] * offset
        wide = moments.cross[d:, column]
        weights = inverse @ label
        penalised = moments.label_squares[column] + count * means[column] ** 2 - label @ weights
        residual = wide - mixed @ weights  # W^T r
        total = total + np.outer(residual, weights) / penalised - mixed @ inverse / count
    direction: Float64 = total / len(strengths)
    return direction
