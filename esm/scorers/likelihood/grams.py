"""Many weighted products of many small bundles of rows, by one matrix product.

For rows x_u (k,) of a map and weights d_j (k,), all ``sum_i d_ji x_ui y_vi`` are wanted. Forming
the products ``x_ui y_vi`` first and multiplying them by all weights at once takes half of the
arithmetic of scaling the rows anew for each j, and its large operand stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# Bytes of products that are formed before they are multiplied: a core's second-level cache.
_CPU_BYTES = 1 << 20
_GPU_BYTES = 1 << 28


def weighted_gram(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return (m, J, q, q) products of rows (m, q, k) with themselves under weights (k, J)."""
    _, q, k = rows.shape
    # Row u times row u + shift, for half of the shifts modulo q, is each pair at least once.
    half = q // 2 + 1
    chunk = _fitting(rows, half * q * k)
    turned = rows.new_empty(chunk, q + half - 1, k)
    windows = turned.as_strided((chunk, half, q, k), (turned.stride(0), k, k, 1))

    def shifted(part: slice) -> torch.Tensor:
        size = part.stop - part.start
        turned[:size, :q] = rows[part]
        turned[:size, q:] = rows[part, : half - 1]
        return windows[:size]

    values = _contract(shifted, rows[:, None], half, weights, chunk)
    first = torch.arange(q, device=rows.device)
    ahead = (first[None, :] - first[:, None]) % q
    near = ahead < half
    shift = torch.where(near, ahead, q - ahead)
    start = torch.where(near, first[:, None], first[None, :])
    return values[:, shift, start].permute(0, 3, 1, 2)


def weighted_cross(rows: torch.Tensor, others: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return (m, J, q, c) products of rows (m, q, k) and others (m, c, k), weights (k, J)."""
    _, q, k = rows.shape
    chunk = _fitting(rows, q * others.shape[1] * k)
    values = _contract(lambda part: rows[part, :, None], others[:, None], q, weights, chunk)
    return values.permute(0, 3, 1, 2)


def weighted_labels(
    rows: torch.Tensor, columns: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return (m, J, q, K) products of rows (m, q, k) with shared columns (k, K)."""
    num_maps, q, k = rows.shape
    both = (weights[:, :, None] * columns[:, None, :]).reshape(k, -1)
    values = rows.reshape(-1, k) @ both  # one product, not one per map
    return values.reshape(num_maps, q, weights.shape[1], -1).transpose(1, 2)


def _contract(
    left: Callable[[slice], torch.Tensor],
    right: torch.Tensor,
    height: int,
    weights: torch.Tensor,
    chunk: int,
) -> torch.Tensor:
    """Multiply, chunk by chunk, and contract with weights (k, J).

    Args:
        left: Gives (c, height, 1 or b, k) for some of the maps.
        right: (m, 1, b, k).
        height: Rows on the left.
        weights: (k, J).
        chunk: Most maps to form the products of at once.

    Returns:
        (m, height, b, J).
    """
    m, _, b, k = right.shape
    num_weights = weights.shape[1]
    products = right.new_empty(chunk, height, b, k)
    result = right.new_empty(m, height * b, num_weights)
    for begin in range(0, m, chunk):
        part = slice(begin, min(begin + chunk, m))
        formed = torch.mul(left(part), right[part], out=products[: part.stop - begin])
        torch.mm(formed.view(-1, k), weights, out=result[part].view(-1, num_weights))
    return result.view(m, height, b, num_weights)


def _fitting(rows: torch.Tensor, size: int) -> int:
    """Return how many maps' products, of that many numbers each, are formed at once."""
    fitting = (_GPU_BYTES if rows.is_cuda else _CPU_BYTES) // (8 * size)
    return max(1, min(len(rows), fitting))
