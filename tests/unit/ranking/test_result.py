"""Rankings that earlier versions wrote."""

from __future__ import annotations

import json

import pytest

from esm.common.errors import RankingError, SettingError
from esm.common.records import build_settings
from esm.ranking.result import RankConfig, Ranking
from esm.tasks.spec import TaskSpec
from tests.small_world import ranked

LEFT_OUT = "topic: 8 sources were not scored, only a shortlist of 2"


@pytest.fixture
def content():
    ranking = Ranking(
        target="posts",
        target_spec=TaskSpec(location="posts"),
        target_hash="a",
        pool="pool",
        base_model="base",
        scorer="logme",
        config=RankConfig(),
        attributes={"topic": ranked(("reviews", "moods"))},
        unusable={},
        warnings=(LEFT_OUT,),
        cut=0,
        seconds=1.0,
    )
    return ranking.as_dict()


@pytest.mark.parametrize(("limit", "left_out"), [(0, 0), (2, 8)])
def test_a_ranking_with_a_shortlist_stays_readable(content, tmp_path, limit, left_out):
    content["config"]["shortlist"] = limit
    content["attributes"]["topic"]["not_scored"] = left_out
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    found = Ranking.load(path)
    assert found.attributes["topic"].order == ["reviews", "moods"]
    assert found.warnings == (LEFT_OUT,)
    found.save(path)
    assert "shortlist" not in json.loads(path.read_text(encoding="utf-8"))["config"]
    assert Ranking.load(path) == found


def test_a_shortlist_cannot_be_asked_for():
    with pytest.raises(SettingError, match="shortlist"):
        build_settings(RankConfig, {"shortlist": 2})


@pytest.mark.parametrize("attributes", [[], {"topic": 1}, {"topic": {"not_scored": 1}}])
def test_what_is_no_ranking_is_refused(content, tmp_path, attributes):
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps(content | {"attributes": attributes}), encoding="utf-8")
    with pytest.raises(RankingError, match=r"ranking.json: attributes"):
        Ranking.load(path)
