"""LogME on moments equals LogME on the mapped embeddings, and has the invariances it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq
from scipy.optimize import minimize

from esm.common.errors import FitError, ShapeError, TaskError
from esm.maps.forms import DenseMap, LowRankMap
from esm.scorers.logme import logme, logme_of_moments
from esm.scorers.moments import Moments, label_columns
from esm.tasks.task import Problem
from esm.training.class_weights import balance_weights


def conditioned(rng, n, m, condition, offset):
    """(n, m) features whose centred singular values spread over ``condition``."""
    rotation = np.linalg.qr(rng.standard_normal((m, m)))[0]
    spread = condition ** -np.linspace(0, 1, m)
    return rng.standard_normal((n, m)) * spread @ rotation + offset * rng.standard_normal(m)


def draw_map(rng, kind, d, p):
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    if kind == "low rank":
        rank = min(3, d, p)
        return LowRankMap(0.75, draw(d, rank) / 4, draw(p, rank) / 4, draw(d))
    return DenseMap(np.eye(d, dtype=np.float32) + draw(d, d) / (4 * d), draw(d))


def condition_number(embeddings):
    """Condition of the centred second moments, over the directions that n rows can span."""
    n, d = embeddings.shape
    singular = np.linalg.svd(embeddings - embeddings.mean(0), compute_uv=False)[: min(n - 1, d)]
    return (singular[0] / singular[-1]) ** 2


def both_ways(base, lifted, columns, weights, source_map):
    """Return the score on moments, and by the full-determinant definition on the embeddings."""
    moments = Moments.of(base, lifted, columns, weights)
    features = moments.identity() if source_map is None else moments.mapped(source_map)
    score = logme_of_moments(features)
    mapped = base if source_map is None else source_map.apply(base, lifted)
    return score, logme(mapped, columns, variant="full", weights=weights)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(3, 90),
    d=st.integers(1, 40),
    p=st.integers(1, 50),
    num_columns=st.integers(1, 8),
    kind=st.sampled_from(["low rank", "dense", "none"]),
    balanced=st.booleans(),
    log_condition=st.floats(0, 3),
    log_offset=st.floats(-1, 3),
    learnable=st.booleans(),
)
def test_moments_equal_the_direct_computation(
    seed, n, d, p, num_columns, kind, balanced, log_condition, log_offset, learnable
):
    rng = np.random.default_rng(seed)
    base = conditioned(rng, n, d, 10**log_condition, 10**log_offset)
    lifted = conditioned(rng, n, p, 10**log_condition, 10**log_offset)
    signal = (base - base.mean(0)) @ rng.standard_normal((d, num_columns)) if learnable else 0
    columns = signal + rng.standard_normal((n, num_columns)) + rng.standard_normal(num_columns)
    weights = balance_weights(rng.integers(0, 3, n)) if balanced else None
    source_map = None if kind == "none" else draw_map(rng, kind, d, p)
    found, expected = both_ways(base, lifted, columns, weights, source_map)
    # Beyond a condition of a million, digits go in proportion.
    mapped = base if source_map is None else source_map.apply(base, lifted)
    lost = max(1.0, condition_number(mapped) / 1e6)
    assert found == pytest.approx(expected, abs=1e-9 * lost, rel=1e-9 * lost)


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
@pytest.mark.parametrize(("n", "d"), [(60, 90), (91, 90), (400, 60)])
@pytest.mark.parametrize("kind", ["low rank", "dense"])
def test_a_condition_of_a_million_keeps_nine_digits(n, d, offset, kind):
    """Condition of the second moments, the quantity that is decomposed."""
    rng = np.random.default_rng(n + d)
    base = conditioned(rng, n, d, 1e3, offset)
    lifted = conditioned(rng, n, 50, 1e3, offset)
    columns = label_columns(Problem.CLASSIFICATION, rng.integers(0, 4, n), 4)
    found, expected = both_ways(base, lifted, columns, None, draw_map(rng, kind, d, 50))
    assert found == pytest.approx(expected, abs=1e-9)


def test_repeated_examples_and_constant_features_do_no_harm():
    rng = np.random.default_rng(0)
    base = np.repeat(rng.standard_normal((15, 20)), 4, axis=0)
    base[:, 3] = 7
    columns = label_columns(Problem.CLASSIFICATION, np.arange(60) // 4 % 3, 3)
    found, expected = both_ways(base, None, columns, None, None)
    assert np.isfinite(found)
    # The labels are fitted exactly: what is left of them is rounding, and the floor of the noise.
    assert found == pytest.approx(expected, abs=1e-6)


def test_features_without_any_information_still_have_a_score():
    labels = np.arange(10.0)
    columns = label_columns(Problem.REGRESSION, labels, 1)
    found, expected = both_ways(np.zeros((10, 4)), None, columns, None, None)
    # The evidence of pure noise of variance 1: -(log 2 pi + 1) / 2.
    assert found == pytest.approx(-(np.log(2 * np.pi) + 1) / 2, abs=1e-5)
    assert found == pytest.approx(expected, abs=1e-9)


# ---------------------------------------------------------------------------- other oracles


def highest_density(features, labels):
    """The highest log density N(y; 0, F F^T / alpha + I / beta), by a search over both precisions.

    The floor of the noise is a prior of its precision. Beside it, the limit where the features
    count for nothing.
    """
    n, floor = len(features), 1e-9 * np.square(labels).sum()
    values, vectors = np.linalg.eigh(features @ features.T)
    squares, values = np.square(vectors.T @ labels), np.maximum(values, 0)

    def negative(logs):
        variances = np.exp(logs[0]) * values + np.exp(logs[1])
        density = (np.log(2 * np.pi * variances) + squares / variances).sum()
        return (density + floor * np.exp(-logs[1])) / (2 * n)

    starts = [(a, b) for a in range(-9, 8, 4) for b in range(-17, 4, 4)]
    found = [minimize(negative, at, method="Nelder-Mead", options=_TIGHT).fun for at in starts]
    return max(-min(found), -(np.log(2 * np.pi * np.square(labels).mean()) + 1) / 2)


_TIGHT = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}


@pytest.mark.parametrize(("n", "d"), [(50, 8), (20, 30), (40, 120)])
@pytest.mark.parametrize("signal", [0.0, 0.3, 3.0])
def test_it_is_the_gaussian_log_density_at_its_maximum(n, d, signal):
    rng = np.random.default_rng(n)
    features = rng.standard_normal((n, d)) + 0.5
    labels = signal * features @ rng.standard_normal(d) / np.sqrt(d) + rng.standard_normal(n)
    assert logme(features, labels) == pytest.approx(highest_density(features, labels), abs=1e-9)


def test_of_two_maxima_it_is_the_higher_one():
    """Labels along a strong and along a weak direction: two strengths of the prior explain one."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.standard_normal((60, 20)))[0]
    features = left * np.r_[1e4, np.ones(19)]
    slopes, grid = [], np.linspace(-12, 25, 400)
    for weak in (1.0, 2.0, 3.0, 4.0, 5.0):
        labels = left @ np.r_[30.0, weak * np.ones(19)] + 0.5 * rng.standard_normal(60)
        found = logme(features, labels)
        assert found == pytest.approx(highest_density(features, labels), abs=1e-6)
        slopes.append(np.diff(np.sign(np.diff(profile(features, labels, grid)))).min())
    assert min(slopes) < 0


