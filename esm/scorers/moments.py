"""Moments: all that a score needs of a target, taken in one pass over its examples.

With ``z = [h, w]`` (base embedding and lifted features) a map gives embeddings ``A z + b``, whose
second moments are ``A M A^T``. So a pool of maps is scored without touching the examples again.

Everything is centred first. Embeddings share a large common offset, and squaring it would cost
the digits in which sources differ; what the centring takes away is the mean of the mapped
embeddings, which is kept apart and handled exactly by the scorer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import FitError, ShapeError, TaskError
from esm.maps.forms import EmbeddingSpaceMap
from esm.tasks.task import Problem

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class FeatureMoments:
    """Centred moments of n embeddings F (n, d) and label columns Y (n, K), weighted.

    Attributes:
        scatter: (d, d), F^T F about the mean.
        cross: (d, K), F^T Y about both means.
        mean: (d,), mean embedding.
        label_means: (K,), mean of each column.
        label_squares: (K,), sum of squares of each column about its mean.
        count: n.
    """

    scatter: Float64
    cross: Float64
    mean: Float64
    label_means: Float64
    label_squares: Float64
    count: int


@dataclass(frozen=True)
class Moments:
    """Centred moments of ``z = [h, w]`` for one set of annotated rows and one weighting.

    Attributes:
        width: Embedding width d.
        gram: (m, m) float64, Z^T Z about the mean; m = d + p.
        cross: (m, K), Z^T Y about both means.
        mean: (m,), weighted mean of z.
        label_means: (K,), weighted mean of each label column.
        label_squares: (K,), weighted sum of squares of each column about its mean.
        count: n examples; the weights sum to n.
    """

    width: int
    gram: Float64
    cross: Float64
    mean: Float64
    label_means: Float64
    label_squares: Float64
    count: int

    def __post_init__(self) -> None:
        m, num_columns = self.cross.shape
        shapes = (self.gram.shape, self.mean.shape, self.label_means.shape)
        if shapes != ((m, m), (m,), (num_columns,)) or not 0 < self.width <= m:
            raise ShapeError(
                f"gram {shapes[0]}, mean {shapes[1]}, label means {shapes[2]}, width {self.width}",
                expected=f"({m}, {m}), ({m},), ({num_columns},) and a width of at most {m}",
            )

    @classmethod
    def of(
        cls,
        base: Numbers,
        lifted: Numbers | None,
        labels: Numbers,
        weights: Numbers | None = None,
    ) -> Moments:
        """Sum up a target's examples: O(n m²) time, O(m²) memory kept.

        Args:
            base: (n, d) base embeddings.
            lifted: (n, p) lifted features, or None where only maps without lift are scored.
            labels: (n, K) label columns (:func:`label_columns`).
            weights: (n,) positive; only their ratios matter. None weighs all the same.

        Raises:
            ShapeError: The arrays do not have the same number of rows.
            FitError: A number is not finite, a weight not positive, or there are fewer than two
                examples.
        """
        blocks = [base] if lifted is None else [base, lifted]
        _check_rows([*blocks, labels])
        z = np.hstack(blocks).astype(np.float64)
        columns = labels.astype(np.float64)
        if not (np.isfinite(z).all() and np.isfinite(columns).all()):
            raise FitError(
                "embeddings or labels hold numbers that are not finite",
                expected="finite numbers only",
                hint="embed in float32",
            )
        scale = normalise_weights(weights, len(z))
        mean, label_means = scale @ z / len(z), scale @ columns / len(z)
        root = np.sqrt(scale)[:, None]
        z = root * (z - mean)
        columns = root * (columns - label_means)
        return cls(
            width=base.shape[1],
            gram=z.T @ z,
            cross=z.T @ columns,
            mean=mean,
            label_means=label_means,
            label_squares=np.square(columns).sum(axis=0),
            count=len(z),
        )

    def mapped(self, source_map: EmbeddingSpaceMap) -> FeatureMoments:
        """Return the moments of the mapped embeddings: O(m² r) for a map of rank r.

        Raises:
            ShapeError: The map has another width, or reads lifted features of another width than
                these moments hold.
        """
        d, lift_width = self.width, len(self.gram) - self.width
        if source_map.width != d or source_map.lift_width not in (0, lift_width):
            raise ShapeError(
                f"map of width {source_map.width} over {source_map.lift_width} lifted features",
                expected=f"width {d} over {lift_width}",
                hint="use the base model and the lift the map was fitted with",
            )
        half = self._mapped_rows(source_map, self.gram)
        scatter = self._mapped_rows(source_map, half.T)
        mean = self._mapped_rows(source_map, self.mean[:, None])[:, 0]
        return FeatureMoments(
            scatter=(scatter + scatter.T) / 2,
            cross=self._mapped_rows(source_map, self.cross),
            mean=mean + source_map.bias,
            label_means=self.label_means,
            label_squares=self.label_squares,
            count=self.count,
        )

    def identity(self) -> FeatureMoments:
        """Return the moments of the base embeddings themselves: the base model untouched."""
        d = self.width
        return FeatureMoments(
            scatter=self.gram[:d, :d],
            cross=self.cross[:d],
            mean=self.mean[:d],
            label_means=self.label_means,
            label_squares=self.label_squares,
            count=self.count,
        )

    def _mapped_rows(self, source_map: EmbeddingSpaceMap, rows: Float64) -> Float64:
        """Apply a map's linear part to (m, k) rows of moments, giving (d, k)."""
        mapped = source_map.linear(rows[: self.width], rows[self.width :])
        return mapped.astype(np.float64, copy=False)


