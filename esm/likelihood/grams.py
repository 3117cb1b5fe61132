"""Many weighted products of many small bundles of rows, by one matrix product.

For rows x_u (k,) of a map and weights d_j (k,), all ``sum_i d_ji x_ui y_vi`` are wanted. Forming
the products ``x_ui y_vi`` first and multiplying them by all weights at once takes half of the
arithmetic of scaling the rows anew for each j, and its large operand stays in the cache.
"""

from __future__ import annotations

import torch

# Bytes of products that are formed before they are multiplied: a core's second-level cache.
_CPU_BYTES = 1 << 20
_GPU_BYTES = 1 << 28


def weighted_gram(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return (m, J, q, q) products of rows (m, q, k) with themselves under weights (k, J)."""
    num_maps, q, k = rows.shape
    half = q // 2 + 1
    # Row u times row u + shift, for half of the shifts modulo q, is each pair at least once.
    turned = torch.cat([rows, rows[:, : half - 1]], dim=1)
    strides = (turned.stride(0), turned.stride(1), turned.stride(1), turned.stride(2))
    windows = turned.as_strided((num_maps, half, q, k), strides)
    values = _in_chunks(windows, rows[:, None], weights)
    first = torch.arange(q, device=rows.device)
    ahead = (first[None, :] - first[:, None]) % q
    near = ahead < half
    shift = torch.where(near, ahead, q - ahead)
    start = torch.where(near, first[:, None], first[None, :])
    return values[:, shift, start].permute(0, 3, 1, 2)


def weighted_cross(rows: torch.Tensor, others: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return (m, J, q, c) products of rows (m, q, k) and others (m, c, k), weights (k, J)."""
    values = _in_chunks(rows[:, :, None], others[:, None], weights)
    return values.permute(0, 3, 1, 2)


def weighted_labels(
    rows: torch.Tensor, columns: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return (m, J, q, K) products of rows (m, q, k) with shared columns (k, K)."""
    num_maps, q, k = rows.shape
    both = (weights[:, :, None] * columns[:, None, :]).reshape(k, -1)
    values = rows.reshape(-1, k) @ both  # one product, not one per map
    return values.reshape(num_maps, q, weights.shape[1], -1).transpose(1, 2)


def _in_chunks(left: torch.Tensor, right: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply (m, A, B, k) and its like, broadcast, and contract k with weights: (m, A, B, J)."""
    m, k = left.shape[0], left.shape[3]
    a, b = max(left.shape[1], right.shape[1]), max(left.shape[2], right.shape[2])
    fitting = (_GPU_BYTES if left.is_cuda else _CPU_BYTES) // (a * b * k * 8)
    chunk = max(1, min(m, fitting))
    products = left.new_empty(chunk, a, b, k)
    result = left.new_empty(m, a * b, weights.shape[1])
    for begin in range(0, m, chunk):
        part = slice(begin, min(begin + chunk, m))
        formed = torch.mul(left[part], right[part], out=products[: part.stop - begin])
        torch.mm(formed.view(-1, k), weights, out=result[part].view(-1, weights.shape[1]))
    return result.view(m, a, b, -1)