def profile(features, labels, logs):
    """The evidence over log t, the noise precision at its best."""
    values, vectors = np.linalg.eigh(features @ features.T)
    squares = np.square(vectors.T @ labels)
    found = []
    for strength in np.exp(logs):
        variances = np.maximum(values, 0) / strength + 1
        level = (squares / variances).mean()
        found.append(-(np.log(2 * np.pi * level * variances).mean() + 1) / 2)
    return np.array(found)


def test_features_without_any_relation_count_for_nothing():
    """Where the direction of the features has no share in the labels, the limit is the maximum."""
    features = np.r_[np.ones(10), -np.ones(10)][:, None]
    labels = np.tile([1.0, -1.0], 10)
    expected = -(np.log(2 * np.pi) + 1) / 2  # of noise whose variance is 1
    assert logme(features, labels) == pytest.approx(expected, abs=1e-8)


def test_it_follows_how_well_a_linear_model_fits():
    rng = np.random.default_rng(3)
    labels = rng.standard_normal(200)
    scores, errors = [], []
    for noise in (0.1, 0.5, 1.0, 3.0):
        features = np.outer(labels, np.ones(6)) + noise * rng.standard_normal((200, 6))
        scores.append(logme(features, labels))
        errors.append(lstsq(features, labels)[1])
    assert sorted(scores, reverse=True) == scores
    assert sorted(errors) == errors


