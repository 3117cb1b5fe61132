"""A pool of any size: real maps, mixed and perturbed from seeds.

Map number i mixes two or three maps of a real pool with random weights that sum to one (their
changes, scales and biases alike), brings the sum to the pool's rank, and turns every direction that
it reads or writes by a random angle. It depends on the seed and on i alone, so that any map of a
million can be made again when it is needed, and on nothing but the maps of the real pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from esm.maps.forms import LowRankMap
from esm.maps.stack import LowRankStack

_MOST = 3  # maps in a mixture


@dataclass(frozen=True)
class Recipes:
    """How some maps are mixed.

    Attributes:
        parents: (m, 3) numbers of the real maps; the last is given twice where there are but two.
        weights: (m, 3), of each; 0 for the repeated one.
        left_noise: (m, r, d) standard normal numbers.
        right_noise: (m, r, p).
    """

    parents: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    left_noise: npt.NDArray[np.float32]
    right_noise: npt.NDArray[np.float32]


class Mixtures:
    """Draws maps.

    Args:
        sources: Real maps, at least three, of one width.
        rank: Rank r of the drawn maps.
        noise: Tangent of the angle by which directions are turned, in the mean.
        seed: Seed.
    """

    def __init__(
        self, sources: Sequence[LowRankMap], *, rank: int = 16, noise: float = 0.2, seed: int = 0
    ) -> None:
        parts = [_leading(one, rank) for one in sources]
        self.rank, self._noise, self._seed = rank, noise, seed
        self._left = torch.stack([left for left, _ in parts])  # (S, r, d)
        self._right = torch.stack([right for _, right in parts])  # (S, r, p)
        self._scale = torch.tensor([float(one.scale) for one in sources], dtype=torch.float64)
        self._bias = torch.from_numpy(np.stack([one.bias for one in sources])).to(torch.float64)
        flat_left = self._left.flatten(0, 1)
        flat_right = self._right.flatten(0, 1)
        self._left_products = flat_left @ flat_left.T
        self._right_products = flat_right @ flat_right.T

    def recipes(self, numbers: Sequence[int], *, noise: bool = True) -> Recipes:
        """Draw how maps are mixed; without the noise it takes a tenth of the time."""
        count, width, lift_width = len(numbers), self._left.shape[2], self._right.shape[2]
        parents = np.empty((count, _MOST), dtype=np.int64)
        weights = np.zeros((count, _MOST))
        size = count if noise else 0
        left = np.empty((size, self.rank, width), dtype=np.float32)
        right = np.empty((size, self.rank, lift_width), dtype=np.float32)
        for row, number in enumerate(numbers):
            rng = np.random.default_rng((self._seed, int(number)))
            many = int(rng.integers(2, _MOST + 1))
            parents[row] = rng.choice(len(self._scale), _MOST, replace=False)
            parents[row, many:] = parents[row, many - 1]
            weights[row, :many] = rng.dirichlet(np.ones(many))
            if noise:
                rng.standard_normal(dtype=np.float32, out=left[row])
                rng.standard_normal(dtype=np.float32, out=right[row])
        return Recipes(parents, weights, left, right)

    def maps(self, numbers: Sequence[int]) -> LowRankStack:
        """Make maps by their numbers, in float16: about a millisecond each."""
        recipe = self.recipes(numbers)
        weights = torch.from_numpy(recipe.weights)
        parents = torch.from_numpy(recipe.parents)
        left, right = self._mixed(parents, weights)
        left = self._turned(left, recipe.left_noise)
        right = self._turned(right, recipe.right_noise)
        scale = (weights * self._scale[parents]).sum(1)
        bias = (weights[:, :, None] * self._bias[parents]).sum(1)
        return LowRankStack(_half(scale), _half(left), _half(right), _half(bias))

    def _mixed(
        self, parents: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return directions (m, r, d) and (m, r, p) of the weighted sums at rank r.

        With all directions of the parents stacked, U (q, d) and V (q, p), and their weights w,
        the sum is ``U^T diag(w) V``. In an orthonormal basis of U's rows, found from their
        products alone, its left singular vectors are eigenvectors of a (q, q) matrix.
        """
        rank = self.rank
        rows = (parents[:, :, None] * rank + torch.arange(rank)).flatten(1)  # (m, q)
        weight = weights.repeat_interleave(rank, dim=1)
        left_products = self._left_products[rows[:, :, None], rows[:, None, :]]
        right_products = self._right_products[rows[:, :, None], rows[:, None, :]]
        # A repeated parent has no weight; it must not be singular either.
        apart = weight > 0
        both = apart[:, :, None] & apart[:, None, :]
        unit = torch.eye(rows.shape[1], dtype=torch.float64)
        ridge = 1e-9 * torch.diagonal(left_products, dim1=1, dim2=2).mean(1)[:, None, None]
        root = torch.linalg.cholesky(torch.where(both, left_products, unit) + ridge * unit)
        inner = weight[:, :, None] * right_products * weight[:, None, :]
        _, vectors = torch.linalg.eigh(root.mT @ inner @ root)
        vectors = vectors[:, :, -rank:].flip(2)  # (m, q, r)
        written = torch.linalg.solve_triangular(root.mT, vectors, upper=True)
        read = weight[:, :, None] * (root @ vectors)
        left = torch.einsum("mqr,mqd->mrd", written, self._left.flatten(0, 1)[rows])
        right = torch.einsum("mqr,mqp->mrp", read, self._right.flatten(0, 1)[rows])
        return left, right

    def _turned(self, rows: torch.Tensor, noise: npt.NDArray[np.float32]) -> torch.Tensor:
        length = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
        turned: torch.Tensor = rows + (self._noise * length / rows.shape[2] ** 0.5) * (
            torch.from_numpy(noise)
        )
        return turned


def _leading(one: LowRankMap, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a map's leading directions, (r, d) and (r, p): the best sum of r products."""
    left, right = (torch.from_numpy(each.astype(np.float64)) for each in (one.left, one.right))
    left_turn, left_root = torch.linalg.qr(left)
    right_turn, right_root = torch.linalg.qr(right)
    u, s, vt = torch.linalg.svd(left_root @ right_root.T)
    kept = min(rank, len(s))
    written = torch.zeros(rank, len(left), dtype=torch.float64)
    read = torch.zeros(rank, len(right), dtype=torch.float64)
    written[:kept] = (left_turn @ u[:, :kept] * s[:kept]).T
    read[:kept] = (right_turn @ vt.T[:, :kept]).T
    return written, read


def _half(tensor: torch.Tensor) -> npt.NDArray[Any]:
    return tensor.to(torch.float16).numpy()
