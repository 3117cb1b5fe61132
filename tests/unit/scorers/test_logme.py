"""LogME on moments equals LogME on the mapped embeddings, and has the invariances it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq
from scipy.stats import multivariate_normal

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
    assert found == pytest.approx(expected, abs=1e-8)


def test_features_without_any_information_still_have_a_score():
    labels = np.arange(10.0)
    columns = label_columns(Problem.REGRESSION, labels, 1)
    found, expected = both_ways(np.zeros((10, 4)), None, columns, None, None)
    # The evidence of pure noise of variance 1: -(log 2 pi + 1) / 2.
    assert found == pytest.approx(-(np.log(2 * np.pi) + 1) / 2, abs=1e-5)
    assert found == pytest.approx(expected, abs=1e-9)


# ---------------------------------------------------------------------------- other oracles


@pytest.mark.parametrize(("n", "d"), [(50, 8), (20, 30)])
def test_the_full_variant_is_the_gaussian_log_density_at_its_maximum(n, d):
    """The evidence is N(y; 0, F F^T / alpha + I / beta); iterated long, alpha and beta are best."""
    rng = np.random.default_rng(n)
    features = rng.standard_normal((n, d))
    labels = features @ rng.standard_normal(d) + rng.standard_normal(n)
    found = logme(features, labels, variant="full", max_updates=1000)
    grid = np.exp(np.linspace(-4, 4, 81))
    density = max(
        multivariate_normal(np.zeros(n), features @ features.T / alpha + np.eye(n) / beta).logpdf(
            labels
        )
        for alpha in grid[::4]
        for beta in grid[::4]
    )
    assert found >= density / n - 1e-4
    assert found == pytest.approx(density / n, abs=0.02)


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


@pytest.mark.parametrize("scale", [0.8, 1.2, 2.0])
def test_scale_matters_to_the_reference_only(problem, scale):
    features, labels = problem
    full = logme(features, labels, variant="full")
    assert logme(scale * features, labels, variant="full") == pytest.approx(full, abs=1e-3)
    reference = logme(features, labels)
    assert abs(logme(scale * features, labels) - reference) > 0.03


def test_the_variants_agree_where_no_direction_is_left_out(problem):
    features, labels = problem
    assert logme(features[:, :30], labels) == logme(features[:, :30], labels, variant="full")


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
