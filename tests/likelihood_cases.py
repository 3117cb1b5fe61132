"""Targets and maps drawn from a seed, for the tests of everything that scores many maps at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from esm.maps.forms import DenseMap, EmbeddingSpaceMap, LowRankMap
from esm.scorers.moments import Moments


@dataclass(frozen=True)
class Case:
    """A target as rows and as moments."""

    base: np.ndarray
    lifted: np.ndarray
    columns: np.ndarray
    weights: np.ndarray | None

    @property
    def moments(self) -> Moments:
        return Moments.of(self.base, self.lifted, self.columns, self.weights)


def conditioned(rng, n, m, condition, offset):
    """(n, m) features whose centred singular values spread over ``condition``."""
    rotation = np.linalg.qr(rng.standard_normal((m, m)))[0]
    spread = condition ** -np.linspace(0, 1, m)
    return rng.standard_normal((n, m)) * spread @ rotation + offset * rng.standard_normal(m)


def draw_case(
    seed, n, d, p, num_columns, *, weighted=False, condition=10.0, offset=1.0, learnable=True
):
    rng = np.random.default_rng(seed)
    base = conditioned(rng, n, d, condition, offset)
    lifted = conditioned(rng, n, p, condition, offset)
    signal = (base - base.mean(0)) @ rng.standard_normal((d, num_columns)) if learnable else 0
    columns = signal + rng.standard_normal((n, num_columns)) + rng.standard_normal(num_columns)
    return Case(base, lifted, columns, rng.uniform(0.3, 3, n) if weighted else None)


def draw_low_rank(rng, d, p, rank, scale=None):
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    return LowRankMap(
        float(rng.uniform(0.3, 1.2)) if scale is None else scale,
        draw(d, rank) / np.float32(np.sqrt(d)),
        draw(p, rank) / np.float32(np.sqrt(p)),
        draw(d) / np.float32(4),
    )


def draw_dense(rng, d):
    noise = rng.standard_normal((d, d)) / (2 * np.sqrt(d))
    weight = (0.8 * np.eye(d) + noise).astype(np.float32)
    return DenseMap(weight, rng.standard_normal(d).astype(np.float32) / np.float32(4))


def mapped_rows(case: Case, one: EmbeddingSpaceMap) -> np.ndarray:
    """(n, d) float64 mapped embeddings, the plain way."""
    wide = np.hstack([case.base, case.lifted, np.ones((len(case.base), 1))])
    affine = one.affine()
    inputs = wide if one.lift_width else np.delete(wide, np.s_[case.base.shape[1] : -1], axis=1)
    return inputs @ affine.T


def condition_number(embeddings):
    """Condition of the centred second moments, over the directions that n rows can span."""
    n, d = embeddings.shape
    singular = np.linalg.svd(embeddings - embeddings.mean(0), compute_uv=False)[: min(n - 1, d)]
    return (singular[0] / singular[-1]) ** 2
