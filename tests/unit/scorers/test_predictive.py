"""Leave-one-out densities against a fit without each example, and against the evidence's parts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from esm.common.errors import ShapeError
from esm.scorers.logme import Precisions, fitted_precisions, logme_of_moments
from esm.scorers.moments import Moments
from esm.scorers.predictive import leave_one_out_densities


def refitted(features, columns, alpha, beta, weights):
    """Fit without each example in turn, and look up the density of its label."""
    found = np.zeros(columns.shape)
    for i in range(len(features)):
        rest = np.arange(len(features)) != i
        for k in range(columns.shape[1]):
            x, y, w = features[rest], columns[rest, k], weights[rest]
            covariance = np.linalg.inv(alpha[k] * np.eye(x.shape[1]) + beta[k] * (x.T * w) @ x)
            mean = covariance @ (beta[k] * x.T @ (w * y))
            variance = 1 / (weights[i] * beta[k]) + features[i] @ covariance @ features[i]
            found[i, k] = norm(features[i] @ mean, np.sqrt(variance)).logpdf(columns[i, k])
            # The density to the power of w has another constant than that of a normal variable.
            found[i, k] += (weights[i] - 1) / 2 * np.log(beta[k] / (2 * np.pi))
            found[i, k] -= np.log(weights[i]) / 2
    return found.mean(axis=1)


@pytest.mark.parametrize(("n", "d"), [(30, 6), (8, 8), (9, 20)])
@pytest.mark.parametrize("weighted", [False, True])
def test_densities_equal_those_of_a_fit_without_each_example(n, d, weighted):
    rng = np.random.default_rng(n + d)
    features, columns = rng.standard_normal((n, d)) + 2, rng.standard_normal((n, 3))
    weights = rng.uniform(0.2, 3, n) if weighted else np.ones(n)
    weights /= weights.mean()
    precisions = Precisions(np.array([0.5, 2.0, 10.0]), np.array([1.0, 0.3, 5.0]))
    found = leave_one_out_densities(features, columns, precisions, weights if weighted else None)
    np.testing.assert_allclose(found, refitted(features, columns, *precisions, weights), rtol=1e-9)


def test_the_fitted_precisions_are_those_of_the_evidence():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((200, 5)) + 1
    columns = (features @ rng.standard_normal(5) + rng.standard_normal(200))[:, None]
    moments = Moments.of(features, None, columns).identity()
    (alpha,), (beta,) = fitted_precisions(moments)
    covariance = np.eye(200) / beta + features @ features.T / alpha
    marginal = multivariate_normal(np.zeros(200), covariance).logpdf(columns[:, 0]) / 200
    assert logme_of_moments(moments) == pytest.approx(marginal, abs=1e-7)
    # A maximum of the evidence: a step in either precision lowers it.
    for a, b in ((1.2, 1), (0.8, 1), (1, 1.1), (1, 0.9)):
        moved = np.eye(200) / (b * beta) + features @ features.T / (a * alpha)
        assert multivariate_normal(np.zeros(200), moved).logpdf(columns[:, 0]) / 200 < marginal


def test_label_columns_and_precisions_have_to_fit():
    with pytest.raises(ShapeError, match=r"expected: \(n, d\) and \(n, 2\)|\(n, 2\)"):
        leave_one_out_densities(
            np.ones((4, 2)), np.ones((4, 1)), Precisions(np.ones(2), np.ones(2))
        )
