"""The scores of a pool at once are those that LogME gives source after source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from esm.common.errors import MapError
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.scorers.base import Evidence, Source, TargetAttribute
from esm.scorers.logme import LogME
from esm.scorers.logme_pool import PoolLogME
from esm.scorers.registry import ScorerName, make_scorer
from tests.likelihood_cases import draw_case, draw_dense, draw_low_rank
from tests.toy_tasks import toy_task


@dataclass
class Entry:
    """An entry of a pool, as far as a scorer of maps reads it."""

    id: str
    kept: EmbeddingSpaceMap | None
    packed: None = None

    def load_map(self, form):
        if self.kept is None:
            raise MapError("a damaged map")
        return self.kept


@dataclass
class Texts:
    base: np.ndarray
    lifted: np.ndarray


def target(n, weighted):
    task = toy_task(num_train=n)
    case = draw_case(n, n, 10, 14, 3, weighted=weighted)
    texts = Texts(case.base.astype(np.float32), case.lifted.astype(np.float32))
    return TargetAttribute(task, task.train, np.arange(n), texts, case.weights)


def sources(maps, form=MapForm.ANCHORED):
    return [Source(Entry(f"s{number}", one), form, None) for number, one in enumerate(maps)]


def scores(attribute, offered):
    found = PoolLogME().score_all([attribute], offered)
    return {name: one.item() for name, one in found.items()}


@pytest.mark.parametrize("n", [8, 40])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", list(MapForm))
def test_scores_equal_those_of_source_after_source(n, weighted, form):
    attribute, rng = target(n, weighted), np.random.default_rng(0)
    anchored = form is MapForm.ANCHORED
    maps = [draw_low_rank(rng, 10, 14, 2) if anchored else draw_dense(rng, 10) for _ in range(5)]
    found = scores(attribute, sources(maps, form))
    expected = {
        source.id: LogME().score(Evidence(attribute, source)) for source in sources(maps, form)
    }
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_source_whose_map_cannot_be_read_has_a_reason_for_a_score():
    rng = np.random.default_rng(0)
    one, other = draw_low_rank(rng, 10, 14, 2), draw_low_rank(rng, 10, 14, 2)
    found = PoolLogME().score_all([target(20, False)] * 2, sources([one, None, other]))
    assert [found[name].shape for name in ("s0", "s2")] == [(2,), (2,)]
    assert isinstance(found["s1"], MapError)


def test_a_score_does_not_depend_on_the_company():
    attribute, rng = target(20, False), np.random.default_rng(0)
    offered = sources([draw_low_rank(rng, 10, 14, 1 + number % 3) for number in range(7)])
    together = scores(attribute, offered)
    assert scores(attribute, offered[::-1]) == together
    for source in offered:
        assert scores(attribute, [source]) == {source.id: together[source.id]}


def test_estimates_are_near():
    attribute, rng = target(40, False), np.random.default_rng(4)
    maps = [draw_low_rank(rng, 10, 14, 2) for _ in range(30)]
    exact = np.array(list(scores(attribute, sources(maps)).values()))
    found = PoolLogME().estimate_all(attribute, maps)
    assert found.shape == (30,)
    assert np.abs(found - exact).max() < 0.05 * exact.std()


def test_rankings_score_the_pool_at_once():
    scorer = make_scorer(ScorerName.LOGME)
    assert scorer.can_estimate
    assert scorer == PoolLogME()
    assert scorer.name == "logme"
