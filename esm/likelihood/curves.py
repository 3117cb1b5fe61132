"""The evidence of low-rank maps as functions of the prior's strength.

Dividing by the map's scale, mapped embeddings are ``F = X + Z U^T`` with ``Z = W V``. Minimising
``||y - F m||² + s ||m||²`` under the constraint ``q = U^T m`` leads to the system of twice the rank

    [ Z^T P Z        I + N ] [q ]   [Z^T P y      ]        P = s (X X^T + s I)^-1
    [ (I + N)^T      -H    ] [mu] = [U^T D X^T y  ]        D = (X^T X + s I)^-1
                                                           N = Z^T X D U,  H = U^T D U

whose determinant, times that of ``X^T X + s I``, is that of ``F^T F + s I`` up to its sign. Both
diagonal blocks are sums of squares, so nothing cancels where the Woodbury form
``[-Z^T Z, I; I, 0] + ...`` loses its digits: for s small against the eigenvalues, which is the
rule for fewer examples than dimensions. The common offset g of the embeddings is one more
constraint, eliminated last (Sherman and Morrison).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from esm.likelihood.grams import weighted_cross, weighted_gram, weighted_labels
from esm.likelihood.projection import Projected
from esm.likelihood.target import TargetSpectrum

# Bytes of the small systems that are solved together.
_CPU_BYTES = 1 << 25
_GPU_BYTES = 1 << 30

# Where the maps explain more of the labels than this, the residual is left with too few digits.
SMALLEST_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class Curves:
    """Two functions of s at J nodes, for m maps and K label columns.

    Attributes:
        log_determinant: (m, J), log det(I + S / s) with S the second moments of the embeddings.
        log_residual: (m, J, K), log of the penalised residual min ||y - F m||² + s ||m||².
        trusted: (m,), whether no digits were lost.
    """

    log_determinant: torch.Tensor
    log_residual: torch.Tensor
    trusted: torch.Tensor


def curves(target: TargetSpectrum, maps: Projected, nodes: torch.Tensor) -> Curves:
    """Evaluate both functions: O(J (k r² + k r K + r³)) per map.

    Args:
        target: The target.
        maps: Projected maps.
        nodes: (J,) values of log s.
    """
    num_columns = target.num_columns
    per_map = len(nodes) * 2 * maps.rank * (2 * maps.rank + 2 * num_columns + 2) * 8
    chunk = max(1, (_GPU_BYTES if nodes.is_cuda else _CPU_BYTES) // per_map)
    shared = _Shared.at(target, nodes)
    parts = [
        _curves(target, maps.rows(slice(begin, begin + chunk)), shared)
        for begin in range(0, len(maps), chunk)
    ]
    return Curves(
        *(torch.cat([getattr(part, name) for part in parts]) for name in Curves.__annotations__)
    )


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all maps share at J nodes.

    Attributes:
        strength: (J,), s.
        damped: (k, J), s / (lambda + s), the eigenvalues of P.
        inverse: (k, J), 1 / (lambda + s), the eigenvalues of D.
        mixed: (k, J), sqrt(lambda) / (lambda + s).
        log_determinant: (J,), log det(I + X^T X / s).
        residual: (J, K), y^T P y.
    """

    strength: torch.Tensor
    damped: torch.Tensor
    inverse: torch.Tensor
    mixed: torch.Tensor
    log_determinant: torch.Tensor
    residual: torch.Tensor

    @classmethod
    def at(cls, target: TargetSpectrum, nodes: torch.Tensor) -> _Shared:
        strength = torch.exp(nodes)
        eigenvalues = target.eigenvalues[:, None]
        inverse = 1 / (eigenvalues + strength)
        damped = strength * inverse
        return cls(
            strength=strength,
            damped=damped,
            inverse=inverse,
            mixed=torch.sqrt(eigenvalues) * inverse,
            log_determinant=torch.log1p(eigenvalues / strength).sum(0),
            residual=damped.T @ torch.square(target.projections) + target.outside,
        )


def _curves(target: TargetSpectrum, maps: Projected, shared: _Shared) -> Curves:
    num_columns = target.num_columns
    system, sides, offset, slope = _systems(target, maps, shared)
    factors, pivots, _ = torch.linalg.lu_factor_ex(system)
    solved = torch.linalg.lu_solve(factors, pivots, sides)
    labels, last = sides[..., :num_columns], sides[..., num_columns:]
    residual = shared.residual - (labels * solved[..., :num_columns]).sum(-2)
    lever = 1 + offset + (last * solved[..., num_columns:]).sum((-2, -1))
    drift = target.label_offset - slope + (last * solved[..., :num_columns]).sum(-2)
    residual = residual + torch.square(drift) / lever[..., None]
    pivot = torch.diagonal(factors, dim1=-2, dim2=-1)
    determinant = shared.log_determinant + torch.log(pivot.abs()).sum(-1) + torch.log(lever)
    trusted = (residual > SMALLEST_SHARE * shared.residual).flatten(1).all(1)
    trusted &= torch.isfinite(determinant).all(1)
    return Curves(determinant, torch.log(residual), trusted)


def _systems(
    target: TargetSpectrum, maps: Projected, shared: _Shared
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the systems and their right sides.

    Returns:
        System (m, J, 2 r, 2 r); right sides (m, J, 2 r, K + 1) of the labels and, last, of the
        offset; g^T D g (m, J); g^T D X^T Y (m, J, K).
    """
    rank, num_columns = maps.rank, target.num_columns
    inner = weighted_gram(maps.read, shared.damped)
    inner += maps.read_outside[:, None]
    outer = weighted_gram(maps.written, shared.inverse)
    if maps.written_outside is not None:
        outer = outer + maps.written_outside[:, None] / shared.strength[:, None, None]
    mixed = weighted_cross(maps.read, maps.written, shared.mixed)
    num_maps, num_nodes = mixed.shape[:2]

    system = mixed.new_empty(num_maps, num_nodes, 2 * rank, 2 * rank)
    linked = mixed[..., :rank] + torch.eye(rank, dtype=mixed.dtype, device=mixed.device)
    system[..., :rank, :rank] = inner
    system[..., :rank, rank:] = linked
    system[..., rank:, :rank] = linked.transpose(-2, -1)
    system[..., rank:, rank:] = -outer[..., :rank, :rank]

    below = weighted_labels(maps.written, target.projections, shared.mixed)
    above = weighted_labels(maps.read, target.projections, shared.damped)
    sides = mixed.new_empty(num_maps, num_nodes, 2 * rank, num_columns + 1)
    sides[..., :rank, :num_columns] = above + maps.labels_outside[:, None]
    sides[..., rank:, :num_columns] = below[..., :rank, :]
    sides[..., :rank, num_columns] = mixed[..., rank]
    sides[..., rank:, num_columns] = -outer[..., :rank, rank]
    return system, sides, outer[..., rank, rank], below[..., rank, :]
