"""``--bootstrap`` through a ranking: intervals on its lines, from the rows of all folds."""

from __future__ import annotations

import pytest

from benchmarks.bootstrap_coverage import Kind, coverage
from esm.common.errors import SettingError
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import RankConfig, Ranking
from esm.report.ranking import ranking_tables
from esm.report.table import plain
from esm.scorers.registry import ScorerName
from esm.tasks.spec import SplitSpec
from tests.unit.ranking.test_rank_scorers import ranked, world

__all__ = ["world"]  # a fixture

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scorer", [ScorerName.LOGME, ScorerName.TUNED_LOGME])
def test_every_line_has_an_interval_around_its_gain(world, scorer, tmp_path):
    ranking = ranked(world, scorer, bootstrap=200, top_k=2)
    plainly = ranked(world, scorer)
    for name, found in ranking.attributes.items():
        assert [line.gain for line in found.ranking] == [
            line.gain for line in plainly.attributes[name].ranking
        ]
        for line in found.ranking:
            assert line.gain_low < line.gain < line.gain_high
        assert sum(line.top_probability for line in found.ranking) == pytest.approx(2)
        groups = [line.group for line in found.ranking]
        assert groups[0] == 1
        assert groups == sorted(groups)
    ranking.save(tmp_path / "ranking.json")
    assert Ranking.load(tmp_path / "ranking.json") == ranking
    tables = ranking_tables(ranking)
    table = tables[0]
    assert {"90 % interval", "top 2", "group"} <= set(table.columns)
    assert "bootstrap of the rows, 200 draws" in "".join(map(plain, tables))


def test_without_it_nothing_is_shown_or_computed(world):
    ranking = ranked(world, ScorerName.LOGME)
    line = ranking.attributes["cat"].ranking[0]
    assert (line.gain_low, line.gain_high, line.top_probability, line.group) == (None,) * 4
    assert "90 % interval" not in ranking_tables(ranking)[0].columns


def test_intervals_do_not_depend_on_the_other_sources_or_the_call(world, tmp_path):
    ranking = ranked(world, ScorerName.LOGME, bootstrap=100)
    assert ranked(world, ScorerName.LOGME, bootstrap=100).attributes == ranking.attributes
    other = ranked(world, ScorerName.LOGME, bootstrap=100, seed=1).attributes["cat"]
    assert other.ranking[0].gain_low != ranking.attributes["cat"].ranking[0].gain_low


class Backwards(Pool):
    """The same pool, read from its end."""

    def entries(self, **settings):
        found, skipped = super().entries(**settings)
        return found[::-1], skipped


def test_intervals_are_the_same_whatever_the_pools_order(world):
    pool = Pool.open(world[0])
    turned = Backwards(pool.folder, pool.manifest)
    found = [ranked(world, ScorerName.LOGME, one, bootstrap=100) for one in (pool, turned)]
    assert found[0].attributes == found[1].attributes


def test_folds_share_their_examples(world):
    spec = world[1].model_copy(update={"split": SplitSpec(method="k-fold", folds=3)})
    config = RankConfig(bootstrap=200)
    ranking = rank_sources(spec, Pool.open(world[0]), config, device="cpu")
    for found in ranking.attributes.values():
        for line in found.ranking:
            assert line.gain_low < line.gain < line.gain_high


@pytest.mark.parametrize("scorer", sorted(set(ScorerName) - {"logme", "tuned-logme"}))
def test_other_scorers_are_refused(world, scorer):
    with pytest.raises(SettingError, match=rf"--bootstrap 200 for scorer {scorer}.*tuned-logme"):
        ranked(world, scorer, bootstrap=200)


def test_a_handful_of_draws_is_refused(world):
    with pytest.raises(SettingError, match="at least 50 draws"):
        ranked(world, ScorerName.LOGME, bootstrap=5)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("ratio", [0.3, 1, 3])
def test_nine_in_ten_intervals_cover_the_mean_gain_of_fresh_samples(kind, ratio):
    """Sources share samples, so 60 samples of 8 sources tell coverage to about 3 points."""
    assert 0.80 <= coverage(kind, ratio, repetitions=60, draws=200).covered <= 0.99
