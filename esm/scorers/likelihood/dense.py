"""The marginal likelihood of dense maps, each reduced to a tridiagonal matrix once.

``W h + b`` mixes all directions, so maps share no more than the target's own decomposition. With
``X = L Sigma E^T`` a map gives ``F = L Z`` for ``Z = Sigma E^T W^T`` (k, d). The smaller of
``Z^T Z`` and ``Z Z^T`` is brought to the form ``Q T Q^T`` with T tridiagonal, which takes a third
of the time of its eigenvectors; determinant and residual then cost O(k K) for each strength.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import lapack
from threadpoolctl import ThreadpoolController

from esm.common.arrays import Float64
from esm.common.errors import ShapeError
from esm.maps.forms import DenseMap
from esm.scorers.likelihood.curves import SMALLEST_SHARE, Curves
from esm.scorers.likelihood.lapack import triangular_product, tridiagonal
from esm.scorers.likelihood.target import TargetSpectrum, to_tensor

_LIBRARIES = ThreadpoolController()

# Below this share of the largest eigenvalue, a strength is lost in the rounding of the others.
_SMALLEST_STRENGTH = 1e-10


@dataclass(frozen=True, eq=False)
class Reduced:
    """One dense map seen from a target, in a basis in which its second moments are tridiagonal.

    Attributes:
        diagonal: (q,), of T.
        beside: (q - 1,), above and below it; one 0 where q is 1, as LAPACK wants it.
        sides: (q, K + 1), the label columns and, last, the offset of the embeddings.
        from_examples: Whether T comes from ``Z Z^T``, in the space of the examples.
        apart: (K,), squared norm of each label column outside of L; in the space of the features,
            of all of the column.
        offset_square: Squared length of the offset.
        label_offset: (K,), sqrt(n) times the mean of each label column.
    """

    diagonal: Float64
    beside: Float64
    sides: Float64
    from_examples: bool
    apart: Float64
    offset_square: float
    label_offset: Float64

    def at(self, strength: float) -> tuple[float, Float64, bool]:
        """Return log det(I + S / s), the (K,) penalised residuals, and whether digits were kept."""
        shifted = self.diagonal + strength
        pivots, _, solved, failed = lapack.dptsv(shifted, self.beside, self.sides)
        if failed or strength < _SMALLEST_STRENGTH * shifted.max():
            return math.nan, np.full(len(self.apart), math.nan), False
        products = self.sides.T @ solved[:, -1]
        explained = (self.sides[:, :-1] * solved[:, :-1]).sum(0)
        if self.from_examples:
            lever = 1 + (self.offset_square - products[-1]) / strength
            residual = self.apart + strength * explained
            kept = True
        else:
            lever = 1 + products[-1]
            residual = self.apart - explained
            kept = bool((residual > SMALLEST_SHARE * self.apart).all())
        whole: Float64 = residual + np.square(self.label_offset - products[:-1]) / lever
        return float(np.log(pivots / strength).sum() + np.log(lever)), whole, kept


class DenseTarget:
    """What all dense maps share of a target."""

    def __init__(self, target: TargetSpectrum) -> None:
        self._target = target
        rows = target.basis.T * torch.sqrt(target.eigenvalues)[:, None]  # (k, d), L^T X
        # In coordinates in which it is triangular, multiplying by it takes half of the time.
        turn, self._rows = torch.linalg.qr(rows)
        self._labels = turn.T @ target.projections

    def reduce(self, maps: Sequence[DenseMap]) -> list[Reduced]:
        """Bring maps to tridiagonal form: O(k d²) each.

        As many maps at once as torch may use threads, each by one thread: half of the work are
        products of a matrix and a vector, in which threads of one map wait for each other (width
        768: 50 ms by one thread, 97 ms by two). The numbers do not depend on how many there are.

        Raises:
            ShapeError: A map has another width.
        """
        workers = torch.get_num_threads() if self._rows.device.type == "cpu" else 1
        with _one_thread(), ThreadPoolExecutor(workers, initializer=_as_one_thread) as executor:
            return list(executor.map(self._reduced, maps))

    def _reduced(self, source_map: DenseMap) -> Reduced:
        target = self._target
        if source_map.width != target.width:
            raise ShapeError(
                f"map of width {source_map.width}",
                expected=f"width {target.width}",
                hint="use the base model the map was fitted with",
            )
        weight = to_tensor(source_map.weight, self._rows.device)
        bias = to_tensor(source_map.bias, self._rows.device)
        offset = math.sqrt(target.count) * (weight @ target.mean + bias)
        rows = _product(self._rows, weight)
        from_examples = len(rows) < target.width
        products = _squared(rows if from_examples else rows.T)
        if from_examples:
            apart = target.outside
            sides = torch.column_stack([self._labels, rows @ offset])
        else:
            apart = target.outside + torch.square(self._labels).sum(0)
            sides = torch.column_stack([rows.T @ self._labels, offset])
        reduce = tridiagonalise if rows.device.type == "cpu" else diagonalise
        return Reduced(
            *reduce(products, sides),
            from_examples=from_examples,
            apart=_numpy(apart),
            offset_square=float(offset @ offset),
            label_offset=_numpy(target.label_offset),
        )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let every map be worked on by one thread, whichever library it comes to."""
    before = torch.get_num_threads()
    _as_one_thread()
    try:
        with _LIBRARIES.limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def _as_one_thread() -> None:
    torch.set_num_threads(1)  # each thread has a number of its own


def dense_curves(maps: Sequence[Reduced], nodes: torch.Tensor) -> Curves:
    """Evaluate both functions of every map at (J,) values of log s: O(J k K) per map."""
    found = [[one.at(strength) for strength in torch.exp(nodes).tolist()] for one in maps]
    residuals = np.array([[residual for _, residual, _ in row] for row in found])
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log(residuals)
    return Curves(
        log_determinant=to_tensor(
            np.array([[one for one, _, _ in row] for row in found]), nodes.device
        ),
        log_residual=to_tensor(logarithms, nodes.device),
        trusted=torch.tensor(
            [all(kept for _, _, kept in row) for row in found], device=nodes.device
        ),
    )


def tridiagonalise(products: torch.Tensor, sides: torch.Tensor) -> tuple[Float64, Float64, Float64]:
    """Return T's diagonal (q,), what is beside it (q - 1,), and Q^T times the sides: 4/3 q³.

    The products are overwritten.
    """
    # Symmetric, so its transpose is itself, in the order in which LAPACK can overwrite it.
    return tridiagonal(_numpy(products).T, _numpy(sides))


def diagonalise(products: torch.Tensor, sides: torch.Tensor) -> tuple[Float64, Float64, Float64]:
    """Return the same as :func:`tridiagonalise` with T diagonal, on any device."""
    eigenvalues, basis = torch.linalg.eigh(products)
    return _numpy(eigenvalues), np.zeros(max(1, len(eigenvalues) - 1)), _numpy(basis.T @ sides)


def _product(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return ``rows weight^T`` for upper triangular rows (k, d); the weight is overwritten."""
    if rows.device.type != "cpu" or len(rows) < rows.shape[1]:
        return rows @ weight.T
    return torch.from_numpy(triangular_product(_numpy(rows), _numpy(weight).T))


def _squared(rows: torch.Tensor) -> torch.Tensor:
    """Return ``rows rows^T``; NumPy computes one half of it only, which torch does not."""
    if rows.device.type != "cpu":
        return rows @ rows.T
    array = _numpy(rows)
    return torch.from_numpy(array @ array.T)


def _numpy(tensor: torch.Tensor) -> Float64:
    return np.asarray(tensor.cpu().numpy(), dtype=np.float64)
