"""Low-rank maps seen from a target: what their evidence depends on.

A map ``a h + U V^T w + b`` is divided by its scale a. With ``X = L Sigma E^T`` the target's base
embeddings and W what the map reads, the mapped embeddings are ``X + (W V) (U / a)^T``, and the
evidence is that of the prior's strength ``s = t / a²``. It depends on ``L^T W V``, ``E^T U / a``,
what of the two lies outside of L and E, and the common offset. For a block of maps these are a
few matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from esm.errors import ShapeError
from esm.evidence.target import Reading, TargetSpectrum
from esm.maps.forms import LowRankMap


@dataclass(frozen=True, eq=False)
class LowRankBlock:
    """m low-rank maps of the same rank r, as float64 tensors.

    Attributes:
        scale: (m,), a; none of them 0.
        left: (m, r, d), U^T / a.
        right: (m, r, w), V^T.
        bias: (m, d), b / a.
        reads_base: Whether V reads the base embeddings instead of lifted features.
    """

    scale: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    bias: torch.Tensor
    reads_base: bool = False

    @classmethod
    def of(cls, maps: Sequence[LowRankMap], device: torch.device | None = None) -> Self:
        """Stack maps of one rank."""
        return cls.of_arrays(
            np.array([each.scale for each in maps]),
            np.stack([each.left.T for each in maps]),
            np.stack([each.right.T for each in maps]),
            np.stack([each.bias for each in maps]),
            device=device,
        )

    @classmethod
    def of_arrays(
        cls,
        scale: npt.NDArray[Any],
        left: npt.NDArray[Any],
        right: npt.NDArray[Any],
        bias: npt.NDArray[Any],
        *,
        reads_base: bool = False,
        device: torch.device | None = None,
    ) -> Self:
        """Take scale (m,), U^T (m, r, d), V^T (m, r, w) and b (m, d), in any precision."""
        place = device or torch.device("cpu")

        def exact(array: npt.NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(place).to(torch.float64)

        factor = exact(scale)
        return cls(
            scale=factor,
            left=exact(left) / factor[:, None, None],
            right=exact(right),
            bias=exact(bias) / factor[:, None],
            reads_base=reads_base,
        )

    def __len__(self) -> int:
        return len(self.scale)


@dataclass(frozen=True, eq=False)
class Projected:
    """m maps of rank r, seen from one target; float64.

    Attributes:
        scale: (m,), a.
        read: (m, r, k), V^T W^T L.
        written: (m, r + 1, k), (U / a)^T E, and below it g^T E; g is sqrt(n) times the mean of
            the mapped embeddings, divided by a.
        read_outside: (m, r, r), products of W V outside of L.
        written_outside: (m, r + 1, r + 1), products of [U / a, g] outside of E; None where E
            spans the whole space.
        labels_outside: (m, r, K), V^T W^T Y outside of L.
    """

    scale: torch.Tensor
    read: torch.Tensor
    written: torch.Tensor
    read_outside: torch.Tensor
    written_outside: torch.Tensor | None
    labels_outside: torch.Tensor

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def rank(self) -> int:
        """Rank r."""
        return int(self.read.shape[1])

    def rows(self, rows: torch.Tensor) -> Projected:
        """Return some of the maps, by their numbers."""
        outside = self.written_outside
        return Projected(
            scale=self.scale[rows],
            read=self.read[rows],
            written=self.written[rows],
            read_outside=self.read_outside[rows],
            written_outside=None if outside is None else outside[rows],
            labels_outside=self.labels_outside[rows],
        )


def project(target: TargetSpectrum, block: LowRankBlock) -> Projected:
    """Project a block of maps: O(m r (d k + w k + w o)).

    Raises:
        ShapeError: The maps have another width, or read other features, than the target.
    """
    reading = _reading(target, block)
    read = block.right @ reading.inside
    apart = block.right @ reading.outside
    through = (block.right @ reading.mean)[:, None, :] @ block.left  # V^T w passed through U
    offset = math.sqrt(target.count) * (target.mean + through[:, 0] + block.bias)
    wide = torch.cat([block.left, offset[:, None, :]], dim=1)  # (m, r + 1, d)
    written = wide @ target.basis
    return Projected(
        scale=block.scale,
        read=read,
        written=written,
        read_outside=apart @ apart.transpose(1, 2),
        written_outside=_written_outside(target, wide, written),
        labels_outside=block.right @ reading.labels,
    )


def _reading(target: TargetSpectrum, block: LowRankBlock) -> Reading:
    reading = target.base if block.reads_base else target.lifted
    width = 0 if reading is None else len(reading.mean)
    found = (block.left.shape[2], block.right.shape[2])
    if reading is None or found != (target.width, width):
        raise ShapeError(
            f"maps of width {found[0]} over {found[1]} features",
            expected=f"width {target.width} over {width}",
            hint="use the base model and the lift the maps were fitted with",
        )
    return reading


def _written_outside(
    target: TargetSpectrum, wide: torch.Tensor, written: torch.Tensor
) -> torch.Tensor | None:
    """Return the products of rows (m, r + 1, d) outside of the target's basis."""
    if target.basis.shape[1] == target.width:
        return None
    # The offset can be long; subtracting vectors instead of their products keeps its digits.
    offset = wide[:, -1:] - written[:, -1:] @ target.basis.T
    products = wide @ wide.transpose(1, 2) - written @ written.transpose(1, 2)
    mixed = wide @ offset.transpose(1, 2)
    products[:, :, -1:] = mixed
    products[:, -1:, :] = mixed.transpose(1, 2)
    products[:, -1:, -1:] = offset @ offset.transpose(1, 2)
    return products
