"""The verdict on selectors, by figures that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.matrix import clustered, complete, mean_truth, run_noise, source_spread
from benchmarks.quality import judge, perfect, verdict, with_cascade


def runs(cells, strategy="full"):
    """Return runs from {(target, source): values by seed}."""
    return pd.DataFrame(
        [
            {
                "strategy": strategy,
                "target": target,
                "source": source,
                "seed": seed,
                "source_seed": None if source == "none" else 0,
                "value": value,
            }
            for (target, source), values in cells.items()
            for seed, value in enumerate(values)
        ]
    )


def test_the_error_of_independent_targets_is_the_usual_one():
    found = clustered({"a": 1.0, "b": 3.0})
    assert (found.mean, found.error) == (2.0, pytest.approx(1.0))  # sqrt(2) / sqrt(2)


def test_attributes_of_one_dataset_count_as_one_observation():
    alone = clustered({"a": 1.0, "b": 3.0})
    doubled = clustered({"a/x": 1.0, "a/y": 1.0, "b/x": 3.0, "b/y": 3.0})
    assert doubled.error == pytest.approx(alone.error)


def test_one_dataset_has_no_error():
    assert math.isnan(clustered({"a/x": 1.0, "a/y": 2.0}).error)


def test_noise_and_spread_are_taken_apart():
    table = runs({("t", "a"): [0.5, 0.7], ("t", "b"): [0.8, 1.0], ("t", "none"): [0.0, 0.9]})
    assert run_noise(table)["t"] == pytest.approx(math.sqrt(0.02))
    # Means 0.6 and 0.9: variance 0.045, of which 0.02 / 2 is noise.
    assert source_spread(table)["t"] == pytest.approx(math.sqrt(0.035))


def test_without_noise_a_perfect_selector_has_no_regret():
    table = runs(
        {("t", name): [value] * 2 for name, value in zip("abc", [0.2, 0.5, 0.9], strict=True)}
    )
    assert perfect(table, draws=10)["t"] == {"regret@1": 0.0, "regret@3": 0.0, "regret@5": 0.0}


def test_with_nothing_but_noise_a_perfect_selector_is_a_random_one():
    rng = np.random.default_rng(3)
    cells = {("t", f"s{i:02}"): (0.5 + 0.1 * rng.standard_normal(2)).tolist() for i in range(20)}
    table = runs(cells)
    assert source_spread(table)["t"] == 0.0  # this seed's means spread less than the noise
    # The best of 20 draws of N(0, s) lies 1.867 s above their mean, in expectation.
    noise = run_noise(table)["t"] / math.sqrt(2)
    centre = np.mean(list(mean_truth(table)["t"].values()))
    expected = 100 * 1.867 * noise / (centre + 1.867 * noise)
    assert perfect(table)["t"]["regret@1"] == pytest.approx(expected, rel=0.1)


def test_a_selector_is_judged_on_all_sources_that_any_selector_scored():
    truth = {"t": {"a": 0.8, "b": 0.4, "c": 1.0, "none": 0.9}}
    scores = pd.DataFrame(
        [
            {"target": "t", "selector": "good", "source": "a", "score": 2.0},
            {"target": "t", "selector": "good", "source": "b", "score": 1.0},
            {"target": "t", "selector": "other", "source": "b", "score": 1.0},
        ]
    )
    judged = judge(truth, scores).set_index("selector")
    assert judged.loc["good", "regret@1"] == 0.0  # c was scored by nobody
    assert judged.loc["other", "regret@1"] == pytest.approx(50.0)
    assert judged.loc["random", "regret@1"] == pytest.approx(25.0)


def test_the_verdict_pairs_selectors_over_targets():
    cells = {}
    for target, best in (("t", "a"), ("u", "b")):
        for source in "abcdef":
            cells[target, source] = [1.0 if source == best else 0.5] * 2
    scores = pd.DataFrame(
        [
            {"target": t, "selector": "oracle", "source": s, "score": v[0]}
            for (t, s), v in cells.items()
        ]
    )
    costs = pd.DataFrame([{"selector": "oracle", "seconds": 2.0, "bytes": 10}])
    table = verdict(runs(cells), scores, costs).set_index("selector")
    assert table.loc["oracle", "regret@1"] == 0.0
    assert table.loc["oracle", "@1 - random"] == pytest.approx(-50 * 5 / 6)
    assert table.loc["static", "regret@1"] == pytest.approx(50.0)  # the other target's best
    assert table.loc["oracle", "seconds"] == 2.0


def test_cells_that_lack_a_seed_and_small_targets_are_left_out():
    cells = {("t", name): [0.5, 0.6] for name in "abcdef"}
    cells["t", "g"] = [0.5]
    cells["small", "a"] = [0.5, 0.6]
    kept = complete(runs(cells))
    assert set(kept.target) == {"t"}
    assert set(kept.source) == set("abcdef")


def test_a_cascade_takes_the_maps_first_ten_in_the_order_of_the_tuned_models():
    names = [f"s{place:02}" for place in range(12)]
    said = pd.DataFrame(
        [
            {"target": "t", "selector": name, "source": source, "score": score, "gain": score}
            for place, source in enumerate(names)
            for name, score in (("logme", -place), ("tuned-logme", place))
        ]
    )
    costs = pd.DataFrame(
        [
            {"target": "t", "selector": "logme", "seconds": 3.0, "bytes": 50},
            {"target": "t", "selector": "tuned-logme", "seconds": 120.0, "bytes": 900},
        ]
    )
    scores, paid = with_cascade(said, costs)
    cascade = scores[scores.selector == "cascade"].sort_values("score", ascending=False)
    assert list(cascade.source) == [*names[9::-1], "s10", "s11"]
    (row,) = paid[paid.selector == "cascade"].to_dict("records")
    assert row["seconds"] == pytest.approx(3 + 120 * 10 / 12)
    assert row["bytes"] == 950
