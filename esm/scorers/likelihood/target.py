"""One target, decomposed once for all maps.

Centred base embeddings ``X = L Sigma E^T`` (n, d), lifted features W (n, p) and labels Y (n, K)
appear only as their products with the k left singular vectors L, and in what lies outside of
these. All of it follows from the moments, so the number of examples does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from esm.common.arrays import Float64
from esm.scorers.moments import Moments


@dataclass(frozen=True, eq=False)
class Inputs:
    """What low-rank maps read of a target, W (n, p), centred; float64.

    Attributes:
        inside: (p, k), W^T L.
        outside: (p, o), a root of the products of W outside of L: ``outside outside^T``.
        labels: (p, K), W^T Y outside of L.
        mean: (p,), weighted mean.
    """

    inside: torch.Tensor
    outside: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor


@dataclass(frozen=True, eq=False)
class TargetSpectrum:
    """A target in the singular basis of its base embeddings; float64, all on one device.

    Attributes:
        eigenvalues: (k,), lambda > 0 of X^T X, largest first; k <= min(d, n - 1).
        basis: (d, k), E.
        projections: (k, K), L^T Y.
        outside: (K,), squared norm of each label column outside of L.
        mean: (d,), weighted mean embedding.
        label_offset: (K,), sqrt(n) times the mean of each label column.
        lifted: The lifted features; None where the moments hold none.
        count: n.
    """

    eigenvalues: torch.Tensor
    basis: torch.Tensor
    projections: torch.Tensor
    outside: torch.Tensor
    mean: torch.Tensor
    label_offset: torch.Tensor
    lifted: Inputs | None
    count: int

    @property
    def width(self) -> int:
        """Embedding width d."""
        return len(self.mean)

    @property
    def num_columns(self) -> int:
        """Number K of label columns."""
        return int(self.projections.shape[1])

    @property
    def base(self) -> Inputs:
        """The base embeddings themselves, which compressed maps read."""
        nothing = self.basis.new_zeros(self.width, self.num_columns)
        return Inputs(
            inside=self.basis * torch.sqrt(self.eigenvalues),
            outside=nothing[:, :0],
            labels=nothing,
            mean=self.mean,
        )

    @classmethod
    def of(cls, moments: Moments, device: torch.device) -> Self:
        """Decompose a target: O(d³), and O(p³) where there are more examples than d.

        Args:
            moments: Centred moments of ``[h, w]`` and the labels.
            device: Where the tensors shall lie.
        """
        d, count = moments.width, moments.count
        eigenvalues, basis = _leading_pairs(moments.gram[:d, :d], count - 1)
        # Where L spans all that n centred rows can hold, nothing is outside of it.
        room = count - 1 - len(eigenvalues)
        left = basis / np.sqrt(eigenvalues)  # (d, k): X left = L
        projections = left.T @ moments.cross[:d]
        outside = moments.label_squares - np.square(projections).sum(0)
        lifted = None
        if len(moments.gram) > d:
            inside = moments.gram[d:, :d] @ left
            directions, lengths = _outer_pairs(moments.gram[d:, d:], inside, room)
            labels = moments.cross[d:] - inside @ projections
            lifted = Inputs(
                inside=to_tensor(inside, device),
                outside=to_tensor(directions * lengths, device),
                labels=to_tensor(directions @ (directions.T @ labels), device),
                mean=to_tensor(moments.mean[d:], device),
            )
        return cls(
            eigenvalues=to_tensor(eigenvalues, device),
            basis=to_tensor(basis, device),
            projections=to_tensor(projections, device),
            outside=to_tensor(np.maximum(outside, 0) if room else np.zeros_like(outside), device),
            mean=to_tensor(moments.mean[:d], device),
            label_offset=to_tensor(np.sqrt(count) * moments.label_means, device),
            lifted=lifted,
            count=count,
        )


def to_tensor(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array as a float64 tensor on a device; it is transferred as it is stored."""
    return torch.from_numpy(np.array(array, order="C")).to(device).double()


def _leading_pairs(scatter: Float64, room: int) -> tuple[Float64, Float64]:
    """Return the eigenvalues that are not rounding, largest first, and their vectors.

    Args:
        scatter: (d, d), positive semidefinite.
        room: Most that can be positive: n centred rows span n - 1 directions. What is zero in
            exact arithmetic has to be left out, or it is divided by.
    """
    eigenvalues, basis = np.linalg.eigh(scatter)
    width = len(eigenvalues)
    smallest = eigenvalues[-1] * width * np.finfo(np.float64).eps
    real = (eigenvalues > smallest) & (np.arange(width) >= width - room)
    return eigenvalues[real][::-1].copy(), basis[:, real][:, ::-1]


def _outer_pairs(products: Float64, inside: Float64, room: int) -> tuple[Float64, Float64]:
    """Return directions (p, o) and lengths (o,) of the lifted features outside of L.

    Args:
        products: (p, p), W^T W.
        inside: (p, k), W^T L.
        room: Most directions that can be left.
    """
    if not room:
        return np.zeros((len(products), 0)), np.zeros(0)
    apart = products - inside @ inside.T
    eigenvalues, basis = np.linalg.eigh((apart + apart.T) / 2)
    width = len(eigenvalues)
    smallest = float(np.linalg.norm(products)) * width * np.finfo(np.float64).eps
    real = (eigenvalues > smallest) & (np.arange(width) >= width - room)
    return basis[:, real], np.sqrt(eigenvalues[real])