def _check_rows(arrays: list[Numbers]) -> None:
    shapes = [array.shape for array in arrays]
    if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ShapeError(
            f"embeddings and labels of shapes {', '.join(map(str, shapes))}",
            expected="two dimensions each and as many rows",
            hint="pass the same rows",
        )
    if shapes[0][0] < 2:
        raise FitError(f"{shapes[0][0]} examples", expected="at least 2")


def normalise_weights(weights: Numbers | None, count: int) -> Float64:
    """Return (n,) float64 weights that average 1.

    Raises:
        ShapeError: There are not n weights.
        FitError: A weight is not positive and finite.
    """
    if weights is None:
        return np.ones(count)
    if weights.shape != (count,):
        raise ShapeError(f"weights of shape {weights.shape}", expected=f"({count},)")
    scale = weights.astype(np.float64)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise FitError("weights that are not positive", expected="finite numbers above 0")
    normalised: Float64 = scale * (count / scale.sum())
    return normalised


def label_columns(problem: Problem, labels: Numbers, num_classes: int) -> Float64:
    """Return the label columns that a score regresses on.

    Classes, or labels of a multi-label task, that do not vary over these rows are dropped: they
    say nothing, and one absent class moved a score from -0.52 to +0.72. Amounts, and the ranks of
    ordinal classes, are standardised: the evidence per example falls by the logarithm of the
    label's unit and the model has no intercept, so a score would otherwise change with kilograms
    or pounds.

    Args:
        problem: Kind of labels.
        labels: (n,) class numbers, (n,) or (n, k) amounts or ranks, or (n, c) zeros and ones.
        num_classes: c for classification; not used otherwise.

    Returns:
        (n, K) float64.

    Raises:
        TaskError: Labels are not finite, out of range, or all the same.
    """
    if not np.isfinite(labels.astype(np.float64)).all():
        raise TaskError("labels that are NaN or infinite", hint="leave out rows without a label")
    if problem is Problem.CLASSIFICATION:
        return _one_hot(labels, num_classes)
    columns = labels.astype(np.float64).reshape(len(labels), -1)
    varying = np.ptp(columns, axis=0) > 0
    if not varying.any():
        raise TaskError(
            f"{len(labels)} rows with the same label",
            expected="at least two different labels",
            hint="score more rows",
        )
    if problem is Problem.MULTILABEL:
        return columns[:, varying]
    columns = columns[:, varying]
    standardised: Float64 = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return standardised


def _one_hot(labels: Numbers, num_classes: int) -> Float64:
    present = np.unique(labels)
    if present[0] < 0 or present[-1] >= num_classes:
        raise TaskError(
            f"class numbers from {present[0]} to {present[-1]}", expected=f"0 to {num_classes - 1}"
        )
    if len(present) < 2:
        raise TaskError(
            f"one class only in {len(labels)} rows",
            expected="at least two classes",
            hint="score more rows, or leave the attribute out",
        )
    columns: Float64 = (labels[:, None] == present).astype(np.float64)
    return columns
