"""Fitting maps: in closed form on anchors, or as published on the source's own texts.

The anchored form is ridge regression of what a scaled identity leaves over, on lifted features,
reduced to its leading directions. With the penalty, the best directions of rank r are those of
the *augmented* fitted values, the square root of the penalty stacked under the data; for plain
least squares see Izenman, "Reduced-rank regression for the multivariate linear model" (1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from esm.errors import FitError, ShapeError
from esm.maps.forms import DenseMap, LowRankMap

Float64 = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]

# Ridge penalties, in units of the mean eigenvalue of the features' Gram matrix.
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-4, 1, 8))
RANKS = (8, 16, 32, 64)

_FOLDS = 5
_HELD_OUT_SHARE = 0.2
_FEWEST_ROWS = 10


class PublishedMethod(StrEnum):
    """How a published map is fitted."""

    CLOSED = "closed"
    ADAMW = "adamw"


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
class PublishedFit:
    """A published map and how well it holds.

    Attributes:
        map: The map, float32.
        penalty: Chosen ridge penalty, in units of the features' mean eigenvalue; 0 for AdamW.
        rank: The full width d.
        r2_source: R² on a fifth of the source's texts, held out.
    """

    map: DenseMap
    penalty: float
    rank: int
    r2_source: float


def r_squared(true: Numbers, predicted: Numbers) -> float:
    """Return 1 - SSE / SST over all columns; SST is about the mean of ``true``.

    Args:
        true: (n, d).
        predicted: (n, d).

    Raises:
        ShapeError: The shapes differ.
        FitError: All rows of ``true`` are equal, so there is nothing to explain.
    """
    if true.shape != predicted.shape or true.ndim != 2:
        raise ShapeError(f"shapes {true.shape} and {predicted.shape}", expected="two equal (n, d)")
    exact = true.astype(np.float64)
    total = _spread(exact)
    return 1.0 - float(np.square(exact - predicted).sum()) / total


def _spread(rows: Float64) -> float:
    """Return the sum of squares about the mean.

    Raises:
        FitError: There is none.
    """
    total = float(np.square(rows - rows.mean(axis=0)).sum()) if len(rows) else 0.0
    if not total > 0:
        raise FitError(
            f"{len(rows)} tuned embeddings that are all equal",
            expected="embeddings that differ from text to text",
            hint="fine-tune with a lower learning rate",
        )
    return total


# ------------------------------------------------------------------------------ ridge regression


@dataclass(frozen=True)
class _Features:
    """Features of some rows, factorised once for every target and every penalty.

    Attributes:
        mean: (p,), their mean.
        eigenvalues: (p,), of the Gram matrix about the mean.
        eigenvectors: (p, p).
    """

    mean: Float64
    eigenvalues: Float64
    eigenvectors: Float64

    @classmethod
    def of(cls, features: Float64) -> Self:
        """Factorise (n, p) features: O(n p² + p³)."""
        mean = features.mean(axis=0)
        centred = features - mean
        eigenvalues, eigenvectors = np.linalg.eigh(centred.T @ centred)
        if not eigenvalues[-1] > 0:
            raise FitError(f"{len(features)} texts with equal features", expected="some variety")
        return cls(mean, np.maximum(eigenvalues, 0.0), eigenvectors)

    def shrinkage(self, penalty: float) -> Float64:
        """Return (p, 1) 1 / (eigenvalue + penalty), the penalty in mean eigenvalues."""
        weights: Float64 = 1 / (self.eigenvalues + penalty * self.eigenvalues.mean())
        return weights[:, None]


def _leading(cross: Float64, coefficients: Float64, rank: int) -> Float64:
    """Return (k, rank) leading directions of the augmented fitted values, best first.

    Their Gram matrix is ``C^T (G + penalty I)^-1 C``, the cross moments times the coefficients.
    """
    directions = np.linalg.eigh(cross.T @ coefficients)[1][:, : -rank - 1 : -1]
    peaks = np.abs(directions).argmax(axis=0)
    signs: Float64 = np.sign(directions[peaks, np.arange(rank)])
    return directions * signs


# -------------------------------------------------------------------------------- anchored maps


@dataclass(frozen=True)
class _Fold:
    """Rows held out together, in the coordinates of the rows they are predicted from.

    Attributes:
        rows: The held-out rows.
        train: Features of all other rows.
        rotated: (rows, p), the held-out features in the eigenbasis of ``train``, about its mean.
    """

    rows: slice
    train: _Features
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
        _check_rows(base, lifted)
        if len(groups) != len(base):
            raise ShapeError(f"{len(groups)} groups", expected=f"{len(base)}, one per anchor")
        folds = _assign_folds(groups)
        # Held-out rows are contiguous from here on, so that a fold is a slice.
        self._order = np.argsort(folds, kind="stable")
        self._groups = np.asarray(groups)[self._order]
        ordered = lifted.astype(np.float64)[self._order]
        base64 = base.astype(np.float64)[self._order]
        self._features = _Features.of(ordered)
        self._lifted = ordered - self._features.mean
        self._base_mean = base64.mean(axis=0)
        self._base = base64 - self._base_mean
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
        _check_rows(self._base, tuned)
        if tuned.shape != self._base.shape:
            raise ShapeError(f"tuned embeddings {tuned.shape}", expected=f"{self._base.shape}")
        if not penalties or min(penalties) <= 0 or (rank is not None and rank < 1):
            raise FitError(f"penalties {penalties}, rank {rank}", expected="positive numbers")
        ordered = tuned.astype(np.float64)[self._order]
        mean = ordered.mean(axis=0)
        ordered -= mean
        _spread(ordered)
        scale = float((self._base * ordered).sum() / np.square(self._base).sum())
        residual = ordered - scale * self._base
        cross = self._features.eigenvectors.T @ (self._lifted.T @ residual)
        limit = min(cross.shape)
        ranks = sorted({min(choice, limit) for choice in (RANKS if rank is None else (rank,))})

        quality = self._held_out(ordered, residual, cross, source, ranks, penalties)
        best_penalty, best_rank = np.unravel_index(quality.argmax(), quality.shape)
        penalty, rank = penalties[best_penalty], ranks[best_rank]

        coefficients = self._features.shrinkage(penalty) * cross
        left = _leading(cross, coefficients, rank)
        right = self._features.eigenvectors @ (coefficients @ left)
        bias = mean - scale * self._base_mean - left @ (right.T @ self._features.mean)
        return FittedMap(
            map=_low_rank(scale, left, right, bias),
            penalty=penalty,
            rank=rank,
            r2_anchors=float(quality.max()),
        )

    def _hold_out(self, rows: slice) -> _Fold:
        train = _Features.of(np.delete(self._lifted, rows, axis=0))
        return _Fold(rows, train, (self._lifted[rows] - train.mean) @ train.eigenvectors)

    def _held_out(
        self,
        tuned: Float64,
        residual: Float64,
        cross: Float64,
        source: str,
        ranks: list[int],
        penalties: Sequence[float],
    ) -> Float64:
        """Return held-out R² (penalties, ranks) on anchors of other tasks than the source.

        A map of rank r predicts nothing outside r directions, so the outputs are first projected
        on twice as many leading directions of a fit to all anchors; which r of them, and the
        coefficients, are then found without the fold. That leaves matrices of a tenth the size.
        """
        middle = self._features.shrinkage(sorted(penalties)[len(penalties) // 2])
        sketch = _leading(cross, middle * cross, min(2 * ranks[-1], *cross.shape))
        outputs = residual @ sketch
        blocks = [self._lifted[fold.rows].T @ outputs[fold.rows] for fold in self._folds]
        total = np.sum(blocks, axis=0)

        counted = self._groups != source
        counted = counted if counted.any() else ~counted
        explained = np.zeros((len(penalties), len(ranks)))
        unexplained = 0.0
        for fold, block in zip(self._folds, blocks, strict=True):
            rows = np.arange(fold.rows.start, fold.rows.stop)[counted[fold.rows]]
            others = len(residual) - (fold.rows.stop - fold.rows.start)
            # All columns sum to zero, so what was not held out sums to minus what was.
            mean = -residual[fold.rows].sum(axis=0) / others
            target = outputs[rows] - mean @ sketch
            unexplained += float(np.square(residual[rows] - mean).sum())
            train_cross = fold.train.eigenvectors.T @ (
                total - block - others * np.outer(fold.train.mean, mean @ sketch)
            )
            features = fold.rotated[counted[fold.rows]]
            for i, penalty in enumerate(penalties):
                coefficients = fold.train.shrinkage(penalty) * train_cross
                directions = _leading(train_cross, coefficients, ranks[-1])
                predicted = features @ (coefficients @ directions)
                gains = (predicted * (2 * (target @ directions) - predicted)).sum(axis=0)
                explained[i] += np.cumsum(gains)[[rank - 1 for rank in ranks]]
        quality: Float64 = 1 - (unexplained - explained) / _spread(tuned[counted])
        return quality


def _assign_folds(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the fold of each row: whole groups, folds as equal as can be, whatever the order.

    The largest group goes first, each to the smallest fold so far. A single group is dealt out
    row by row.
    """
    names, positions, sizes = np.unique(
        np.asarray(groups), return_inverse=True, return_counts=True
    )
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


