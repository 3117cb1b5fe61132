"""Cheap orders of maps, each alone: would the best few per cent by them hold the best by LogME?

    python -m benchmarks.shortlist_orders --pool POOL --target FOLDER/ATTRIBUTE --maps 5000

Mixed and perturbed real maps (:mod:`benchmarks.mixtures`) are scored exactly and by each order:
printed are Spearman's correlation and how many of the exact top ten are among the best 2 %.

Kernel alignment (Cristianini et al., "On Kernel-Target Alignment", NeurIPS 2001, centred): with
``F = X + Z U^T`` the mapped embeddings divided by the map's scale, ``||F^T Y||² / ||F^T F||``.

First-order expansion: the derivative of the base model's evidence at its fixed point in the
direction of the map's change. With residual r, coefficients m, penalised residual P and prior
strength s of a column, ``F = X + Z U^T`` changes it by
``r^T Z U^T m / P - tr((X^T X + s I)^-1 X^T Z U^T) / n``; for all columns together that is
``tr(V^T G U)`` with one matrix G of the target. The change of the common offset is left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from benchmarks.mixtures import Mixtures
from benchmarks.shortlist import moments_of, others, real_maps
from esm.maps.stack import LowRankStack
from esm.pool.pool import Pool
from esm.scorers.likelihood.engine import Engine
from esm.scorers.logme import evidences_of_moments, fitted_precisions
from esm.scorers.moments import Moments

_BLOCK = 250
_SHARE = 0.02

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
        scores: Float64 = (labelled / np.sqrt(whole)).astype(np.float64)
        return scores


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


def measure(pool: Pool, mixtures: Mixtures, target: str, count: int) -> dict[str, Any]:
    """Compare both orders with the exact one for a target."""
    moments, source = moments_of(pool, target)
    numbers = others(pool, source, count)
    engine, orders = Engine(moments, evidences_of_moments), Orders(moments)
    parts = []
    for begin in range(0, len(numbers), _BLOCK):
        stack = mixtures.maps(numbers[begin : begin + _BLOCK].tolist())
        exact = engine.score(stack).mean(axis=1)
        parts.append([exact, orders.alignment(stack), orders.first_order(stack)])
    exact, *found = np.concatenate(parts, axis=1)
    top, few = np.argsort(-exact)[:10], round(_SHARE * len(exact))
    return {
        "target": target,
        "maps": len(exact),
        **{
            name: {
                "spearman": round(float(spearmanr(exact, one).statistic), 3),
                "top_ten_inside": int(np.isin(top, np.argsort(-one)[:few]).sum()),
            }
            for name, one in zip(("alignment", "first_order"), found, strict=True)
        },
    }


def main() -> None:
    """Compare for each target, and print the means."""
    parser = argparse.ArgumentParser(description="Cheap orders of maps, each alone.")
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--target", action="append", required=True, help="FOLDER/ATTRIBUTE")
    parser.add_argument("--maps", type=int, default=5000)
    options = parser.parse_args()
    pool = Pool.open(options.pool)
    mixtures = Mixtures(list(real_maps(pool).values()))
    rows = []
    for target in options.target:
        rows.append(measure(pool, mixtures, target, options.maps))
        print(json.dumps(rows[-1]), flush=True)
    for name in ("alignment", "first_order"):
        means = {
            key: round(float(np.mean([row[name][key] for row in rows])), 3)
            for key in ("spearman", "top_ten_inside")
        }
        print(json.dumps({"mean": name, "targets": len(rows), **means}))


if __name__ == "__main__":
    main()
