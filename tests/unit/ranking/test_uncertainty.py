"""The bootstrap: known intervals, probabilities that add up, groups, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from esm.common.errors import ShapeError
from esm.ranking.intervals import bootstrap_gains, centred


def shares(n=400, m=6, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, m)) * spread + np.linspace(1, 0, m)


@pytest.mark.parametrize("n", [8, 400])
def test_the_interval_of_a_mean_is_students(n):
    rows = np.random.default_rng(3).standard_normal((n, 1))
    found = bootstrap_gains(rows, rows.mean(axis=0), draws=40_000)
    half = t(n - 1).ppf(0.95) * rows.std(ddof=1) / np.sqrt(n)
    assert (found.high - found.low)[0] / 2 == pytest.approx(half, rel=0.06 if n < 10 else 0.03)
    assert found.low[0] < rows.mean() < found.high[0]


def test_the_interval_is_centred_at_the_gain_and_not_at_the_mean_share():
    rows = shares()
    gains = rows.mean(axis=0) + 5
    found = bootstrap_gains(rows, gains, draws=4000)
    np.testing.assert_allclose((found.low + found.high) / 2, gains, atol=0.02)


def test_between_classes_of_fixed_weight_nothing_varies():
    classes = np.repeat([0, 1], 20)
    rows = np.where(classes == 0, 3.0, -3.0)[:, None]
    free = bootstrap_gains(rows, np.zeros(1), draws=500)
    fixed = bootstrap_gains(rows, np.zeros(1), draws=500, strata=classes)
    assert free.high[0] > 0.5
    assert fixed.high[0] == fixed.low[0] == 0


@pytest.mark.parametrize("top_k", [1, 3, 6, 9])
def test_probabilities_sum_to_the_number_of_places(top_k):
    rows = shares()
    rows[:, 3] = rows[:, 2]  # a tie in every draw
    gains = rows.mean(axis=0)
    found = bootstrap_gains(rows, gains, draws=300, top_k=top_k)
    assert found.top_probability.sum() == pytest.approx(min(top_k, 6))
    assert found.top_probability[2] == pytest.approx(found.top_probability[3])
    assert ((found.top_probability >= 0) & (found.top_probability <= 1)).all()


def test_groups_part_where_paired_differences_leave_out_zero():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((100, 1)) * 20  # the same for all sources: cancels in pairs
    rows = common + rng.standard_normal((100, 4)) * 0.1
    gains = np.array([1.0, 0.999, 0.5, 0.499])
    found = bootstrap_gains(rows, gains, draws=500)
    assert found.group.tolist() == [1, 1, 2, 2]
    assert (found.low < 0).all()  # though every interval by itself covers all of them
    alone = bootstrap_gains(rng.standard_normal((100, 4)) * 20, gains, draws=500)
    assert alone.group.tolist() == [1, 1, 1, 1]


def test_the_order_of_the_sources_and_the_seed():
    rows = shares()
    gains = rows.mean(axis=0)
    order = np.array([4, 0, 5, 2, 1, 3])
    first = bootstrap_gains(rows, gains, draws=200, seed=7)
    again = bootstrap_gains(rows[:, order], gains[order], draws=200, seed=7)
    np.testing.assert_allclose(first.low[order], again.low, rtol=1e-12)
    np.testing.assert_allclose(first.top_probability[order], again.top_probability)
    assert (first.group[order] == again.group).all()
    assert (bootstrap_gains(rows, gains, draws=200, seed=8).low != first.low).all()


def test_centring_takes_each_stratums_mean():
    found = centred(np.array([[1.0], [3.0], [10.0]]), np.array([0, 0, 1]), unbiased=True)
    np.testing.assert_allclose(found[:, 0], [-np.sqrt(2), np.sqrt(2), 0])


def test_shapes_have_to_fit():
    with pytest.raises(ShapeError, match="two examples"):
        bootstrap_gains(np.ones((1, 2)), np.ones(2), draws=100)
    with pytest.raises(ShapeError, match="strata"):
        bootstrap_gains(np.ones((4, 2)), np.ones(2), draws=100, strata=np.zeros(3))
