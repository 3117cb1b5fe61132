"""The default maps, fitted in closed form on anchor texts that all maps of a pool share.

Ridge regression of what a scaled identity leaves over, on lifted features, reduced to its leading
directions. With the penalty, the best directions of rank r are those of the *augmented* fitted
values, the square root of the penalty stacked under the data; for plain least squares see
Izenman, "Reduced-rank regression for the multivariate linear model" (1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import FitError, ShapeError
from esm.maps.fit.ridge import (
    PENALTIES,
    Features,
    Numbers,
    check_rows,
    leading_directions,
    total_variance,
)
from esm.maps.forms import LowRankMap

RANKS = (8, 16, 32, 64)

_FOLDS = 5


@dataclass(frozen=True)
class FittedMap:
    """An anchored map and how well it holds.

    Attributes:
        map: The map, float32.
        penalty: Chosen ridge penalty, in units of the features' mean eigenvalue.
        rank: Rank of the learned part.
        r2_anchors: Held-out R² on anchors of other tasks than the source; on anchors of the
            source where there are no others.
    """

    map: LowRankMap
    penalty: float
    rank: int
    r2_anchors: float


@dataclass(frozen=True)
class _Fold:
    """Rows held out together, in the coordinates of the rows they are predicted from.

    Attributes:
        rows: The held-out rows.
        train: Features of all other rows.
        rotated: (rows, p), the held-out features in the eigenbasis of ``train``, about its mean.
    """

    rows: slice
    train: Features
    rotated: Float64


class AnchorBasis:
    """What all maps of a pool share: the anchors' base embeddings and factorised features.

    Building it costs six eigendecompositions of (p, p); it keeps n (d + 2 p) numbers.

    Args:
        base: (n, d) base embeddings of the anchors.
        lifted: (n, p) lifted features.
        groups: n names, the task each anchor comes from. Whole groups are held out together.

    Raises:
        ShapeError: The arrays do not have the same number of rows.
        FitError: A number is not finite, or there are fewer than ten anchors.
    """

    def __init__(self, base: Numbers, lifted: Numbers, groups: Sequence[str]) -> None:
        check_rows(base, lifted)
        if len(groups) != len(base):
            raise ShapeError(f"{len(groups)} groups", expected=f"{len(base)}, one per anchor")
        folds = _assign_folds(groups)
        # Held-out rows are contiguous from here on, so that a fold is a slice.
        self._order = np.argsort(folds, kind="stable")
        self._groups = np.asarray(groups)[self._order]
        ordered = lifted.astype(np.float64)[self._order]
        base64 = base.astype(np.float64)[self._order]
        self._features = Features.of(ordered)
        self._lifted = ordered - self._features.mean
        self._base_mean = base64.mean(axis=0)
        self._base = base64 - self._base_mean
        self._base_spread = total_variance(self._base, "base embeddings")
        ends = np.cumsum(np.bincount(folds)).tolist()
        self._folds = [
            self._hold_out(slice(start, end))
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def fit(
        self,
        tuned: Numbers,
        *,
        source: str,
        rank: int | None = 32,
        penalties: Sequence[float] = PENALTIES,
    ) -> FittedMap:
        """Fit the map of one source: O(n d p + p² d).

        Args:
            tuned: (n, d) embeddings of the same anchors by the tuned model.
            source: Name of the source's group; its anchors do not count when the penalty is
                chosen, because a map has to hold for texts of other tasks.
            rank: Rank of the learned part, at most min(d, p); None chooses 8, 16, 32 or 64.
            penalties: Penalties to choose from, in mean eigenvalues of the features.

        Raises:
            ShapeError: ``tuned`` has another shape than the base embeddings.
            FitError: A number is not finite, all tuned embeddings are equal, or there is no
                penalty or rank to choose.
        """
        check_rows(self._base, tuned)
        if tuned.shape != self._base.shape:
            raise ShapeError(f"tuned embeddings {tuned.shape}", expected=f"{self._base.shape}")
        if not penalties or min(penalties) <= 0 or (rank is not None and rank < 1):
            raise FitError(f"penalties {penalties}, rank {rank}", expected="positive numbers")
        ordered = tuned.astype(np.float64)[self._order]
        mean = ordered.mean(axis=0)
        ordered -= mean
        scale = float((self._base * ordered).sum()) / self._base_spread
        residual = ordered - scale * self._base
        blocks = [self._lifted[fold.rows].T @ residual[fold.rows] for fold in self._folds]
        cross = self._features.eigenvectors.T @ np.sum(blocks, axis=0)
        limit = min(cross.shape)
        ranks = sorted({min(choice, limit) for choice in (RANKS if rank is None else (rank,))})

        quality = self._held_out(
            ordered, residual, blocks, cross, source=source, ranks=ranks, penalties=penalties
        )
        best_penalty, best_rank = divmod(int(quality.argmax()), len(ranks))
        penalty, rank = penalties[best_penalty], ranks[best_rank]

        coefficients = self._features.shrinkage(penalty) * cross
        left = leading_directions(cross, coefficients, rank)
        right = self._features.eigenvectors @ (coefficients @ left)
        bias = mean - scale * self._base_mean - left @ (right.T @ self._features.mean)
        return FittedMap(
            map=_low_rank(scale, left, right, bias),
            penalty=penalty,
            rank=rank,
            r2_anchors=float(quality.max()),
        )

    def _hold_out(self, rows: slice) -> _Fold:
        train = Features.of(np.delete(self._lifted, rows, axis=0))
        return _Fold(rows, train, (self._lifted[rows] - train.mean) @ train.eigenvectors)

    def _held_out(
        self,
        tuned: Float64,
        residual: Float64,
        blocks: list[Float64],
        cross: Float64,
        *,
        source: str,
        ranks: list[int],
        penalties: Sequence[float],
    ) -> Float64:
        """Return held-out R² (penalties, ranks) on anchors of other tasks than the source.

        A map of rank r predicts nothing outside r directions, so the outputs are first projected
        on twice as many leading directions of a fit to all anchors; which r of them, and the
        coefficients, are then found without the fold. That leaves matrices of a tenth the size.
        The scaled identity, one number, is the same for all folds.
        """
        middle = self._features.shrinkage(sorted(penalties)[len(penalties) // 2])
        sketch = leading_directions(cross, middle * cross, min(2 * ranks[-1], *cross.shape))
        sketched = [block @ sketch for block in blocks]
        total = np.sum(sketched, axis=0)

        counted = self._groups != source
        counted = counted if counted.any() else ~counted
        explained = np.zeros((len(penalties), len(ranks)))
        unexplained = 0.0
        for fold, block in zip(self._folds, sketched, strict=True):
            rows = np.arange(fold.rows.start, fold.rows.stop)[counted[fold.rows]]
            others = len(residual) - (fold.rows.stop - fold.rows.start)
            # All columns sum to zero, so what was not held out sums to minus what was.
            mean = -residual[fold.rows].sum(axis=0) / others
            centred = residual[rows] - mean
            target = centred @ sketch
            unexplained += float(np.square(centred).sum())
            train_cross = fold.train.eigenvectors.T @ (
                total - block - others * np.outer(fold.train.mean, mean @ sketch)
            )
            features = fold.rotated[counted[fold.rows]]
            for i, penalty in enumerate(penalties):
                coefficients = fold.train.shrinkage(penalty) * train_cross
                directions = leading_directions(train_cross, coefficients, ranks[-1])
                predicted = features @ (coefficients @ directions)
                gains = (predicted * (2 * (target @ directions) - predicted)).sum(axis=0)
                explained[i] += np.cumsum(gains)[[rank - 1 for rank in ranks]]
        quality: Float64 = 1 - (unexplained - explained) / total_variance(tuned[counted])
        return quality


def _assign_folds(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the fold of each row: whole groups, folds as equal as can be, whatever the order.

    The largest group goes first, each to the smallest fold so far. A single group is dealt out
    row by row.
    """
    names, positions, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(names) == 1:
        return np.arange(len(groups), dtype=np.int64) % _FOLDS
    filled = np.zeros(min(_FOLDS, len(names)), dtype=np.int64)
    fold_of = np.zeros(len(names), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = filled.argmin()
        filled[fold_of[group]] += sizes[group]
    return fold_of[positions]


def _low_rank(scale: float, left: Float64, right: Float64, bias: Float64) -> LowRankMap:
    """Return the map in float32, every direction's length split evenly over its two vectors.

    Only the product counts; evenly split, both halves keep clear of the ends of float16.
    """
    lengths = np.sqrt(np.linalg.norm(right, axis=0))
    lengths = np.where(lengths > 0, lengths, 1.0)
    return LowRankMap(
        scale=float(np.float32(scale)),
        left=(left * lengths).astype(np.float32),
        right=(right / lengths).astype(np.float32),
        bias=bias.astype(np.float32),
    )
