"""The evidence of low-rank maps as functions of the prior's strength.

Dividing by the map's scale, mapped embeddings are ``F = X + Z U^T`` with ``Z = W V``. Minimising
``||y - F m||² + s ||m||²`` under the constraint ``q = U^T m`` leads to the system of twice the rank

    [ Z^T P Z        I + N ] [q ]   [Z^T P y      ]        P = s (X X^T + s I)^-1
    [ (I + N)^T      -H    ] [mu] = [U^T D X^T y  ]        D = (X^T X + s I)^-1
                                                           N = Z^T X D U,  H = U^T D U

whose determinant, times that of ``X^T X + s I``, is that of ``F^T F + s I`` up to its sign. Both
diagonal blocks are sums of squares, so nothing cancels where the Woodbury form
``[-Z^T Z, I; I, 0] + ...`` loses its digits: for s small against the eigenvalues, which is the
rule for fewer examples than dimensions. Two Cholesky factors of half the size solve it: of H, and
of ``Z^T P Z + (I + N) H^-1 (I + N)^T``. The common offset g of the embeddings is one more
constraint, eliminated last (Sherman and Morrison).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from esm.scorers.likelihood.grams import weighted_cross, weighted_gram, weighted_labels
from esm.scorers.likelihood.projection import Projected
from esm.scorers.likelihood.target import TargetSpectrum

# Bytes of the small systems that are solved together.
_CPU_BYTES = 1 << 25
_GPU_BYTES = 1 << 30

# Pivots below this share of the diagonal are left with too few digits: directions U that depend on
# each other.
_SMALLEST_PIVOT = 1e-9

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
    system = _system(target, maps, shared)
    rank, num_columns = maps.rank, target.num_columns
    written, fitted = _factor(system.written)
    below = torch.linalg.solve_triangular(
        written, torch.cat([system.linked.mT, system.below], dim=-1), upper=False
    )
    link, below = below[..., :rank], below[..., rank:]
    read, solid = _factor(system.read + link.mT @ link)
    above = torch.linalg.solve_triangular(read, system.above + link.mT @ below, upper=False)

    # Products of the right sides through the inverse of the system: of the labels with themselves
    # and of the offset, which comes last, with all.
    products = torch.square(above).sum(-2) - torch.square(below).sum(-2)
    mixed = (above * above[..., -1:]).sum(-2) - (below * below[..., -1:]).sum(-2)
    residual = shared.residual - products[..., :num_columns]
    lever = 1 + system.offset + mixed[..., -1]
    drift = target.label_offset - system.slope + mixed[..., :num_columns]
    whole = residual + torch.square(drift) / lever[..., None]
    determinant = shared.log_determinant + torch.log(lever)
    for factor in (written, read):
        determinant += 2 * torch.log(torch.diagonal(factor, dim1=-2, dim2=-1)).sum(-1)
    kept = (residual > SMALLEST_SHARE * shared.residual).flatten(1).all(1)
    trusted = kept & fitted & solid & torch.isfinite(determinant).all(1)
    return Curves(determinant, torch.log(whole), trusted)


def _factor(matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Cholesky factors (m, J, r, r), and for which maps (m,) all of them kept digits."""
    factors, failed = torch.linalg.cholesky_ex(matrices)
    pivots = torch.square(torch.diagonal(factors, dim1=-2, dim2=-1))
    share = pivots / torch.diagonal(matrices, dim1=-2, dim2=-1)
    return factors, ((share > _SMALLEST_PIVOT).all(-1) & (failed == 0)).all(-1)


@dataclass(frozen=True, eq=False)
class _System:
    """The system at J nodes, and its right sides: K label columns and, last, the offset.

    Attributes:
        read: (m, J, r, r), Z^T P Z.
        linked: (m, J, r, r), I + N.
        written: (m, J, r, r), H.
        above: (m, J, r, K + 1), upper part of the right sides.
        below: (m, J, r, K + 1), lower part.
        offset: (m, J), g^T D g.
        slope: (m, J, K), g^T D X^T Y.
    """

    read: torch.Tensor
    linked: torch.Tensor
    written: torch.Tensor
    above: torch.Tensor
    below: torch.Tensor
    offset: torch.Tensor
    slope: torch.Tensor


def _system(target: TargetSpectrum, maps: Projected, shared: _Shared) -> _System:
    rank = maps.rank
    read = weighted_gram(maps.read, shared.damped) + maps.read_outside[:, None]
    written = weighted_gram(maps.written, shared.inverse)
    if maps.written_outside is not None:
        written = written + maps.written_outside[:, None] / shared.strength[:, None, None]
    mixed = weighted_cross(maps.read, maps.written, shared.mixed)
    below = weighted_labels(maps.written, target.projections, shared.mixed)
    above = weighted_labels(maps.read, target.projections, shared.damped)
    above = above + maps.labels_outside[:, None]
    return _System(
        read=read,
        linked=mixed[..., :rank] + torch.eye(rank, dtype=mixed.dtype, device=mixed.device),
        written=written[..., :rank, :rank],
        above=torch.cat([above, mixed[..., rank:]], dim=-1),
        below=torch.cat([below[..., :rank, :], -written[..., :rank, rank:]], dim=-1),
        offset=written[..., rank, rank],
        slope=below[..., rank, :],
    )
