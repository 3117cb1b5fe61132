"""A set of sources that together promise most: against all sets, and by what holds of copies."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from esm.common.errors import SettingError, ShapeError
from esm.maps.forms import LowRankMap
from esm.pool.pool import Pool
from esm.ranking.diverse import (
    RELIABILITY,
    check_diverse,
    choose,
    diverse_set,
    draw_outcomes,
    kernel_alignment,
)
from esm.report.ranking import ranking_tables
from esm.report.table import plain
from esm.scorers.base import EmbeddingKind
from esm.scorers.registry import ScorerName
from tests.evidence import record_of, source_of, target_of
from tests.unit.ranking.test_rank_scorers import ranked, world

__all__ = ["world"]  # a fixture


def alignment_of(rng, count, width=6):
    return kernel_alignment([rng.standard_normal((20, width)) for _ in range(count)])


def test_alignment_is_that_of_its_definition_and_ignores_rotation_shift_and_scale():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((15, 4)), rng.standard_normal((15, 3))
    centre = np.eye(15) - 1 / 15
    first, second = centre @ one @ one.T @ centre, centre @ other @ other.T @ centre
    expected = np.trace(first @ second) / np.sqrt(
        np.trace(first @ first) * np.trace(second @ second)
    )
    turned = 3 * one @ np.linalg.qr(rng.standard_normal((4, 4)))[0] + 7
    found = kernel_alignment([one, other, turned])
    assert found[0, 1] == pytest.approx(expected)
    assert found[0, 2] == pytest.approx(1)


def test_the_expected_maximum_of_two_is_clarks():
    """Clark 1961: E max = a Phi(u) + b Phi(-u) + theta phi(u), theta² the difference's variance."""
    correlation = 0.4
    scores = np.array([1.0, -1.0])  # standardised already
    choice = choose(scores, np.array([[1, correlation], [correlation, 1]]), 2, reliability=0.6)
    theta = np.sqrt(2 * (1 - 0.36) * (1 - correlation))
    gap = 1.2 / theta
    expected = 0.6 * stats.norm.cdf(gap) - 0.6 * stats.norm.cdf(-gap) + theta * stats.norm.pdf(gap)
    assert sum(choice.adds) == pytest.approx(expected, abs=0.02)
    assert choice.adds[0] == pytest.approx(0.6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_greedy_choice_is_near_the_best_of_all_sets(seed, count):
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.standard_normal(8))[::-1]
    alignment = alignment_of(rng, 8)
    outcomes = draw_outcomes(scores, alignment, RELIABILITY)
    worth = {
        chosen: outcomes[:, chosen].max(axis=1).mean() for chosen in combinations(range(8), count)
    }
    choice = choose(scores, alignment, count)
    reached = worth[tuple(sorted(choice.numbers))]
    assert sum(choice.adds) == pytest.approx(reached)
    # The bound is for the best extension of the first pick; the best of all sets is a harder test.
    assert reached - choice.adds[0] >= (1 - 1 / np.e) * (max(worth.values()) - choice.adds[0])


def test_a_copy_adds_nothing_and_comes_after_every_different_source():
    rng = np.random.default_rng(1)
    several = [rng.standard_normal((30, 5)) for _ in range(4)]
    alignment = kernel_alignment([several[0], several[0], several[1], several[2], several[3]])
    choice = choose(np.array([1.0, 1.0, 0.9, 0.8, 0.7]), alignment, 5)
    assert choice.numbers[0] == 0
    assert choice.numbers[-1] == 1
    assert choice.adds[-1] == pytest.approx(0, abs=1e-6)


def test_where_sources_are_wrong_independently_the_best_ranked_are_picked():
    scores = np.array([2.0, 1.0, 0.0, -1.0, -2.0])
    assert choose(scores, np.eye(5), 3).numbers == (0, 1, 2)


def test_equal_scores_are_no_obstacle():
    assert len(choose(np.zeros(3), np.eye(3), 5).numbers) == 3


def test_shapes_have_to_fit():
    with pytest.raises(ShapeError):
        choose(np.zeros(3), np.eye(4), 2)


def sources_and_target():
    rng = np.random.default_rng(2)
    base = rng.standard_normal((40, 6)).astype(np.float32)
    lifted = rng.standard_normal((40, 6)).astype(np.float32)
    target = target_of(rng.integers(0, 2, 40), base, lifted=lifted)

    def drawn():
        left, right = rng.standard_normal((2, 6, 2)).astype(np.float32)
        return LowRankMap(0.1, left, right, np.zeros(6, np.float32))

    first, second, third = drawn(), drawn(), drawn()
    maps = {"a": first, "copy-of-a": first, "b": second, "c": third}
    return [source_of(record_of(name), map=one) for name, one in maps.items()], target


def test_a_copy_is_passed_over_and_named_with_what_it_copies():
    sources, target = sources_and_target()
    found = diverse_set(sources, np.array([4.0, 3.9, 3.8, 3.7]), [target], EmbeddingKind.MAPPED, 3)
    assert found.picks[0].source == "a"
    assert {pick.source for pick in found.picks} == {"a", "b", "c"}
    (passed,) = found.passed_over
    assert (passed.source, passed.likest) == ("copy-of-a", "a")
    assert passed.likeness == pytest.approx(1)
    assert found.picks[0].likest is None
    assert found.picks[1].likest == "a"


def test_scorers_that_look_at_no_embeddings_are_refused():
    check_diverse(0, None, "size")
    check_diverse(3, EmbeddingKind.TUNED, "hscore")
    with pytest.raises(SettingError, match="looks at no embeddings"):
        check_diverse(3, None, "size")


class Backwards(Pool):
    """The same pool, read from its end."""

    def entries(self, **settings):
        found, skipped = super().entries(**settings)
        return found[::-1], skipped


@pytest.mark.slow
def test_a_ranking_holds_the_set_whatever_the_pools_order(world):
    pool = Pool.open(world[0])
    turned = Backwards(pool.folder, pool.manifest)
    one, other = (ranked(world, ScorerName.LOGME, each, diverse=2) for each in (pool, turned))
    assert one.attributes == other.attributes
    plainly = ranked(world, ScorerName.LOGME)
    for name, found in one.attributes.items():
        assert found.ranking == plainly.attributes[name].ranking
        assert plainly.attributes[name].diverse is None
        assert found.diverse is not None
        assert len(found.diverse.picks) == 2
        assert found.diverse.picks[0].source == found.order[0]
    text = "\n".join(map(plain, ranking_tables(one)))
    assert "a set that together promises most" in text
    assert type(one).model_validate(one.as_dict()) == one
