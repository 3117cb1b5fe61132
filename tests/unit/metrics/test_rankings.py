"""The closed forms against enumeration of all orders, and edge cases worked by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from esm.common.errors import RankingError
from esm.metrics.rankings import (
    dataset_of,
    is_own,
    measures,
    random_measures,
    sources_of,
    static_scores,
)
from esm.tasks.raw import to_id

KS = (1, 2, 3, 5)


# ------------------------------------------------------------------------------ slow oracle


def orders(scores):
    """Every order of the sources in which scores never rise."""
    by_score = {}
    for source, score in scores.items():
        by_score.setdefault(score, []).append(source)
    blocks = [by_score[score] for score in sorted(by_score, reverse=True)]
    for parts in itertools.product(*(itertools.permutations(block) for block in blocks)):
        yield [source for part in parts for source in part]


def judge_order(order, truth, own=None):
    """The measures of one order without ties, straight from their definitions."""
    best = max(truth.values())
    best_published = max(best, own) if own is not None else best
    judged = {}
    for k in KS:
        top = max(truth[source] for source in order[:k])
        judged[f"regret@{k}"] = 100 * (best - top) / best if best > 0 else None
        judged[f"regret_published@{k}"] = (
            100 * (best_published - top) / best_published if best_published > 0 else None
        )
    for name, gain in (("ndcg", lambda t: t), ("ndcg_exp", lambda t: 2 ** (100 * t) - 1)):
        found = sum(gain(truth[s]) / math.log2(i + 2) for i, s in enumerate(order))
        gains = sorted(map(gain, truth.values()), reverse=True)
        ideal = sum(g / math.log2(i + 2) for i, g in enumerate(gains))
        judged[name] = found / ideal if ideal > 0 else None
    values = [truth[source] for source in order]
    ranks = list(range(len(order), 0, -1))
    varied = len(set(values)) > 1
    judged["spearman"] = spearmanr(ranks, values).statistic if varied else None
    judged["kendall"] = kendalltau(ranks, values).statistic if varied else None
    return judged


def expectation(scores, truth, own=None):
    judged = [judge_order(order, truth, own) for order in orders(scores)]
    return {
        name: None if judged[0][name] is None else np.mean([one[name] for one in judged])
        for name in judged[0]
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@st.composite
def rankings(draw):
    """Few sources, few distinct numbers: many ties; some sources without a score."""
    size = draw(st.integers(1, 5))
    sources = [f"s{i}" for i in range(size)]
    value = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0])
    truth = {source: draw(value) for source in sources}
    ranked = draw(st.lists(st.sampled_from(sources), min_size=1, unique=True))
    scores = {source: draw(st.sampled_from([-2.0, 0.0, 7.5])) for source in ranked}
    own = draw(st.none() | value)
    return scores, truth, own


@settings(max_examples=60, deadline=None)
@given(rankings())
def test_measures_are_the_mean_over_all_orders_of_tied_scores(ranking):
    scores, truth, own = ranking
    rows = truth if own is None else truth | {"data": own}
    found = measures(scores, rows, KS, target="data/attribute")
    assert_equal(found, expectation(scores, truth, own))


@settings(max_examples=10, deadline=None)
@given(rankings())
def test_a_constant_scorer_is_worth_a_random_order(ranking):
    _, truth, _ = ranking
    constant = measures(dict.fromkeys(truth, 3.25), truth, KS)
    assert_equal(constant, expectation(dict.fromkeys(truth, 0.0), truth))
    assert_equal(random_measures(truth, KS), constant)


@settings(max_examples=30, deadline=None)
@given(rankings(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(ranking, shuffler):
    scores, truth, _ = ranking
    shuffled = list(truth.items())
    shuffler.shuffle(shuffled)
    assert measures(scores, truth, KS) == measures(scores, dict(shuffled), KS)


# ---------------------------------------------------------------------------- worked by hand


def test_regret_of_an_order_without_ties():
    truth = {"a": 0.5, "b": 0.8, "c": 0.4}
    found = measures({"a": 3, "c": 2, "b": 1}, truth, [1, 2, 3])
    assert found["regret@1"] == pytest.approx(37.5)  # (0.8 - 0.5) / 0.8
    assert found["regret@2"] == pytest.approx(37.5)  # a and c: still 0.5
    assert found["regret@3"] == 0


def test_regret_of_a_tie_that_crosses_k():
    # a is first; two of b, c, d follow. Pairs: bc -> 0.8, bd -> 0.8, cd -> 0.6 (a is 0.6).
    truth = {"a": 0.6, "b": 0.8, "c": 0.5, "d": 0.4}
    found = measures({"a": 2, "b": 1, "c": 1, "d": 1}, truth, [3])
    assert found["regret@3"] == pytest.approx(100 * (0.8 - (0.8 + 0.8 + 0.6) / 3) / 0.8)


def test_a_k_beyond_the_pool_takes_the_whole_pool():
    found = measures({"a": 1, "b": 2}, {"a": 0.9, "b": 0.3}, [5])
    assert found["regret@5"] == 0


def test_one_source():
    found = measures({"a": 1.0}, {"a": 0.5}, [1])
    assert found == {
        "regret@1": 0,
        "regret_published@1": 0,
        "ndcg": 1,
        "ndcg_exp": 1,
        "spearman": None,
        "kendall": None,
    }


def test_all_performances_equal():
    found = measures({"a": 2, "b": 1}, {"a": 0.5, "b": 0.5}, [1])
    assert found["regret@1"] == 0
    assert found["ndcg"] == pytest.approx(1)
    assert found["spearman"] is None
    assert found["kendall"] is None


@pytest.mark.parametrize("best", [0.0, -0.2])
def test_a_maximum_that_is_not_positive_leaves_regret_and_ndcg_undefined(best):
    found = measures({"a": 2, "b": 1}, {"a": best - 0.1, "b": best}, [1])
    assert found["regret@1"] is None
    assert found["regret_published@1"] is None
    assert found["ndcg"] is None
    assert found["ndcg_exp"] is None
    assert found["spearman"] == -1


def test_a_source_without_truth_is_left_out_and_takes_no_place():
    truth = {"a": 0.4, "b": 0.8}
    with_stranger = measures({"stranger": 9, "b": 2, "a": 1}, truth, [1])
    assert with_stranger == measures({"b": 2, "a": 1}, truth, [1])
    assert with_stranger["regret@1"] == 0


def test_a_source_without_score_is_never_picked_but_counts_in_the_maximum():
    found = measures({"a": 2, "b": 1}, {"a": 0.4, "b": 0.2, "unscored": 0.8}, [1, 5])
    assert found["regret@1"] == pytest.approx(50)
    assert found["regret@5"] == pytest.approx(50)
    discounted = 0.4 + 0.2 / math.log2(3)
    ideal = 0.8 + 0.4 / math.log2(3) + 0.2 / 2
    assert found["ndcg"] == pytest.approx(discounted / ideal)
    assert found["spearman"] == 1


def test_no_scored_source_leaves_everything_undefined():
    assert set(measures({"x": 1.0}, {"a": 0.4}, [1]).values()) == {None}
    assert set(measures({}, {}, [1]).values()) == {None}


def test_no_transfer_is_not_a_source():
    truth = {"none": 0.9, "a": 0.4, "b": 0.5}
    scores = {"none": 5.0, "b": 2.0, "a": 1.0}
    assert measures(scores, truth, [1])["regret@1"] == 0


def test_the_published_maximum_also_sees_the_targets_own_row():
    truth = {"own": 1.0, "a": 0.8, "b": 0.4}
    found = measures({"a": 2, "b": 3, "own": 9}, truth, [1], target="own/attribute")
    assert found["regret@1"] == pytest.approx(50)  # (0.8 - 0.4) / 0.8
    assert found["regret_published@1"] == pytest.approx(60)  # (1.0 - 0.4) / 1.0


def test_a_worse_own_row_changes_nothing():
    found = measures({"a": 2, "b": 3}, {"own": 0.1, "a": 0.8, "b": 0.4}, [1], target="own")
    assert found["regret_published@1"] == found["regret@1"]


def test_ndcg_of_two_sources_in_the_wrong_order():
    found = measures({"a": 2, "b": 1}, {"a": 0.01, "b": 0.02}, [1])
    second = 1 / math.log2(3)
    assert found["ndcg"] == pytest.approx((0.01 + 0.02 * second) / (0.02 + 0.01 * second))
    assert found["ndcg_exp"] == pytest.approx((1 + 3 * second) / (3 + 1 * second))


def test_rank_correlations_with_ties_on_both_sides():
    # Scores: a, then b and c tied. Truth: a and b tied, then c. Of the two orders, abc agrees
    # with both untied pairs and acb with one of them only.
    found = measures({"a": 2, "b": 1, "c": 1}, {"a": 0.5, "b": 0.5, "c": 0.1}, [1])
    orders_mean = np.mean([spearmanr([3, 2, 1], [2, 2, 1])[0], spearmanr([3, 1, 2], [2, 2, 1])[0]])
    assert found["spearman"] == pytest.approx(orders_mean)
    assert found["kendall"] == pytest.approx((2 / math.sqrt(6) + 0 / math.sqrt(6)) / 2)


def test_many_tied_sources_are_cheap_and_exact():
    truth = {f"s{i}": (i + 1) / 1500 for i in range(1500)}
    found = random_measures(truth, [3])
    # The expected maximum of k draws without replacement from 1..n is k (n + 1) / (k + 1).
    assert found["regret@3"] == pytest.approx(100 * (1500 - 3 * 1501 / 4) / 1500)
    assert found["spearman"] == pytest.approx(0, abs=1e-12)


def test_numbers_that_cannot_be_used_are_refused():
    with pytest.raises(RankingError, match=r"source a has score nan; expected a finite number"):
        measures({"a": math.nan}, {"a": 0.5})
    with pytest.raises(RankingError, match=r"performance 83\.2; expected a fraction.*by 100"):
        measures({"a": 1.0}, {"a": 83.2})
    with pytest.raises(RankingError, match=r"performance nan"):
        measures({"a": 1.0}, {"a": math.nan})
    with pytest.raises(RankingError, match=r"cut-offs \[0, 3\]; expected one or more positive"):
        measures({"a": 1.0}, {"a": 0.5}, [0, 3])


# ------------------------------------------------------------------------------ static, ids


def test_static_scores_use_other_datasets_where_there_are_any():
    truth = {
        "d/x": {"a": 0.1, "b": 0.2},
        "d/y": {"a": 0.9, "b": 0.0},
        "e/z": {"a": 0.4, "b": 0.6, "none": 0.9},
        "f": {"a": 0.6, "f": 1.0},
    }
    assert static_scores(truth, "d/x") == {"a": 0.5, "b": 0.6}


def test_static_scores_fall_back_on_the_other_attributes():
    truth = {"d/x": {"a": 0.1}, "d/y": {"a": 0.9, "b": 0.2}, "d/z": {"a": 0.5}}
    assert static_scores(truth, "d/x") == {"a": 0.7, "b": 0.2}


def test_static_scores_of_a_single_target_are_empty():
    assert static_scores({"d/x": {"a": 0.1}}, "d/x") == {}


def test_ids():
    assert dataset_of("owner/name/attribute") == "owner/name"
    assert is_own("d", "d/x")
    assert is_own("d/x", "d/x")
    assert not is_own("d/y", "d/x")
    assert sources_of({"none": 0.1, "d": 0.2, "b": 0.3, "a": 0.4}, "d/x") == ["a", "b"]


@given(st.text())
def test_the_slug_of_an_attribute_never_moves_the_border(name):
    slug = to_id(name)
    assert "/" not in slug
    assert dataset_of(f"owner/name/{slug}") == "owner/name"
