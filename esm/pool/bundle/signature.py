"""Signatures: a map's change of the embeddings in a few directions that the pool's maps share.

Divided by its scale, a map changes embeddings by ``U V^T / a``. In the leading left and right
directions P and Q of all changes of the pool this is a small matrix ``P^T U V^T Q / a``, of which a
principal component analysis keeps the leading coordinates; scale and bias are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Array
from esm.maps.stack import LowRankStack

Signatures = npt.NDArray[np.float32]

# Shared directions on either side, coordinates kept of the change and of the bias.
_DIRECTIONS, _CHANGE, _BIAS = 40, 32, 8

# Weight of scale and bias against the change.
_OTHERS = np.float32(0.5)

# Maps are not divided by a scale below this.
_SMALLEST_SCALE = 1e-4


@dataclass(frozen=True, eq=False)
class SignatureBasis:
    """What turns maps into signatures.

    Attributes:
        left: (d, q), P.
        right: (p, q), Q.
        centre: (q²,), mean of the small matrices.
        change: (q², D1), coordinates of these that are kept, brought to a common scale.
        bias_centre: (d,), mean bias.
        bias: (d, D2), coordinates of the bias.
        scale: (2,), mean and inverse spread of log |a|.
    """

    left: Array
    right: Array
    centre: Array
    change: Array
    bias_centre: Array
    bias: Array
    scale: Array

    @classmethod
    def of(cls, sample: Callable[[], Iterator[LowRankStack]]) -> Self:
        """Fit to maps that are read twice: O(d² r + p² r) per map.

        Args:
            sample: Reads maps of one width and lift, in stacks.
        """
        left_products: Any = 0.0
        right_products: Any = 0.0
        logs, biases = [], []
        for stack in sample():
            left, right, bias, log = _parts(stack)
            by_right, by_left = right @ right.transpose(0, 2, 1), left @ left.transpose(0, 2, 1)
            left_products = left_products + _outer(left, by_right)
            right_products = right_products + _outer(right, by_left)
            logs.append(log)
            biases.append(bias)
        p, q = _leading(left_products, _DIRECTIONS), _leading(right_products, _DIRECTIONS)
        small = np.concatenate([_small(stack, p, q) for stack in sample()])
        centre, bias, log = small.mean(0), np.concatenate(biases), np.concatenate(logs)
        return cls(
            left=p,
            right=q,
            centre=centre,
            change=_scaled_components(small - centre, _CHANGE),
            bias_centre=bias.mean(0),
            bias=_scaled_components(bias - bias.mean(0), _BIAS) * _OTHERS,
            scale=np.array([log.mean(), _OTHERS / (log.std() or 1.0)], dtype=np.float32),
        )

    def sign(self, stack: LowRankStack) -> Signatures:
        """Return (m, D) signatures: O((d + p) q r) per map."""
        _, _, bias, log = _parts(stack)
        change = (_small(stack, self.left, self.right) - self.centre) @ self.change
        scale = (log - self.scale[0]) * self.scale[1]
        parts = [change, scale[:, None], (bias - self.bias_centre) @ self.bias]
        return np.ascontiguousarray(np.hstack(parts), dtype=np.float32)


def _parts(stack: LowRankStack) -> tuple[Array, Array, Array, Array]:
    """Return U^T / a, V^T, b / a and log |a|, float32."""
    scale = stack.scale.astype(np.float32)
    usable = np.abs(scale) >= _SMALLEST_SCALE
    scale = np.where(usable, scale, np.float32(_SMALLEST_SCALE))
    left = stack.left.astype(np.float32) / scale[:, None, None]
    bias = stack.bias.astype(np.float32) / scale[:, None]
    return left, stack.right.astype(np.float32), bias, np.log(np.abs(scale))


def _small(stack: LowRankStack, p: Array, q: Array) -> Array:
    left, right, _, _ = _parts(stack)
    small: Array = ((left @ p).transpose(0, 2, 1) @ (right @ q)).reshape(len(stack), -1)
    return small


def _outer(rows: Array, weights: Array) -> Array:
    """Return the sum over maps of ``rows^T weights rows``."""
    flat = rows.reshape(-1, rows.shape[2])
    product: Array = flat.T.astype(np.float64) @ (weights @ rows).reshape(flat.shape)
    return product


def _leading(products: Array, count: int) -> Array:
    vectors = np.linalg.eigh((products + products.T) / 2)[1]
    return vectors[:, ::-1][:, :count].astype(np.float32)


def _scaled_components(rows: Array, count: int) -> Array:
    """Return leading directions; together, coordinates have a mean square of about 1."""
    directions = _leading((rows.T @ rows).astype(np.float64), count)
    length = float(np.sqrt(np.square(rows).sum(1).mean())) or 1.0
    scaled: Array = directions / np.float32(length)
    return scaled