# ------------------------------------------------------------------------------- published maps


def fit_published(
    base: Numbers,
    tuned: Numbers,
    *,
    method: PublishedMethod | str = PublishedMethod.CLOSED,
    seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
) -> PublishedFit:
    """Fit ``W h + b`` on the source's own texts, as published or as ridge regression.

    Args:
        base: (n, d) base embeddings.
        tuned: (n, d) embeddings of the same texts by the tuned model.
        method: ``"closed"``: ridge, the penalty chosen on a held-out fifth, then fitted to all.
            ``"adamw"``: as published, 10 epochs, batch 32, learning rate 1e-3 falling to 0.
        seed: Decides which fifth is held out and, for AdamW, start and order.
        penalties: Penalties to choose from, in mean eigenvalues of the features.

    Raises:
        ShapeError: The shapes differ.
        FitError: A number is not finite, there are fewer than ten texts, all tuned embeddings
            are equal, or the method is unknown.
    """
    _check_rows(base, tuned)
    if base.shape != tuned.shape:
        raise ShapeError(f"base {base.shape}, tuned {tuned.shape}", expected="equal shapes")
    if method not in list(PublishedMethod):
        raise FitError(f"method {method!r}", expected=" or ".join(PublishedMethod))
    order = np.random.default_rng(seed).permutation(len(base))
    held, train = np.split(order, [int(_HELD_OUT_SHARE * len(order))])
    if method == PublishedMethod.ADAMW:
        half = _adamw(base[train], tuned[train], seed)
        fitted, penalty = _adamw(base, tuned, seed), 0.0
    else:
        path = [_ridge(base[train], tuned[train], penalty) for penalty in penalties]
        quality = [r_squared(tuned[held], fitted.apply(base[held])) for fitted in path]
        best = int(np.argmax(quality))
        half, penalty = path[best], penalties[best]
        fitted = _ridge(base, tuned, penalty)
    r2 = r_squared(tuned[held], half.apply(base[held]))
    return PublishedFit(map=fitted, penalty=penalty, rank=fitted.rank, r2_source=r2)


