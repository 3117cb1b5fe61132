"""One ranking over all attributes: worked by hand, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from esm.ranking.aggregate import aggregate_rankings
from esm.ranking.result import AttributeRanking
from tests.small_world import ranked


def attribute(gains: dict[str, float]) -> AttributeRanking:
    """A ranking by gain."""
    order = sorted(gains, key=lambda source: -gains[source])
    found = ranked(order)
    lines = tuple(line.model_copy(update={"gain": gains[line.source]}) for line in found.ranking)
    return found.model_copy(update={"ranking": lines})


def test_sources_are_ordered_by_their_mean_rank():
    found = aggregate_rankings(
        {
            "harmful": attribute({"a": 0.9, "b": 0.2, "c": 0.1}),
            "topic": attribute({"b": 0.04, "c": 0.03, "a": 0.02}),
        }
    )
    # Ranks: a 1 and 3, b 2 and 1, c 3 and 2. The gain of a on harmful does not decide alone.
    assert [(line.rank, line.source, line.mean_rank) for line in found] == [
        (1, "b", 1.5),
        (2, "a", 2.0),
        (3, "c", 2.5),
    ]
    best = found[0]
    assert (best.best_rank, best.worst_rank, best.missing) == (1, 2, ())
    assert best.mean_gain == pytest.approx(0.12)


def test_equal_mean_ranks_go_by_mean_gain_then_by_id():
    one = attribute({"a": 0.3, "b": 0.2, "d": 0.1, "c": 0.0})
    other = attribute({"b": 0.5, "a": 0.1, "c": 0.0, "d": -0.1})
    found = aggregate_rankings({"one": one, "other": other})
    # a and b: mean rank 1.5, mean gains 0.2 and 0.35; c and d: 3.5, gains 0 and 0.
    assert [line.source for line in found] == ["b", "a", "c", "d"]


def test_a_source_that_is_missing_gets_the_last_place_and_is_marked():
    found = aggregate_rankings(
        {
            "harmful": attribute({"a": 0.2, "b": 0.1, "c": 0.05}),
            "topic": attribute({"b": 0.2, "c": 0.1}),
        }
    )
    by_source = {line.source: line for line in found}
    # a is first of three, and third of three where it is missing.
    assert by_source["a"].mean_rank == 2.0
    assert by_source["a"].missing == ("topic",)
    assert (by_source["a"].best_rank, by_source["a"].worst_rank) == (1, 3)
    assert by_source["a"].mean_gain == pytest.approx(0.2)
    assert [line.source for line in found] == ["b", "a", "c"]


def test_against_scipy_ranks():
    rng = np.random.default_rng(0)
    sources = [f"s{i}" for i in range(12)]
    gains = rng.normal(size=(5, 12))
    found = aggregate_rankings(
        {
            str(i): attribute(dict(zip(sources, row.tolist(), strict=True)))
            for i, row in enumerate(gains)
        }
    )
    means = dict(zip(sources, rankdata(-gains, axis=1).mean(axis=0), strict=True))
    assert {line.source: line.mean_rank for line in found} == pytest.approx(means)
    assert [line.mean_rank for line in found] == sorted(means.values())


def test_one_attribute_is_its_own_aggregate():
    found = aggregate_rankings({"topic": ranked(["c", "a", "b"])})
    assert [line.source for line in found] == ["c", "a", "b"]
