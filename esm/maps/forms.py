"""Embedding Space Maps: what a fine-tuned model would give, predicted from the base model.

An anchored map is ``phi(x) = a h + U V^T w + b`` with the last-layer base embedding h (d,) and the
lifted wide features w (p,). A published map (Schulte, Hamborg and Akbik, EMNLP 2024,
arXiv 2410.15148) is ``W h + b``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from esm.common.errors import MapError, ShapeError

Array = npt.NDArray[np.floating[Any]]

_STORED_DTYPES = (np.dtype(np.float16), np.dtype(np.float32))
# hf-dataset-selector called its tensors "sequential.0.*" up to version 0.1.0, "model.*" since.
_OLD_PREFIX, _PREFIX = "sequential.0.", "model."


class MapForm(StrEnum):
    """Kind of map."""

    ANCHORED = "anchored"
    PUBLISHED = "published"


class EmbeddingSpaceMap(ABC):
    """An affine map from base embeddings, and lifted features, to tuned embeddings.

    Attributes:
        form: Kind of map.
        bias: (d,) float16 or float32, b.
    """

    form: ClassVar[MapForm]
    bias: Array

    @property
    def width(self) -> int:
        """Embedding width d."""
        return len(self.bias)

    @property
    @abstractmethod
    def lift_width(self) -> int:
        """Width p of the lifted features; 0 where the map does not read them."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Rank of the learned matrix; d for a dense one."""

    @abstractmethod
    def linear(self, base: Array, lifted: Array | None) -> Array:
        """Apply the map without its bias to columns.

        Args:
            base: (d, k), one column per embedding.
            lifted: (p, k); not read by a map without lift.

        Returns:
            (d, k), in the precision of ``base``, at least float32.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Array]:
        """Return the arrays under their names on disk."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> Self:
        """Build the map from arrays under their names on disk."""

    def apply(self, base: Array, lifted: Array | None = None) -> Array:
        """Map embeddings.

        Args:
            base: (n, d) base embeddings.
            lifted: (n, p) lifted features; a map without lift ignores them.

        Returns:
            (n, d) mapped embeddings, in the precision of ``base``, at least float32.

        Raises:
            ShapeError: The widths are not the map's, or lifted features are missing.
        """
        self._check_inputs(base, lifted)
        mapped = self.linear(base.T, None if lifted is None else lifted.T).T
        return mapped + self.bias.astype(mapped.dtype)

    def affine(self) -> npt.NDArray[np.float64]:
        """Return A (d, d + p + 1) float64 with ``mapped = [h, w, 1] A^T``."""
        unit = np.eye(self.width + self.lift_width)
        matrix = self.linear(unit[: self.width], unit[self.width :])
        return np.column_stack([matrix, self.bias.astype(np.float64)])

    def cast(self, dtype: npt.DTypeLike) -> Self:
        """Return the map with its numbers in another format.

        Raises:
            MapError: A number is too large for it.
        """
        kind = np.dtype(dtype)
        with np.errstate(over="ignore"):
            narrowed = {name: array.astype(kind) for name, array in self.tensors().items()}
        for name, array in narrowed.items():
            if not np.isfinite(array).all():
                largest = float(np.abs(self.tensors()[name]).max())
                raise MapError(
                    f"{name} holds {largest:.3g}, too large for {kind}",
                    expected=f"at most {float(np.finfo(kind).max):.3g}",
                    hint="store the map as float32",
                )
        return self.from_tensors(narrowed)

    def _check_inputs(self, base: Array, lifted: Array | None) -> None:
        if base.ndim != 2 or base.shape[1] != self.width:
            raise ShapeError(
                f"base embeddings of shape {base.shape}",
                expected=f"(n, {self.width}), the map's width",
                hint="embed with the base model the map was fitted for",
            )
        if not self.lift_width:
            return
        if lifted is None:
            raise ShapeError(
                "no lifted features for an anchored map",
                expected=f"(n, {self.lift_width})",
                hint="embed with wide=True and transform by the pool's lift",
            )
        if lifted.shape != (len(base), self.lift_width):
            raise ShapeError(
                f"lifted features of shape {lifted.shape}",
                expected=f"({len(base)}, {self.lift_width})",
                hint="use the lift the map was fitted with",
            )