# ------------------------------------------------------------------------------ invariances


@pytest.fixture
def problem():
    rng = np.random.default_rng(5)
    features = rng.standard_normal((70, 90)) + 0.3
    labels = (features[:, :4] + rng.standard_normal((70, 4))).argmax(1)
    return features, labels


@pytest.mark.parametrize("variant", ["reference", "full"])
def test_rotation_and_label_names_do_not_matter(problem, variant):
    features, labels = problem
    score = logme(features, labels, variant=variant)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((90, 90)))[0]
    assert logme(features @ rotation, labels, variant=variant) == pytest.approx(score, abs=1e-10)
    renamed = np.array([7, 40, 2, 11])[labels]
    assert logme(features, renamed, variant=variant) == pytest.approx(score, abs=1e-10)


@pytest.mark.parametrize("scale", [0.8, 1.2, 2.0, 1e3])
def test_scale_matters_to_the_reference_only(problem, scale):
    features, labels = problem
    full = logme(features, labels)
    assert logme(scale * features, labels) == pytest.approx(full, abs=1e-9)
    reference = logme(features, labels, variant="reference")
    assert abs(logme(scale * features, labels, variant="reference") - reference) > 0.03


def test_the_reference_stops_short_of_the_maximum(problem):
    features, labels = problem
    narrow = features[:, :30]  # both determinants run over the same directions
    few, more = (
        logme(narrow, labels, variant="reference", max_updates=updates) for updates in (2, 1000)
    )
    assert few < more
    assert logme(narrow, labels) == pytest.approx(more, abs=1e-3)


def test_balanced_weights_change_the_score_as_repeating_examples_would(problem):
    features, _ = problem
    labels = (np.arange(70) < 14).astype(int)
    weights = balance_weights(labels)
    balanced = logme(features, labels, variant="full", weights=weights)
    assert balanced != pytest.approx(logme(features, labels, variant="full"), abs=1e-3)
    assert logme(features, labels, variant="full", weights=3 * weights) == pytest.approx(balanced)


def test_an_absent_class_does_not_matter(problem):
    features, labels = problem
    assert logme(features, labels * 2) == logme(features, labels)


def test_labels_may_be_booleans_and_features_float32(problem):
    features, labels = problem
    narrow = features.astype(np.float32)
    assert logme(narrow, labels == 1) == logme(narrow.astype(float), (labels == 1).astype(int))


# -------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("features", "labels", "error", "message"),
    [
        (
            np.ones((100, 3)),
            np.zeros(90, int),
            ShapeError,
            r"\(90,\), features of shape \(100, 3\)",
        ),
        (np.ones(4), np.zeros(4, int), ShapeError, r"features of shape \(4,\); expected \(n, d\)"),
        (np.full((4, 2), np.nan), np.arange(4), FitError, "features that are NaN or infinite"),
        (np.ones((4, 2)), np.array([0, 1, np.nan, 1]), TaskError, "labels that are NaN"),
        (np.ones((4, 2)), np.ones(4, int), TaskError, "one class only in 4 rows"),
        (np.ones((4, 2)), np.ones((4, 2), int), ShapeError, r"labels\.astype\(float\)"),
        (np.ones((4, 2)), np.array(list("abcd")), ShapeError, "expected integers or floats"),
    ],
)
def test_bad_input_is_named(features, labels, error, message):
    with pytest.raises(error, match=message):
        logme(features, labels)


def test_unknown_settings_are_named(problem):
    with pytest.raises(FitError, match="variant 'fast'; expected reference or full"):
        logme(*problem, variant="fast")
    with pytest.raises(FitError, match="max_updates 0; expected at least 1"):
        logme(*problem, max_updates=0)
