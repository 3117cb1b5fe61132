"""Low-rank maps of one kind and rank, stacked: what products over many maps are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from esm.common.errors import MapError
from esm.maps.compressed import CompressedMap
from esm.maps.forms import Array, LowRankMap


@dataclass(frozen=True, eq=False)
class LowRankStack:
    """m maps ``a h + U V^T x + b`` of rank r, in the precision in which they are stored.

    Rows are directions, so that the numbers of one map lie together.

    Attributes:
        scale: (m,), a.
        left: (m, r, d), U^T.
        right: (m, r, p), V^T.
        bias: (m, d), b.
        reads_base: Whether x are the base embeddings (compressed maps, p = d) instead of the
            lifted features.

    Raises:
        MapError: Shapes do not fit.
    """

    scale: Array
    left: Array
    right: Array
    bias: Array
    reads_base: bool = False

    def __post_init__(self) -> None:
        shapes = (self.scale.shape, self.left.shape, self.right.shape, self.bias.shape)
        match shapes:
            case ((m,), (i, r, d), (j, q, p), (k, e)) if m == i == j == k and r == q and d == e:
                if not self.reads_base or p == d:
                    return
        raise MapError(
            f"scale {shapes[0]}, left {shapes[1]}, right {shapes[2]}, bias {shapes[3]}",
            expected="shapes (m,), (m, r, d), (m, r, p) and (m, d)",
        )

    @classmethod
    def of(cls, maps: Sequence[LowRankMap] | Sequence[CompressedMap]) -> Self:
        """Stack maps of one kind and rank.

        Raises:
            MapError: Their kinds or shapes differ.
        """
        shapes = {(each.left.shape, each.right.shape) for each in maps}
        kinds = {type(each).__name__ for each in maps}
        if len(shapes) != 1 or len(kinds) != 1:
            raise MapError(
                f"a {' and a '.join(sorted(kinds))} of shapes {sorted(shapes)}",
                expected="maps of one kind and shape",
            )
        (d, r), (p, _) = shapes.pop()
        kind = np.result_type(*{each.bias.dtype for each in maps})
        left, right = np.empty((len(maps), r, d), kind), np.empty((len(maps), r, p), kind)
        for number in range(len(maps)):  # not enumerate, which forgets that maps are of one kind
            left[number], right[number] = maps[number].left.T, maps[number].right.T
        scale = np.array([each.scale for each in maps], dtype=np.float64)
        bias = np.stack([each.bias for each in maps]).astype(kind)
        return cls(scale, left, right, bias, isinstance(maps[0], CompressedMap))

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def rank(self) -> int:
        """Rank r."""
        return int(self.left.shape[1])

    @property
    def width(self) -> int:
        """Embedding width d."""
        return int(self.left.shape[2])

    @property
    def lift_width(self) -> int:
        """Width of the lifted features; 0 for maps that do not read them."""
        return 0 if self.reads_base else int(self.right.shape[2])

    def map(self, number: int) -> LowRankMap | CompressedMap:
        """Return one of the maps."""
        kind = CompressedMap if self.reads_base else LowRankMap
        return kind(
            float(self.scale[number]),
            np.ascontiguousarray(self.left[number].T),
            np.ascontiguousarray(self.right[number].T),
            np.ascontiguousarray(self.bias[number]),
        )
