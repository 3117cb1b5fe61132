"""Low-rank maps seen from a target: what their marginal likelihood depends on.

A map ``a h + U V^T w + b`` is divided by its scale a. With ``X = L Sigma E^T`` the target's base
embeddings and W what the map reads (lifted features, or X again), the mapped embeddings are then
``X + (W V) (U / a)^T``, and the prior's strength is ``s = t / a²``. All depends on ``L^T W V``, on
``E^T U / a``, on what of the two lies outside of L and E, and on the common offset. For many maps
these are a few matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from esm.common.errors import ShapeError
from esm.maps.stack import LowRankStack
from esm.scorers.likelihood.target import Inputs, TargetSpectrum, to_tensor


@dataclass(frozen=True, eq=False)
class Projected:
    """m maps of rank r, seen from one target; float64.

    Attributes:
        read: (m, r, k), V^T W^T L.
        written: (m, r + 1, k), (U / a)^T E, and below it g^T E; g is sqrt(n) times the mean of
            the mapped embeddings, divided by a.
        read_outside: (m, r, r), products of W V outside of L.
        written_outside: (m, r + 1, r + 1), products of [U / a, g] outside of E; None where E
            spans the whole space.
        labels_outside: (m, r, K), V^T W^T Y outside of L.
    """

    read: torch.Tensor
    written: torch.Tensor
    read_outside: torch.Tensor
    written_outside: torch.Tensor | None
    labels_outside: torch.Tensor

    def __len__(self) -> int:
        return len(self.read)

    @property
    def rank(self) -> int:
        """Rank r."""
        return int(self.read.shape[1])

    def rows(self, rows: torch.Tensor | slice) -> Projected:
        """Return some of the maps, by their numbers."""
        if isinstance(rows, torch.Tensor) and len(rows) == len(self):
            return self
        outside = self.written_outside
        return Projected(
            read=self.read[rows],
            written=self.written[rows],
            read_outside=self.read_outside[rows],
            written_outside=None if outside is None else outside[rows],
            labels_outside=self.labels_outside[rows],
        )


def project(target: TargetSpectrum, maps: LowRankStack) -> Projected:
    """Project maps whose scale is not 0: O(r (d k + p k + p o)) per map.

    Raises:
        ShapeError: The maps have another width, or read lifted features of another width, than
            the target.
    """
    inputs = _inputs(target, maps)
    device = target.eigenvalues.device
    scale = to_tensor(maps.scale, device)
    right = to_tensor(maps.right, device)
    wide = right.new_empty(len(maps), maps.rank + 1, maps.width)
    wide[:, :-1] = torch.from_numpy(np.ascontiguousarray(maps.left)).to(device)
    wide[:, :-1] /= scale[:, None, None]

    apart = right @ inputs.outside
    through = (right @ inputs.mean)[:, None, :] @ wide[:, :-1]  # U V^T times the mean of w
    bias = to_tensor(maps.bias, device) / scale[:, None]
    wide[:, -1] = math.sqrt(target.count) * (target.mean + through[:, 0] + bias)
    written = wide @ target.basis
    return Projected(
        read=right @ inputs.inside,
        written=written,
        read_outside=apart @ apart.transpose(1, 2),
        written_outside=_written_outside(target, wide, written),
        labels_outside=right @ inputs.labels,
    )


def _inputs(target: TargetSpectrum, maps: LowRankStack) -> Inputs:
    lifted = target.lifted
    width = 0 if lifted is None else len(lifted.mean)
    if maps.width == target.width:
        if maps.reads_base:
            return target.base
        if lifted is not None and maps.lift_width == width:
            return lifted
    raise ShapeError(
        f"maps of width {maps.width} over {maps.lift_width} lifted features",
        expected=f"width {target.width} over {width}",
        hint="use the base model and the lift the maps were fitted with",
    )


def _written_outside(
    target: TargetSpectrum, wide: torch.Tensor, written: torch.Tensor
) -> torch.Tensor | None:
    """Return the products of rows (m, r + 1, d) outside of the target's basis."""
    if target.basis.shape[1] == target.width:
        return None
    products = wide @ wide.transpose(1, 2) - written @ written.transpose(1, 2)
    # The offset can be long; subtracting vectors instead of their products keeps its digits.
    offset = wide[:, -1:] - written[:, -1:] @ target.basis.T
    mixed = wide @ offset.transpose(1, 2)
    products[:, :, -1:] = mixed
    products[:, -1:, :] = mixed.transpose(1, 2)
    products[:, -1:, -1:] = offset @ offset.transpose(1, 2)
    return products
