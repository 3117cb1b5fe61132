"""Forecasts: sums that can be done by hand, and a fit that recovers what made the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.fit_forecast import Cells, fit, forecast, gather, left_out, within
from esm.scorers.forecast import Forecast, Term, packaged_forecast

BY_HAND = Forecast(
    terms=(
        Term(feature="logme", weight=20.0, centre=0.1),
        Term(feature="textemb", weight=-5.0, centre=0.5),
    ),
    level=-1.0,
    spread=2.0,
    metric="macro_f1",
    base_model="offline",
    strategies=("full",),
    targets=3,
    datasets=2,
    sources=4,
)


def test_an_expected_gain_is_the_level_and_what_each_feature_adds():
    features = {"logme": 0.2, "textemb": 0.9, "size": 3.0}
    assert BY_HAND.contributions(features) == pytest.approx({"logme": 2.0, "textemb": -2.0})
    expected = BY_HAND.expect(features)
    assert expected.gain == pytest.approx(-1.0)
    # 1.645 standard deviations to either side hold 90 % of a normal distribution.
    assert (expected.low, expected.high) == pytest.approx((-4.29, 2.29), abs=0.005)


def test_a_missing_feature_is_no_zero():
    with pytest.raises(KeyError, match="textemb"):
        BY_HAND.expect({"logme": 0.2})


def test_there_is_no_forecast_for_a_scorer_that_none_was_fitted_for():
    assert packaged_forecast("nobody") is None


def test_forecasts_are_read_back_as_they_were_written():
    assert Forecast.model_validate_json(BY_HAND.model_dump_json()) == BY_HAND


def cells(noise=0.0, datasets=4, sources=12, seed=0):
    """Gains of 3 points per unit of a, none of b, on targets of different levels."""
    rng = np.random.default_rng(seed)
    keys = [(f"d{d}/x", f"s{s}") for d in range(datasets) for s in range(sources)]
    level = np.repeat(rng.standard_normal(datasets) * 10, sources)
    features = rng.standard_normal((len(keys), 2)) + level[:, None]
    gains = 3 * (features[:, 0] - level) + level / 10 + noise * rng.standard_normal(len(keys))
    return Cells(keys, ("a", "b"), features, gains)


def test_slopes_are_those_within_targets():
    # Over all targets together the slope of a would be near 0.1: their levels differ far more.
    weights, _, _ = fit(cells(), penalty=1e-9)
    assert weights == pytest.approx([3.0, 0.0], abs=1e-6)


def test_the_level_is_the_gain_at_the_centre():
    made = cells()
    weights, centre, level = fit(made, penalty=1e-9)
    by_target = [made.gains[made.targets == t].mean() for t in np.unique(made.targets)]
    assert level == pytest.approx(np.mean(by_target))
    assert centre == pytest.approx(made.features.mean(axis=0))
    assert weights.shape == centre.shape


def test_a_dataset_is_forecast_by_the_others_alone():
    made = cells(noise=1.0)
    expected = left_out(made)
    changed = Cells(made.keys, made.names, made.features, made.gains.copy())
    first = made.datasets == "d0"
    changed.gains[first] += 100 * np.arange(first.sum())
    assert left_out(changed)[first] == pytest.approx(expected[first])
    assert left_out(changed)[~first] != pytest.approx(expected[~first])


def test_within_takes_off_the_mean_of_each_group():
    found = within(np.array([1.0, 3.0, 10.0]), np.array(["a", "a", "b"]))
    assert found.tolist() == [-1.0, 1.0, 0.0]


def test_gains_are_measured_against_no_transfer_and_averaged_over_strategies():
    runs = pd.DataFrame(
        [
            ("full", "t", "none", 0.5),
            ("full", "t", "s", 0.6),
            ("full", "t", "s", 0.8),
            ("houlsby", "t", "none", 0.4),
            ("houlsby", "t", "s", 0.3),
            ("full", "t", "unscored", 0.9),
        ],
        columns=["strategy", "target", "source", "value"],
    ).assign(seed=0, metric="macro_f1")
    scores = pd.DataFrame(
        [("logme", "t", "s", -0.5, 0.1), ("size", "t", "s", 7.0, np.nan)],
        columns=["selector", "target", "source", "score", "gain"],
    )
    made = gather(runs, scores, ["logme", "size"])
    assert made.keys == [("t", "s")]
    assert made.features.tolist() == [[0.1, 7.0]]
    assert made.gains == pytest.approx([(20 - 10) / 2])


def test_a_fitted_forecast_says_what_it_rests_on():
    made = cells(noise=1.0)
    runs = pd.DataFrame({"strategy": ["full", "houlsby"], "metric": ["macro_f1", "macro_f1"]})
    found = forecast(made, runs, "offline")
    assert (found.targets, found.datasets, found.sources) == (4, 4, 12)
    assert found.strategies == ("full", "houlsby")
    residual = made.gains - left_out(made)
    assert found.spread == pytest.approx(np.sqrt((residual**2).mean()), abs=1e-4)
