"""LogME: the maximised log evidence of Bayesian linear regression from embeddings to labels.

You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning" (ICML 2021),
with the fixed-point iteration of You et al., "Ranking and Tuning Pre-trained Models"
(arXiv 2110.10545). One regression per label column, with prior precision alpha and noise
precision beta; the score is the mean log evidence per example, in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import FitError, ShapeError, TaskError
from esm.scorers.base import NATS, EmbeddingKind, Evidence, Scorer
from esm.scorers.likelihood.rules import MAX_UPDATES, REFERENCE_EPSILON, SMALLEST, TOLERANCE
from esm.scorers.moments import FeatureMoments, label_columns, normalise_weights
from esm.scorers.predictive import Precisions, leave_one_out_densities
from esm.tasks.task import Problem


class Variant(StrEnum):
    """Which eigenvalues the evidence's determinant runs over.

    The reference (thuml/LogME) takes the min(n, d) computed singular values only. For n < d that
    leaves out (d - n) log alpha, and the score then depends on the scale of the features.
    """

    REFERENCE = "reference"
    FULL = "full"


def logme(
    features: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    variant: str = Variant.REFERENCE,
    weights: npt.NDArray[Any] | None = None,
    max_updates: int = MAX_UPDATES,
) -> float:
    """Return the LogME score of features for labels, in nats per example; higher is better.

    Computed from the features themselves, by singular value decomposition: O(n d min(n, d)).

    Args:
        features: (n, d) numbers.
        labels: (n,) integers for classification; (n,) or (n, k) floats for regression, one
            regression per column, in the labels' own unit.
        variant: ``"reference"``, as published, or ``"full"``, with the full determinant, which
            does not depend on the scale of the features; rankings use ``"full"``.
        weights: (n,) positive weights of the examples; they are scaled to average 1.
        max_updates: Most updates of alpha and beta; the reference allows 11,
            hf-dataset-selector 50.

    Raises:
        ShapeError: Shapes or types do not fit.
        TaskError: Labels are NaN, or hold one class only.
        FitError: Features are not finite, or a setting is unknown.

    Source:
        thuml/LogME at 56551ca94a3295bcc37e6a01b1291911af985f07. Two differences: classes that do
        not occur in ``labels`` are left out instead of scored as columns of zeros, and singular
        values that are zero count where n > d, too.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.standard_normal((100, 8))
        >>> labels = (features[:, 0] > 0).astype(int)
        >>> logme(features, labels) > logme(features, rng.permutation(labels))
        True
    """
    if variant not in list(Variant):
        raise FitError(f"variant {variant!r}", expected=" or ".join(Variant))
    if max_updates < 1:
        raise FitError(f"max_updates {max_updates}", expected="at least 1")
    inputs, columns = _checked(features, labels)
    root = np.sqrt(normalise_weights(weights, len(inputs)))[:, None]
    spectrum = _Spectrum.of_features(root * inputs, root * columns)
    return float(_evidences(spectrum, Variant(variant), max_updates).mean())


def logme_of_moments(moments: FeatureMoments, max_updates: int = MAX_UPDATES) -> float:
    """Return LogME with the full determinant from moments, nats per example: O(d³).

    Equal to :func:`logme` with ``variant="full"`` on the embeddings themselves.

    Args:
        moments: Centred moments of embeddings and label columns, weighted or not.
        max_updates: Most updates of alpha and beta.
    """
    return float(evidences_of_moments(moments, max_updates).mean())


def evidences_of_moments(moments: FeatureMoments, max_updates: int = MAX_UPDATES) -> Float64:
    """Return the (K,) log evidences of which :func:`logme_of_moments` is the mean."""
    return _evidences(_Spectrum.of_moments(moments), Variant.FULL, max_updates)


def fitted_precisions(moments: FeatureMoments, max_updates: int = MAX_UPDATES) -> Precisions:
    """Return the alpha and beta at which :func:`logme_of_moments` takes the evidence: O(d³).

    Args:
        moments: Centred moments of embeddings and label columns, weighted or not.
        max_updates: Most updates of alpha and beta.
    """
    alpha, beta, _ = _fixed_point(_Spectrum.of_moments(moments), max_updates)
    return Precisions(alpha, beta)


@dataclass(frozen=True)
class LogME(Scorer):
    """LogME with the full determinant, on moments; one eigendecomposition (d, d) per source.

    Attributes:
        name: Name of the score.
        reads: Mapped embeddings, or those of the tuned encoders.
        max_updates: Most updates of alpha and beta.
    """

    name: str = "logme"
    reads: EmbeddingKind = EmbeddingKind.MAPPED
    max_updates: int = MAX_UPDATES
    unit = NATS
    weighs_classes = True
    has_base = True
    is_sum_over_rows = True

    def score(self, evidence: Evidence) -> float:
        """Return the mean log evidence per example over the label columns, in nats."""
        return logme_of_moments(evidence.features(self.reads), self.max_updates)

    def contributions(self, evidence: Evidence) -> Float64:
        """Return (n,) shares of the rows, nats: see :mod:`esm.scorers.predictive`."""
        target = evidence.target
        fitted = fitted_precisions(evidence.features(self.reads), self.max_updates)
        rows = evidence.embeddings(self.reads).astype(np.float64)
        return leave_one_out_densities(rows, target.columns, fitted, target.weights)


class _Posterior(NamedTuple):
    """What one update needs of the posterior of each column, (K,) each."""

    weight_norm: Float64  # squared norm of the posterior mean
    residual: Float64  # residual sum of squares
    degrees: Float64  # effective number of parameters, gamma


@dataclass(frozen=True)
class _Spectrum:
    """Bayesian regression of K columns in the eigenbasis of the features.

    The features' second moments are ``diag(eigenvalues) + offset offset^T``. The second term is
    their common offset, sqrt(n) times the mean; kept apart, it costs no digits however large it
    is: the Sherman-Morrison identity and the matrix determinant lemma account for it exactly.

    Attributes:
        eigenvalues: (k, 1), lambda >= 0.
        projections: (k, K), u, the columns in the left singular basis; 0 where lambda is 0.
        outside: (K,), squared norm of the columns outside that basis.
        offset: (k, 1), g; 0 where nothing was centred.
        label_offset: (K,), eta, sqrt(n) times the mean of each column.
        width: d; the d - k directions that are not listed have eigenvalue 0.
        count: n.
    """

    eigenvalues: Float64
    projections: Float64
    outside: Float64
    offset: Float64
    label_offset: Float64
    width: int
    count: int

    @classmethod
    def of_features(cls, features: Float64, columns: Float64) -> Self:
        """Decompose (n, d) features as they are, without centring."""
        left, singular, _ = np.linalg.svd(features, full_matrices=False)
        projections = left.T @ columns
        return cls(
            eigenvalues=np.square(singular)[:, None],
            projections=projections,
            outside=np.square(columns - left @ projections).sum(0),
            offset=np.zeros((len(singular), 1)),
            label_offset=np.zeros(columns.shape[1]),
            width=features.shape[1],
            count=len(features),
        )

    @classmethod
    def of_moments(cls, moments: FeatureMoments) -> Self:
        """Decompose centred moments: O(d³)."""
        eigenvalues, basis = np.linalg.eigh(moments.scatter)
        width, count = len(eigenvalues), moments.count
        # n centred rows span at most n - 1 directions, and rounding reaches the rest: what is
        # zero in exact arithmetic has to be zero here, or it is divided by.
        smallest = eigenvalues[-1] * width * np.finfo(np.float64).eps
        real = (eigenvalues > smallest) & (np.arange(width) >= width - (count - 1))
        eigenvalues = np.where(real, eigenvalues, 0.0)[:, None]
        inverse_root = np.where(real, 1.0, 0.0)[:, None] / np.sqrt(
            np.where(real[:, None], eigenvalues, 1.0)
        )
        projections = inverse_root * (basis.T @ moments.cross)
        outside = moments.label_squares - np.square(projections).sum(0)
        if real.sum() == count - 1:
            outside = np.zeros_like(outside)  # the features span all of the centred labels
        return cls(
            eigenvalues=eigenvalues,
            projections=projections,
            outside=np.maximum(outside, 0.0),
            offset=np.sqrt(count) * (basis.T @ moments.mean)[:, None],
            label_offset=np.sqrt(count) * moments.label_means,
            width=width,
            count=count,
        )

    def posterior(self, ratio: Float64) -> _Posterior:
        """Return the posteriors for (K,) ratios t = alpha / beta: O(k K)."""
        shrink = 1 / (self.eigenvalues + ratio)
        root = np.sqrt(self.eigenvalues)
        # (S + tI)^-1 c for S = diag(lambda) + g g^T and c = sqrt(lambda) u + g eta.
        lever = 1 + self._leverage(ratio)
        drift = self.label_offset - (self.offset * root * shrink * self.projections).sum(0)
        drift = drift / lever
        mean = shrink * (root * self.projections + self.offset * drift)
        residual = shrink * (ratio * self.projections - root * self.offset * drift)
        degrees = (self.eigenvalues * shrink).sum(0)
        degrees += ratio * np.square(self.offset * shrink).sum(0) / lever
        return _Posterior(
            weight_norm=np.square(mean).sum(0),
            residual=np.square(residual).sum(0) + self.outside + np.square(drift),
            degrees=degrees,
        )

    def log_determinant(self, alpha: Float64, beta: Float64, variant: Variant) -> Float64:
        """Return log det(alpha I + beta S) per column, over the directions of the variant."""
        total: Float64 = np.log(alpha + beta * self.eigenvalues).sum(0)
        total += np.log1p(self._leverage(alpha / beta))
        if variant is Variant.FULL:
            total += (self.width - len(self.eigenvalues)) * np.log(alpha)
        return total

    def _leverage(self, ratio: Float64) -> Float64:
        """Return g^T (diag(lambda) + tI)^-1 g per column."""
        leverage: Float64 = (np.square(self.offset) / (self.eigenvalues + ratio)).sum(0)
        return leverage


def _fixed_point(spectrum: _Spectrum, max_updates: int) -> tuple[Float64, Float64, _Posterior]:
    """Iterate (K,) alpha and beta to their fixed point; also the posterior before the last update.

    Every column starts anew at alpha = beta = 1 and stops on its own.
    """
    num_columns = spectrum.projections.shape[1]
    alpha, beta, weight_norm, residual, degrees = np.ones((5, num_columns))
    active = np.ones(num_columns, dtype=bool)
    for _ in range(max_updates):
        ratio = alpha / beta
        posterior = spectrum.posterior(ratio)
        degrees = np.where(active, posterior.degrees, degrees)
        weight_norm = np.where(active, posterior.weight_norm, weight_norm)
        residual = np.where(active, posterior.residual, residual)
        new_alpha = degrees / (weight_norm + REFERENCE_EPSILON)
        new_beta = (spectrum.count - degrees) / (residual + REFERENCE_EPSILON)
        alpha = np.where(active, np.maximum(new_alpha, SMALLEST), alpha)
        beta = np.where(active, np.maximum(new_beta, SMALLEST), beta)
        active &= np.abs(alpha / beta - ratio) > TOLERANCE * ratio
        if not active.any():
            break
    return alpha, beta, _Posterior(weight_norm, residual, degrees)


def _evidences(spectrum: _Spectrum, variant: Variant, max_updates: int) -> Float64:
    """Return (K,) log evidences per example at the fixed point.

    As in the reference, the evidence combines the last alpha and beta with the posterior from
    before that update.
    """
    n, d = spectrum.count, spectrum.width
    alpha, beta, posterior = _fixed_point(spectrum, max_updates)
    evidence: Float64 = (
        d * np.log(alpha)
        + n * np.log(beta)
        - spectrum.log_determinant(alpha, beta, variant)
        - beta * posterior.residual
        - alpha * posterior.weight_norm
        - n * np.log(2 * np.pi)
    ) / (2 * n)
    return evidence


def _checked(features: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[Float64, Float64]:
    """Return features (n, d) and label columns (n, K) as float64, or say what is wrong."""
    features, labels = np.asarray(features), np.asarray(labels)
    if features.ndim != 2 or not features.size:
        raise ShapeError(f"features of shape {features.shape}", expected="(n, d)")
    if labels.ndim not in (1, 2) or len(labels) != len(features):
        raise ShapeError(
            f"labels of shape {labels.shape}, features of shape {features.shape}",
            expected="as many rows",
            hint="pass the same split",
        )
    inputs = features.astype(np.float64)
    if not np.isfinite(inputs).all():
        raise FitError("features that are NaN or infinite", expected="finite numbers only")
    if np.issubdtype(labels.dtype, np.integer) or labels.dtype == np.bool_:
        if labels.ndim != 1:
            raise ShapeError(
                f"integer labels of shape {labels.shape}",
                expected="(n,) class numbers, or floats for regression on several columns",
                hint="labels.astype(float)",
            )
        classes = np.unique(labels, return_inverse=True)[1]
        return inputs, label_columns(Problem.CLASSIFICATION, classes, len(labels))
    if not np.issubdtype(labels.dtype, np.floating):
        raise ShapeError(f"labels of type {labels.dtype}", expected="integers or floats")
    if not np.isfinite(labels).all():
        raise TaskError("labels that are NaN or infinite", hint="leave out rows without a label")
    return inputs, labels.astype(np.float64).reshape(len(labels), -1)
