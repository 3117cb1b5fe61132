"""Published dense maps brought to low rank: ``W h + b`` as ``a h + U V^T h + b``.

Fine-tuning moves embeddings in few directions, so ``W - a I`` has few large singular values; d² + d
numbers become 2 d r + d + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from esm.common.errors import MapError
from esm.maps.forms import Array, DenseMap, FactoredMap, MapForm

# Steps of finding the scalar and the directions in turn.
_STEPS = 4


@dataclass(frozen=True, eq=False)
class CompressedMap(FactoredMap):
    """``a h + U V^T h + b``: a published map of low rank; it reads the last layer only.

    Raises:
        MapError: As for any map of two factors, or they have different widths.
    """

    form: ClassVar[MapForm] = MapForm.PUBLISHED

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.left.shape != self.right.shape:
            raise MapError(
                f"left {self.left.shape}, right {self.right.shape}", expected="shape (d, r) twice"
            )

    @property
    def lift_width(self) -> int:
        """Zero: the map reads the last layer only."""
        return 0

    def linear(self, base: Array, lifted: Array | None) -> Array:
        """Return ``a h + U V^T h`` for columns: O(d r k)."""
        del lifted
        return self._over(base, base)


@dataclass(frozen=True)
class Compression:
    """A compressed map and what was lost.

    Attributes:
        map: The map, float32.
        loss: Share of ``||W - a I||²`` that was left out, with a the best scalar without
            directions: 0 where the map has rank r, 1 where its directions are worth nothing.
    """

    map: CompressedMap
    loss: float


def compress(dense: DenseMap, rank: int) -> Compression:
    """Find ``a I + U V^T`` of rank r near a dense map in the Frobenius norm.

    The scalar is the mean of the diagonal of what the directions leave over, the directions are
    the leading singular ones of what the scalar leaves over; they are found in turn, which brings
    the scalar nearer by a factor of about d / r each time.

    Cost: r eigenvectors of a (d, d) matrix per step, of four.

    Args:
        dense: The map.
        rank: r, at most d.

    Raises:
        MapError: r is not between 1 and d.
    """
    from scipy.linalg import eigh

    width = dense.width
    if not 1 <= rank <= width:
        raise MapError(f"rank {rank}", expected=f"1 to {width}, the map's width")
    weight = dense.weight.astype(np.float64)
    unit = np.eye(width)
    first = scale = float(np.trace(weight)) / width
    for _ in range(_STEPS):
        rest = weight - scale * unit
        _, right = eigh(rest.T @ rest, subset_by_index=(width - rank, width - 1))
        scale = float(np.trace(weight - rest @ right @ right.T)) / width
    left = (weight - scale * unit) @ right
    # Both factors share the singular values, so that neither needs a wide range of numbers.
    root = np.sqrt(np.maximum(np.linalg.norm(left, axis=0), np.finfo(np.float32).tiny))
    found = CompressedMap(
        float(np.float32(scale)),
        (left / root).astype(np.float32),
        (right * root).astype(np.float32),
        dense.bias.astype(np.float32),
    )
    whole = np.square(weight - first * unit).sum()
    left_out = np.square(weight - found.affine()[:, :-1]).sum()
    return Compression(found, float(left_out / whole) if whole else 0.0)
