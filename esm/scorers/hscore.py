"""H-score: how much of the embeddings' spread lies between the classes, regularised.

Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning" (ICIP
2019); the regularised form is that of Ibrahim, Ponomareva and Mazumder, "Newer is not always
better: Rethinking transferability metrics, their peculiarities, stability and performance" (ECML
PKDD 2022, arXiv 2110.06893): the covariance is shrunk to a multiple of the identity, as strongly
as Ledoit and Wolf (2004) find best, because with few examples its inverse is mostly noise.

An invertible affine map of the embeddings leaves the unregularised score unchanged. So on the
embeddings that a dense map predicts it says nothing about the source, and what the regularised
one says comes from the shrinkage alone: it is meant for tuned encoders, and ``--embeddings
mapped`` is there to show that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import FitError, ShapeError
from esm.scorers.base import EmbeddingKind, Evidence, Scorer
from esm.scorers.per_class import mean_over_classes

_BATCH = 4096
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class HScoreMoments:
    """Sums from which the score follows, taken in one pass; batches and parts add up.

    All are about a fixed ``origin`` near the mean, so that a common offset of the embeddings costs
    no digits. The shrinkage needs the sum of the fourth powers of the rows' lengths about their
    mean, which is known at the end only; it expands into ``quartic``, ``cubic`` and ``scatter``.

    Attributes:
        origin: (d,) what is taken from every row.
        counts: (c,) rows of each class.
        sums: (c, d) sum of the rows of each class.
        scatter: (d, d) sum of x x^T.
        cubic: (d,) sum of |x|² x.
        quartic: Sum of |x|⁴.
    """

    origin: Float64
    counts: Float64
    sums: Float64
    scatter: Float64
    cubic: Float64
    quartic: float

    @classmethod
    def of(cls, features: npt.NDArray[Any], labels: npt.NDArray[Any], num_classes: int) -> Self:
        """Sum up a batch.

        Args:
            features: (n, d) embeddings.
            labels: (n,) class numbers in [0, c).
            num_classes: c.

        Raises:
            ShapeError: Shapes do not fit.
            FitError: A number is not finite.
        """
        if features.ndim != 2 or labels.shape != features.shape[:1] or not features.size:
            raise ShapeError(
                f"features {features.shape} and labels {labels.shape}",
                expected="(n, d) and (n,) for the same n",
                hint="pass the same split",
            )
        rows = features.astype(np.float64)
        if not np.isfinite(rows).all():
            raise FitError("features that are NaN or infinite", expected="finite numbers only")
        return cls._about(rows.mean(axis=0), rows, labels, num_classes)

    @classmethod
    def _about(
        cls, origin: Float64, rows: Float64, labels: npt.NDArray[Any], num_classes: int
    ) -> Self:
        shifted = rows - origin
        squares = np.square(shifted).sum(axis=1)
        members = np.eye(num_classes)[labels]
        return cls(
            origin=origin,
            counts=members.sum(axis=0),
            sums=members.T @ shifted,
            scatter=shifted.T @ shifted,
            cubic=squares @ shifted,
            quartic=float(squares @ squares),
        )

    def add(self, features: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Self:
        """Return the sums with a further batch: O(n d²)."""
        more = self._about(self.origin, features.astype(np.float64), labels, len(self.counts))
        return type(self)(
            origin=self.origin,
            counts=self.counts + more.counts,
            sums=self.sums + more.sums,
            scatter=self.scatter + more.scatter,
            cubic=self.cubic + more.cubic,
            quartic=self.quartic + more.quartic,
        )

    def score(self, *, regularised: bool = True) -> float:
        """Return the H-score: O(d³).

        With the covariance S of the embeddings, their number n and width d, and mu_y the mean of
        class y about the common mean::

            H       = tr(S^-1 B)                       B = 1/n sum_y n_y mu_y mu_y^T
            H_alpha = tr(S_alpha^-1 (1 - alpha) B) n / (n - 1)
            S_alpha = (1 - alpha) S + alpha tr(S)/d I
            alpha   = min(1, (1/n² sum_i |x_i|⁴ - |S|_F²/n) / |S - tr(S)/d I|_F²)

        (The last factor is the published code's, which takes the unbiased estimate of the second
        covariance only.)

        Raises:
            FitError: All rows are the same.
        """
        n, d = self.counts.sum(), len(self.origin)
        mean = self.sums.sum(axis=0) / n
        covariance = self.scatter / n - np.outer(mean, mean)
        level = np.trace(covariance) / d
        if not level > 0:
            raise FitError(f"{n:.0f} equal embeddings", expected="embeddings that vary")
        occurring = self.counts > 0
        counts = self.counts[occurring, None]
        offsets = np.sqrt(counts / n) * (self.sums[occurring] / counts - mean)
        if not regularised:
            return float(np.sum(offsets * (offsets @ np.linalg.pinv(covariance, hermitian=True))))
        alpha = self._shrinkage(covariance, mean, level)
        shrunk = (1 - alpha) * covariance + alpha * level * np.eye(d)
        between = np.sum(offsets.T * np.linalg.solve(shrunk, offsets.T))
        return float((1 - alpha) * between * n / (n - 1))

    def _shrinkage(self, covariance: Float64, mean: Float64, level: float) -> float:
        """Return Ledoit and Wolf's alpha in [0, 1]."""
        n = self.counts.sum()
        length = mean @ mean
        # sum of (|x|² - 2 m x + |m|²)²
        fourth = (
            self.quartic
            + 4 * mean @ self.scatter @ mean
            + n * length**2
            - 4 * mean @ self.cubic
            + 2 * length * np.trace(self.scatter)
            - 4 * length * n * length
        )
        norm = np.square(covariance).sum()
        noise = (fourth / n - norm) / n
        spread = norm - len(covariance) * level**2
        if spread <= _ROUNDING * norm:  # a multiple of the identity already, as for d = 1
            return 0.0
        return float(min(max(noise, 0.0), spread) / spread)


def hscore(
    features: npt.NDArray[Any], labels: npt.NDArray[Any], *, regularised: bool = True
) -> float:
    """Return the H-score of embeddings for classes; higher is better.

    Args:
        features: (n, d) embeddings.
        labels: (n,) classes.
        regularised: Whether to shrink the covariance.

    Raises:
        ShapeError: Shapes do not fit.
        FitError: Features are not finite, or all the same.

    Source:
        Ibrahim et al. 2022, equation 6; alpha as in Ledoit and Wolf, "A well-conditioned estimator
        for large-dimensional covariance matrices" (2004).
    """
    classes, codes = np.unique(labels, return_inverse=True)
    moments = HScoreMoments.of(features[:_BATCH], codes[:_BATCH], len(classes))
    for start in range(_BATCH, len(features), _BATCH):
        part = slice(start, start + _BATCH)
        moments = moments.add(features[part], codes[part])
    return moments.score(regularised=regularised)


@dataclass(frozen=True)
class HScore(Scorer):
    """The regularised H-score.

    Attributes:
        reads: The tuned encoder's embeddings; mapped ones as the negative case.
    """

    reads: EmbeddingKind = EmbeddingKind.TUNED
    name = "hscore"
    unit = "a trace, without unit"
    has_base = True

    def score(self, evidence: Evidence) -> float:
        """Return the regularised H-score of the target's labels."""
        rows = evidence.embeddings(self.reads)
        return mean_over_classes(evidence.target, lambda labels: hscore(rows, labels), self.name)
