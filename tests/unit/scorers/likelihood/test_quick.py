"""Estimates of evidences against the exact ones, and where they have to give way to these."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from esm.maps.forms import LowRankMap
from esm.scorers.likelihood.engine import Engine
from esm.scorers.likelihood.quick import QuickEngine
from esm.scorers.logme import evidences_of_moments
from tests.likelihood_cases import draw_case, draw_dense, draw_low_rank


def engine_of(seed, n, columns, **more):
    moments = draw_case(seed, n, 24, 30, columns, **more).moments
    return Engine(moments, evidences_of_moments)


@pytest.mark.parametrize("n", [40, 200])
@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_are_close_to_the_evidences(n, columns, weighted):
    engine = engine_of(n, n, columns, weighted=weighted)
    rng = np.random.default_rng(1)
    maps = [draw_low_rank(rng, 24, 30, 4) for _ in range(120)]
    exact = engine.evidences(maps).mean(axis=1)
    found = QuickEngine(engine).evidences(maps).mean(axis=1)
    assert np.abs(found - exact).max() < 0.01 * exact.std()


def test_the_order_is_that_of_the_exact_evidences():
    engine = engine_of(5, 200, 3)
    rng = np.random.default_rng(1)
    maps = [draw_low_rank(rng, 24, 30, 4) for _ in range(120)]
    exact, found = engine.evidences(maps).mean(axis=1), QuickEngine(engine).evidences(maps)
    assert spearmanr(exact, found.mean(axis=1)).statistic > 0.999


def test_fewer_examples_than_dimensions():
    engine, rng = engine_of(16, 16, 1), np.random.default_rng(1)
    maps = [draw_low_rank(rng, 24, 30, 4) for _ in range(120)]
    exact, found = engine.evidences(maps)[:, 0], QuickEngine(engine).evidences(maps)[:, 0]
    assert spearmanr(exact, found).statistic > 0.99


def test_maps_come_back_in_the_order_given():
    engine, rng = engine_of(0, 60, 2), np.random.default_rng(2)
    maps = [draw_low_rank(rng, 24, 30, rank) for rank in (2, 3, 2, 3, 2)]
    found, exact = QuickEngine(engine).evidences(maps), engine.evidences(maps)
    np.testing.assert_allclose(found, exact, atol=0.05)
    assert np.abs(np.diff(exact, axis=0)).min() > 0


def test_what_cannot_be_estimated_is_computed():
    engine, rng = engine_of(0, 60, 2), np.random.default_rng(3)
    dense = [draw_dense(rng, 24)]
    np.testing.assert_array_equal(QuickEngine(engine).evidences(dense), engine.evidences(dense))
    # Twice the same direction: its system of float32 numbers has no factor.
    one = draw_low_rank(rng, 24, 30, 1)
    doubled = LowRankMap(one.scale, np.tile(one.left, 2), np.tile(one.right, 2), one.bias)
    usual = [draw_low_rank(rng, 24, 30, 2) for _ in range(8)]
    found = QuickEngine(engine).evidences([*usual, doubled])[-1]
    np.testing.assert_allclose(found, engine.evidences([doubled])[0], atol=0.01)
