"""Expected gains in a ranking, and what spoke for a source: by sums that can be done by hand."""

from __future__ import annotations

import pytest

from esm.common.errors import RankingError
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import RankConfig, Ranking
from esm.report.ranking import ranking_tables
from esm.report.table import plain
from esm.report.why import why_tables
from esm.scorers.forecast import Forecast, Term
from esm.scorers.fused import Fused
from esm.scorers.registry import ScorerName
from tests.unit.ranking.test_rank_scorers import world  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow


def forecast(base_model, *features, level=-1.0, metric="macro_f1"):
    """Ten points per unit of every feature, about 0."""
    return Forecast(
        terms=tuple(Term(feature=name, weight=10.0, centre=0.0) for name in features),
        level=level,
        spread=2.0,
        metric=metric,
        base_model=base_model,
        strategies=("full",),
        targets=2,
        datasets=2,
        sources=3,
    )


def text_of(tables):
    return "\n".join(plain(table) for table in tables)


@pytest.fixture
def opened(world):  # noqa: F811
    return Pool.open(world[0])


def rank_with(world, opened, monkeypatch, found, scorer=ScorerName.LOGME):  # noqa: F811
    monkeypatch.setattr("esm.ranking.forecast.packaged_forecast", lambda name: found)
    return rank_sources(world[1], opened, RankConfig(scorer=scorer, refine="none"), device="cpu")


def test_the_gain_of_a_score_becomes_points(world, opened, monkeypatch):  # noqa: F811
    base = opened.manifest.base.model
    ranking = rank_with(world, opened, monkeypatch, forecast(base, "logme"))
    for ranked in ranking.attributes.values():
        for line in ranked.ranking:
            assert line.expected.gain == pytest.approx(10 * line.gain - 1)
            assert line.expected.high - line.expected.gain == pytest.approx(1.645 * 2, abs=1e-3)
            assert line.adds == pytest.approx({"logme": 10 * line.gain})
    assert Ranking.model_validate_json(ranking.model_dump_json()) == ranking
    assert "expected macro_f1, points" in text_of(ranking_tables(ranking))


def test_where_none_is_expected_to_help_the_ranking_says_so(world, opened, monkeypatch):  # noqa: F811
    sentence = "no source is expected to beat the base model"
    base = opened.manifest.base.model
    for level, said in ((-100.0, True), (100.0, False)):
        found = forecast(base, "logme", level=level)
        ranking = rank_with(world, opened, monkeypatch, found)
        assert (sentence in text_of(ranking_tables(ranking))) is said


@pytest.mark.parametrize("changed", [{"metric": "spearman"}, {"base_model": "another"}])
def test_a_forecast_of_another_metric_or_model_is_not_used(
    world,  # noqa: F811
    opened,
    monkeypatch,
    changed,
):
    found = forecast(opened.manifest.base.model, "logme").model_copy(update=changed)
    ranking = rank_with(world, opened, monkeypatch, found)
    lines = [line for ranked in ranking.attributes.values() for line in ranked.ranking]
    assert all(line.expected is None and line.adds == {} for line in lines)
    assert "expected" not in text_of(ranking_tables(ranking))


def test_fused_scores_are_the_expected_gains(world, opened, monkeypatch):  # noqa: F811
    found = forecast(opened.manifest.base.model, "logme", "probe")
    monkeypatch.setattr("esm.ranking.rank.make_scorer", lambda *_, **__: Fused(found))
    fused = rank_with(world, opened, monkeypatch, found, ScorerName.FUSED)
    monkeypatch.undo()
    gains = {
        scorer: {
            (name, line.source): line.gain
            for name, ranked in rank_sources(
                world[1], opened, RankConfig(scorer=scorer, refine="none"), device="cpu"
            ).attributes.items()
            for line in ranked.ranking
        }
        for scorer in (ScorerName.LOGME, ScorerName.PROBE)
    }
    for name, ranked in fused.attributes.items():
        assert ranked.base_score == 0.0
        for line in ranked.ranking:
            adds = {str(scorer): 10 * gain[name, line.source] for scorer, gain in gains.items()}
            assert line.adds == pytest.approx(adds, abs=1e-6)
            assert line.score == pytest.approx(sum(adds.values()) - 1, abs=1e-6)
            assert line.expected.gain == pytest.approx(line.score)


def test_a_file_has_a_column_for_each_number_of_an_expectation(world, opened, monkeypatch):  # noqa: F811
    base = opened.manifest.base.model
    ranking = rank_with(world, opened, monkeypatch, forecast(base, "logme"))
    (row,) = (
        row for row in ranking.records() if (row["target"], row["source"]) == ("posts/cat", "dog")
    )
    line = next(one for one in ranking.attributes["cat"].ranking if one.source == "dog")
    assert row["expected_gain"] == line.expected.gain
    assert (row["expected_low"], row["expected_high"]) == (line.expected.low, line.expected.high)
    assert row["adds_logme"] == line.adds["logme"]
    assert not any(isinstance(value, dict) for value in row.values())


def test_why_names_what_adds_and_what_takes_away(world, opened, monkeypatch):  # noqa: F811
    base = opened.manifest.base.model
    ranking = rank_with(world, opened, monkeypatch, forecast(base, "logme"))
    tables = why_tables(ranking, "dog")
    assert len(tables) == len(ranking.attributes)
    text = text_of(tables)
    assert "why dog?" in text
    line = next(one for one in ranking.attributes["cat"].ranking if one.source == "dog")
    (adds,) = (row for row in tables[0].rows if row[0].endswith(": points it adds"))
    assert adds[0].startswith("log evidence of a linear model")
    assert adds[1] == f"{10 * line.gain:+.2f}"
    (gain,) = (row for row in tables[0].rows if row[0].startswith("predicted gain"))
    assert gain[1] == f"{line.gain:+.4f}"
    with pytest.raises(RankingError, match="'nobody' is not ranked"):
        why_tables(ranking, "nobody")
