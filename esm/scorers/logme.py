"""LogME: the maximised log evidence of Bayesian linear regression from embeddings to labels.

You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning" (ICML 2021),
with the fixed-point iteration of You et al., "Ranking and Tuning Pre-trained Models"
(arXiv 2110.10545). One regression per label column, with prior precision alpha and noise
precision beta; the score is the mean log evidence per example, in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import FitError, ShapeError, TaskError
from esm.scorers.base import NATS, EmbeddingKind, Evidence, Scorer
from esm.scorers.evidence import Spectrum, maximum, reference
from esm.scorers.likelihood.rules import (
    MAX_UPDATES,
)
from esm.scorers.moments import FeatureMoments, label_columns, normalise_weights
from esm.scorers.predictive import Precisions, leave_one_out_densities
from esm.tasks.task import Problem


class Variant(StrEnum):
    """How the evidence is computed.

    FULL is its maximum over both precisions, with the determinant over all d directions: it does
    not depend on the scale of the features. REFERENCE is what thuml/LogME computes: it stops after
    11 updates of the precisions, short of the maximum, and its determinant runs over the min(n, d)
    computed singular values only, which for n < d leaves out (d - n) log alpha.
    """

    REFERENCE = "reference"
    FULL = "full"


def logme(
    features: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    variant: str = Variant.FULL,
    weights: npt.NDArray[Any] | None = None,
    max_updates: int = MAX_UPDATES,
) -> float:
    """Return the LogME score of features for labels, in nats per example; higher is better.

    Computed from the features themselves, by singular value decomposition: O(n d min(n, d)).

    Args:
        features: (n, d) numbers.
        labels: (n,) integers for classification; (n,) or (n, k) floats for regression, one
            regression per column, in the labels' own unit.
        variant: ``"full"``, the maximum, or ``"reference"``, as published (see
            :class:`Variant`); rankings use ``"full"``.
        weights: (n,) positive weights of the examples; they are scaled to average 1.
        max_updates: Most updates of alpha and beta of the reference, which allows 11;
            hf-dataset-selector allows 50.

    Raises:
        ShapeError: Shapes or types do not fit.
        TaskError: Labels are NaN, or hold one class only.
        FitError: Features are not finite, or a setting is unknown.

    Source:
        thuml/LogME at 56551ca94a3295bcc37e6a01b1291911af985f07. Two differences: classes that do
        not occur in ``labels`` are left out instead of scored as columns of zeros, and singular
        values that are zero count where n > d, too. The maximum: MacKay, "Bayesian Interpolation"
        (Neural Computation 1992), section 4.

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
    spectrum = Spectrum.of_features(root * inputs, root * columns)
    if variant == Variant.REFERENCE:
        return float(reference(spectrum, max_updates).mean())
    return float(maximum(spectrum).evidence.mean())


def logme_of_moments(moments: FeatureMoments) -> float:
    """Return LogME at its maximum from moments, nats per example: O(d³).

    Equal to :func:`logme` on the embeddings themselves.

    Args:
        moments: Centred moments of embeddings and label columns, weighted or not.
    """
    return float(evidences_of_moments(moments).mean())


def evidences_of_moments(moments: FeatureMoments) -> Float64:
    """Return the (K,) log evidences of which :func:`logme_of_moments` is the mean."""
    return maximum(Spectrum.of_moments(moments)).evidence


def fitted_precisions(moments: FeatureMoments) -> Precisions:
    """Return the alpha and beta at which :func:`logme_of_moments` takes the evidence: O(d³).

    Args:
        moments: Centred moments of embeddings and label columns, weighted or not.
    """
    spectrum = Spectrum.of_moments(moments)
    found = maximum(spectrum)
    noise = spectrum.count / spectrum.curves(found.ratio).residual
    return Precisions(found.ratio * noise, noise)


@dataclass(frozen=True)
class LogME(Scorer):
    """LogME at its maximum, on moments; one eigendecomposition (d, d) per source.

    Attributes:
        name: Name of the score.
        reads: Mapped embeddings, or those of the tuned encoders.
    """

    name: str = "logme"
    reads: EmbeddingKind = EmbeddingKind.MAPPED
    unit = NATS
    weighs_classes = True
    has_base = True
    is_sum_over_rows = True

    def score(self, evidence: Evidence) -> float:
        """Return the mean log evidence per example over the label columns, in nats."""
        return logme_of_moments(evidence.features(self.reads))

    def contributions(self, evidence: Evidence) -> Float64:
        """Return (n,) shares of the rows, nats: see :mod:`esm.scorers.predictive`."""
        target = evidence.target
        fitted = fitted_precisions(evidence.features(self.reads))
        rows = evidence.embeddings(self.reads).astype(np.float64)
        return leave_one_out_densities(rows, target.columns, fitted, target.weights)


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
