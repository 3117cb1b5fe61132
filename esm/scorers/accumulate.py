"""Moments of a target that does not fit in memory, block by block of its embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from esm.common.arrays import Float64
from esm.common.errors import FitError, ShapeError
from esm.scorers.moments import Moments, Numbers, normalise_weights

Block = tuple[Numbers, Numbers | None]

# Rows that are held in float64 at once.
_ROWS = 4096


def accumulate_moments(
    blocks: Iterable[Block], labels: Numbers, weights: Numbers | None = None
) -> Moments:
    """Sum up a target's examples from blocks of embeddings: O(n m²) time, O(m²) memory.

    Equal to :meth:`esm.scorers.moments.Moments.of` on all rows but for rounding. Sums are taken
    about the mean of the first rows and moved to the mean of all at the end, so a common offset
    costs no digits.

    Args:
        blocks: Base embeddings (b, d) and lifted features (b, p), or None where only maps without
            lift are scored; block after block, in the order of the labels.
        labels: (n, K) label columns (:func:`esm.scorers.moments.label_columns`), in any number
            format.
        weights: (n,) positive; only their ratios matter. None weighs all the same.

    Raises:
        ShapeError: Blocks differ in width, or do not have as many rows as there are labels.
        FitError: A number is not finite, a weight not positive, or there are fewer than two
            examples.
    """
    count = len(labels)
    if labels.ndim != 2 or count < 2:
        raise FitError(f"labels of shape {labels.shape}", expected="(n, K) with n at least 2")
    scale = normalise_weights(weights, count)
    label_means = _label_means(labels, scale)
    sums: _Sums | None = None
    start, width = 0, 0
    for base, rows in _rows(blocks):
        if sums is None:
            width = base
            sums = _Sums(rows, labels.shape[1])
        stop = start + len(rows)
        if (base, rows.shape[1]) != (width, len(sums.centre)) or stop > count:
            raise ShapeError(
                f"rows {start} to {stop - 1} are {base} wide with {rows.shape[1] - base} lifted"
                " features",
                expected=f"{count} rows in all, {width} wide with {len(sums.centre) - width}",
                hint="pass the blocks of one encoder and lift, in the order of the labels",
            )
        sums.add(rows, labels[start:stop] - label_means, scale[start:stop])
        start = stop
    if sums is None or start != count:
        raise ShapeError(f"{start} rows for {count} labels", expected="as many")
    return sums.moments(width, label_means, count)


def _rows(blocks: Iterable[Block]) -> Iterator[tuple[int, Float64]]:
    """Yield the width d and (rows, d + p) of at most ``_ROWS`` examples at once."""
    for base, lifted in blocks:
        for start in range(0, len(base), _ROWS):
            part = slice(start, start + _ROWS)
            if lifted is not None and len(lifted) != len(base):
                raise ShapeError(
                    f"{len(lifted)} rows of lifted features for {len(base)} embeddings",
                    expected="as many",
                )
            z = np.hstack([base[part]] if lifted is None else [base[part], lifted[part]])
            yield base.shape[1], z.astype(np.float64)


def _label_means(labels: Numbers, scale: Float64) -> Float64:
    total = np.zeros(labels.shape[1])
    for start in range(0, len(labels), _ROWS):
        part = slice(start, start + _ROWS)
        total += scale[part] @ labels[part].astype(np.float64)
    return total / len(labels)


class _Sums:
    """Weighted sums about a fixed centre, the mean of the first rows."""

    def __init__(self, first: Float64, num_columns: int) -> None:
        m = first.shape[1]
        self.centre: Float64 = first.mean(axis=0)
        self._total = np.zeros(m)
        self._gram = np.zeros((m, m))
        self._cross = np.zeros((m, num_columns))
        self._label_squares = np.zeros(num_columns)

    def add(self, rows: Float64, labels: Float64, scale: Float64) -> None:
        """Add (b, m) rows with their (b, K) labels, these about their mean."""
        if not (np.isfinite(rows).all() and np.isfinite(labels).all()):
            raise FitError(
                "embeddings or labels hold numbers that are not finite",
                expected="finite numbers only",
                hint="embed in float32",
            )
        root = np.sqrt(scale)[:, None]
        weighted, columns = root * (rows - self.centre), root * labels
        self._total += weighted.T @ root[:, 0]
        self._gram += weighted.T @ weighted
        self._cross += weighted.T @ columns
        self._label_squares += np.square(columns).sum(axis=0)

    def moments(self, width: int, label_means: Float64, count: int) -> Moments:
        """Return the moments about the mean of all rows."""
        shift = self._total / count
        return Moments(
            width=width,
            gram=self._gram - np.outer(shift, self._total),
            cross=self._cross,  # labels are about their mean, so the rows' centre does not matter
            mean=self.centre + shift,
            label_means=label_means,
            label_squares=self._label_squares,
            count=count,
        )
