"""The PCA of wide features that all anchored maps of a pool share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float32
from esm.common.errors import FitError, MapError, ShapeError
from esm.common.storage import load_tensors, save_tensors

# Below this share of its mean, a feature's spread is rounding of float32, not information.
_CONSTANT = 1e-6


@dataclass(frozen=True, eq=False)
class Lift:
    """Standardisation and PCA of the wide features, fitted once and shared by a whole pool.

    Attributes:
        mean: (D,) float32.
        scale: (D,) float32, the standard deviations; 1 for constant features.
        components: (D, p) float32, orthonormal columns by falling variance.
    """

    mean: Float32
    scale: Float32
    components: Float32

    def __post_init__(self) -> None:
        arrays = {"mean": self.mean, "scale": self.scale, "components": self.components}
        D = self.mean.size
        fits = self.mean.shape == self.scale.shape == (D,) and self.components.ndim == 2
        single = all(array.dtype == np.float32 for array in arrays.values())
        if not (fits and single and self.components.shape[0] == D and 0 < self.width <= D):
            found = [f"{name} {array.shape} {array.dtype}" for name, array in arrays.items()]
            raise MapError(
                f"a lift of {', '.join(found)}",
                expected="float32 of shape (D,), (D,) and (D, p) with p at most D",
            )
        finite = all(np.isfinite(array).all() for array in arrays.values())
        if not finite or (self.scale <= 0).any():
            raise MapError(
                "a lift with NaN or infinite entries, or scales that are not positive",
                expected="finite numbers and positive scales",
            )

    @property
    def width(self) -> int:
        """The lift's width p."""
        return int(self.components.shape[-1])

    @classmethod
    def fit(cls, wide: npt.NDArray[Any], width: int = 512) -> Lift:
        """Fit standardisation and PCA, in float64.

        Cost: O(n D min(n, D)) for the Gram matrix and O(min(n, D)^3) for its eigenvectors; about
        ten seconds on one core at n = 5,000, D = 3,456.

        Args:
            wide: (n, D) wide features of the anchors, n at least 2.
            width: p; clipped to D, to n - 1 and to the number of directions that vary.

        Raises:
            FitError: Too few rows, numbers that are not finite, or no feature that varies.
        """
        if wide.ndim != 2 or len(wide) < 2 or not np.isfinite(wide).all():
            raise FitError(
                f"wide features {wide.shape}, "
                f"{'all finite' if np.isfinite(wide).all() else 'some not finite'}",
                expected="(n, D) finite numbers with n at least 2",
            )
        exact = np.asarray(wide, dtype=np.float64)
        mean, scale = exact.mean(axis=0), exact.std(axis=0)
        scale[scale <= _CONSTANT * np.abs(mean)] = 1.0
        components = _principal_axes((exact - mean) / scale, width)
        return cls(mean.astype(np.float32), scale.astype(np.float32), components.astype(np.float32))

    def transform(self, wide: npt.NDArray[Any]) -> Float32:
        """Return the lifted features (n, p) of wide features (n, D), in float32.

        Raises:
            ShapeError: The width is not the one that the lift was fitted on.
        """
        if wide.ndim != 2 or wide.shape[1] != len(self.mean):
            raise ShapeError(
                f"wide features {wide.shape}",
                expected=f"(n, {len(self.mean)}), as the lift was fitted on",
                hint="embed with the base model of the pool",
            )
        standardised = (wide.astype(np.float32, copy=False) - self.mean) / self.scale
        return np.asarray(standardised @ self.components, dtype=np.float32)

    def content_hash(self) -> str:
        """Return a hash of all numbers."""
        digest = hashlib.sha256(str(self.components.shape).encode())
        for array in (self.mean, self.scale, self.components):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the lift as safetensors; :meth:`load` gives exactly the same numbers."""
        save_tensors(path, {"mean": self.mean, "scale": self.scale, "components": self.components})

    @classmethod
    def load(cls, path: Path) -> Lift:
        """Read a lift that :meth:`save` wrote.

        Raises:
            StorageError: There is no such file.
            MapError: It is truncated, or not a lift.
        """
        tensors = load_tensors(path)
        if set(tensors) != {"mean", "scale", "components"}:
            raise MapError(
                f"{path} holds {', '.join(sorted(tensors)[:5]) or 'nothing'}",
                expected="mean, scale and components",
                hint="restore the pool's lift, or train another pool",
            )
        return cls(tensors["mean"], tensors["scale"], tensors["components"])


def _principal_axes(centred: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Return the (D, p) leading eigenvectors of X^T X, through X X^T where that is smaller."""
    from scipy.linalg import eigh

    n, D = centred.shape
    gram = centred.T @ centred if n >= D else centred @ centred.T
    p = min(width, D, n - 1)
    values, vectors = eigh(gram, subset_by_index=(len(gram) - p, len(gram) - 1))
    varying = values > max(n, D) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    if not varying.any():
        raise FitError("no wide feature varies over the anchors", expected="different texts")
    values, vectors = values[varying][::-1], vectors[:, varying][:, ::-1]
    axes = vectors if n >= D else centred.T @ vectors / np.sqrt(values)
    # An eigenvector's sign is arbitrary: the largest entry is made positive.
    largest = np.abs(axes).argmax(axis=0)
    return np.asarray(axes * np.sign(axes[largest, np.arange(axes.shape[1])]))
