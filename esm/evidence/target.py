"""One target, decomposed once for all maps.

Centred base embeddings ``X = L Sigma E^T`` (n, d), lifted features ``W`` (n, p) and labels ``Y``
(n, K) appear only as their products with the k left singular vectors L, and in what lies outside
of these. All of it follows from the moments, so the number of examples does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from esm.moments import Float64, Moments


@dataclass(frozen=True, eq=False)
class Reading:
    """What the target says of the features that low-rank maps read, w of them.

    Attributes:
        inside: (w, k), W^T L.
        outside: (w, o), a root of the products of W outside of L: ``outside outside^T``.
        labels: (w, K), W^T Y outside of L.
        mean: (w,), weighted mean.
    """

    inside: torch.Tensor
    outside: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor


@dataclass(frozen=True, eq=False)
class TargetSpectrum:
    """A target in the singular basis of its base embeddings; all tensors float64, one device.

    Attributes:
        eigenvalues: (k,), lambda > 0 of X^T X, largest first; k <= min(d, n - 1).
        basis: (d, k), E.
        projections: (k, K), L^T Y.
        outside: (K,), squared norm of each label column outside of L.
        mean: (d,), weighted mean embedding.
        label_offset: (K,), sqrt(n) times the mean of each label column.
        lifted: The lifted features; None where the moments hold none.
        base: The base embeddings, read by low-rank maps of the last layer.
        count: n.
    """

    eigenvalues: torch.Tensor
    basis: torch.Tensor
    projections: torch.Tensor
    outside: torch.Tensor
    mean: torch.Tensor
    label_offset: torch.Tensor
    lifted: Reading | None
    base: Reading
    count: int

    @property
    def width(self) -> int:
        """Embedding width d."""
        return len(self.mean)

    @property
    def is_complete(self) -> bool:
        """Whether L spans all that n centred rows can hold, so that nothing lies outside."""
        return len(self.eigenvalues) == self.count - 1

    @classmethod
    def of(cls, moments: Moments, device: torch.device | None = None) -> Self:
        """Decompose a target: O(d³ + p³), twice where n exceeds d.

        Args:
            moments: Centred moments of ``[h, w]`` and the labels.
            device: Where the tensors shall lie; None for the CPU.
        """
        d, count = moments.width, moments.count
        eigenvalues, basis = leading_pairs(moments.gram[:d, :d], count - 1)
        root = np.sqrt(eigenvalues)
        left = basis / root  # (d, k): X left = L
        complete = len(eigenvalues) == count - 1
        projections = left.T @ moments.cross[:d]
        outside = moments.label_squares - np.square(projections).sum(0)
        tensor = _Placed(device)
        spectrum: dict[str, torch.Tensor] = {
            "eigenvalues": tensor(eigenvalues),
            "basis": tensor(basis),
            "projections": tensor(projections),
            "outside": tensor(np.maximum(outside, 0) * (not complete)),
            "mean": tensor(moments.mean[:d]),
            "label_offset": tensor(np.sqrt(count) * moments.label_means),
        }
        nothing = np.zeros((d, 0))
        base = Reading(
            inside=tensor(basis * root),
            outside=tensor(nothing),
            labels=tensor(np.zeros((d, moments.cross.shape[1]))),
            mean=spectrum["mean"],
        )
        lifted = None
        if len(moments.gram) > d:
            inside = moments.gram[d:, :d] @ left
            room = count - 1 - len(eigenvalues)
            whole = moments.gram[d:, d:]
            directions, lengths = _outer_pairs(whole - inside @ inside.T, whole, room)
            labels = moments.cross[d:] - inside @ projections
            lifted = Reading(
                inside=tensor(inside),
                outside=tensor(directions * lengths),
                labels=tensor(directions @ (directions.T @ labels)),
                mean=tensor(moments.mean[d:]),
            )
        return cls(**spectrum, lifted=lifted, base=base, count=count)


class _Placed:
    """Makes float64 tensors on a device."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device or torch.device("cpu")

    def __call__(self, array: Float64) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64)).to(self._device)


def leading_pairs(scatter: Float64, room: int) -> tuple[Float64, Float64]:
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
    return eigenvalues[real][::-1], basis[:, real][:, ::-1]


def _outer_pairs(product: Float64, whole: Float64, room: int) -> tuple[Float64, Float64]:
    """Return directions (w, o) and lengths (o,) of what lies outside of L.

    Args:
        product: (w, w), positive semidefinite but for rounding: ``whole`` after a subtraction.
        whole: (w, w), whose size says what rounding is.
        room: Most directions that can be left.
    """
    if not room:
        return np.zeros((len(product), 0)), np.zeros(0)
    eigenvalues, basis = np.linalg.eigh((product + product.T) / 2)
    width = len(eigenvalues)
    smallest = float(np.linalg.norm(whole)) * width * np.finfo(np.float64).eps
    real = (eigenvalues > smallest) & (np.arange(width) >= width - room)
    return basis[:, real], np.sqrt(eigenvalues[real])