@dataclass(frozen=True, eq=False)
class FactoredMap(EmbeddingSpaceMap):
    """A scaled identity, a product of two narrow matrices, and a bias.

    Attributes:
        scale: a.
        left: (d, r), U.
        right: (p, r), V.
        bias: (d,), b.

    Raises:
        MapError: Shapes, formats or numbers are not those of a map.
    """

    scale: float
    left: Array
    right: Array
    bias: Array

    def __post_init__(self) -> None:
        _check_arrays(self.tensors())
        shapes = (self.left.shape, self.right.shape, self.bias.shape)
        match shapes:
            case ((d, r), (p, q), (e,)) if d == e and r == q and min(d, p, r) > 0:
                return
        raise MapError(
            f"left {shapes[0]}, right {shapes[1]}, bias {shapes[2]}",
            expected="shapes (d, r), (p, r) and (d,)",
        )

    @property
    def rank(self) -> int:
        """Number r of learned directions."""
        return int(self.left.shape[1])

    def tensors(self) -> dict[str, Array]:
        """Return scale (1,), left, right and bias."""
        scale = np.array([self.scale], dtype=self.bias.dtype)
        return {"scale": scale, "left": self.left, "right": self.right, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> Self:
        """Build the map from scale (1,), left, right and bias."""
        _check_names(tensors, ("bias", "left", "right", "scale"))
        if tensors["scale"].shape != (1,):
            raise MapError(f"scale of shape {tensors['scale'].shape}", expected="one number")
        scale = float(tensors["scale"][0])
        return cls(scale, tensors["left"], tensors["right"], tensors["bias"])

    def _over(self, base: Array, features: Array) -> Array:
        """Return ``a h + U V^T x`` for columns h (d, k) and x (p, k): O((d + p) r k)."""
        kind = np.result_type(base.dtype, np.float32)
        learned = self.left.astype(kind) @ (self.right.T.astype(kind) @ features)
        mapped: Array = kind.type(self.scale) * base + learned
        return mapped


@dataclass(frozen=True, eq=False)
class LowRankMap(FactoredMap):
    """``a h + U V^T w + b``: scaled identity, low rank over lifted features, bias."""

    form: ClassVar[MapForm] = MapForm.ANCHORED

    @property
    def lift_width(self) -> int:
        """Width p of the lifted features."""
        return len(self.right)

    def linear(self, base: Array, lifted: Array | None) -> Array:
        """Return ``a h + U V^T w`` for columns: O((d + p) r k)."""
        if lifted is None:
            raise ShapeError("no lifted features", expected=f"({self.lift_width}, k)")
        return self._over(base, lifted)


@dataclass(frozen=True, eq=False)
class DenseMap(EmbeddingSpaceMap):
    """``W h + b``, the published form.

    Attributes:
        weight: (d, d), W.
        bias: (d,), b.

    Raises:
        MapError: Shapes, formats or numbers are not those of a map.
    """

    form: ClassVar[MapForm] = MapForm.PUBLISHED

    weight: Array
    bias: Array

    def __post_init__(self) -> None:
        _check_arrays({"weight": self.weight, "bias": self.bias})
        if self.bias.ndim != 1 or self.weight.shape != (len(self.bias),) * 2 or not self.bias.size:
            raise MapError(
                f"weight {self.weight.shape}, bias {self.bias.shape}",
                expected="shapes (d, d) and (d,)",
            )

    @property
    def lift_width(self) -> int:
        """Zero: the map reads the last layer only."""
        return 0

    @property
    def rank(self) -> int:
        """The full width d."""
        return self.width

    def linear(self, base: Array, lifted: Array | None) -> Array:
        """Return ``W h`` for columns: O(d² k)."""
        del lifted
        return self.weight.astype(np.result_type(base.dtype, np.float32)) @ base

    def tensors(self) -> dict[str, Array]:
        """Return weight and bias under the names hf-dataset-selector reads."""
        return {f"{_PREFIX}weight": self.weight, f"{_PREFIX}bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> Self:
        """Build the map from weight and bias under either of hf-dataset-selector's namings."""
        old = any(name.startswith(_OLD_PREFIX) for name in tensors)
        prefix = _OLD_PREFIX if old else _PREFIX
        _check_names(tensors, (f"{prefix}bias", f"{prefix}weight"))
        return cls(tensors[f"{prefix}weight"], tensors[f"{prefix}bias"])


def _check_names(tensors: Mapping[str, Array], expected: tuple[str, ...]) -> None:
    if set(tensors) != set(expected):
        raise MapError(
            f"tensors {', '.join(sorted(tensors)) or 'none'}", expected=", ".join(expected)
        )


def _check_arrays(arrays: Mapping[str, Array]) -> None:
    """Check that all numbers are finite and in one of the stored formats."""
    kinds = {array.dtype for array in arrays.values()}
    if len(kinds) != 1 or not kinds <= set(_STORED_DTYPES):
        raise MapError(
            f"numbers of type {', '.join(sorted(map(str, kinds)))}",
            expected="all float16 or all float32",
        )
    for name, array in arrays.items():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise MapError(
                f"{name} holds {bad} numbers that are not finite",
                expected="finite numbers only",
                hint="train the source again",
            )