def _ridge(base: Numbers, tuned: Numbers, penalty: float) -> DenseMap:
    inputs, outputs = base.astype(np.float64), tuned.astype(np.float64)
    features, mean = _Features.of(inputs), outputs.mean(axis=0)
    cross = features.eigenvectors.T @ ((inputs - features.mean).T @ (outputs - mean))
    weight = (features.eigenvectors @ (features.shrinkage(penalty) * cross)).T
    bias = mean - weight @ features.mean
    return DenseMap(weight=weight.astype(np.float32), bias=bias.astype(np.float32))


def _adamw(base: Numbers, tuned: Numbers, seed: int) -> DenseMap:
    """Train a linear layer as hf-dataset-selector 0.2.1 does, at the published settings."""
    import torch

    from esm.runtime import seeded

    epochs, batch_size = 10, 32
    inputs = torch.from_numpy(base.astype(np.float32))
    targets = torch.from_numpy(tuned.astype(np.float32))
    with seeded(seed):
        layer = torch.nn.Linear(inputs.shape[1], targets.shape[1])
        optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.01)
        steps = epochs * -(-len(inputs) // batch_size)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(batch_size):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(layer(inputs[rows]), targets[rows]).backward()
                torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    return DenseMap(weight=layer.weight.detach().numpy(), bias=layer.bias.detach().numpy())


def _check_rows(first: Numbers, second: Numbers) -> None:
    shapes = (first.shape, second.shape)
    if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[0][0] != shapes[1][0]:
        raise ShapeError(
            f"embeddings of shapes {shapes[0]} and {shapes[1]}",
            expected="two dimensions each and as many rows",
            hint="embed the same texts",
        )
    if shapes[0][0] < _FEWEST_ROWS:
        raise FitError(
            f"{shapes[0][0]} texts to fit a map on",
            expected=f"at least {_FEWEST_ROWS}, better 1,000 or more",
            hint="more anchors per task",
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise FitError(
            "embeddings that are NaN or infinite",
            expected="finite numbers only",
            hint="fine-tune with a lower learning rate, or in float32",
        )
