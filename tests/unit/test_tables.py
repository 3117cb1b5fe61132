from __future__ import annotations

import pandas as pd

from esm.evaluate import evaluate_rankings, ranking_table
from esm.maps import MapForm
from esm.ranking import AttributeRanking, RankConfig, RankedSource, Ranking
from esm.report import plain
from esm.tables import evaluation_tables, ranking_tables
from esm.tasks.spec import TaskSpec


def ranking() -> Ranking:
    lines = tuple(
        RankedSource(rank=i, source=source, score=score, gain=score + 0.5, r2=0.8, size=600)
        for i, (source, score) in enumerate([("a", -0.3), ("b", -0.4), ("c", -0.6)], start=1)
    )
    ranked = AttributeRanking(
        metric="macro_f1",
        examples=100,
        balanced=True,
        base_score=-0.5,
        ranking=lines,
        skipped=({"source": "d", "reason": "its map is truncated"},),
    )
    return Ranking(
        target="posts",
        pool="pool",
        scorer="logme",
        base_model="offline",
        config=RankConfig(form=MapForm.ANCHORED),
        target_spec=TaskSpec(location="posts.csv"),
        target_hash="x",
        attributes={"harmful": ranked},
        unusable={"id": "one class only"},
        cut=0,
        seconds=1.0,
    )


def truth() -> pd.DataFrame:
    rows = [
        ("posts/harmful", "a", 0.5),
        ("posts/harmful", "b", 0.8),
        ("posts/harmful", "none", 0.9),
    ]
    return pd.DataFrame(rows, columns=["target", "source", "performance"])


def test_a_ranking_shows_what_it_rests_on_what_it_left_out_and_what_it_was_worth():
    judged = evaluate_rankings(ranking_table(ranking()), truth(), [1, 3])
    table, unusable = ranking_tables(ranking(), judged, top=2)
    assert plain(table) == (
        "posts/harmful\n"
        "rank  source    score  predicted gain  map R²  source rows\n"
        "   1  a       -0.3000         +0.2000    0.80          600\n"
        "   2  b       -0.4000         +0.1000    0.80          600\n"
        "100 training rows, 3 sources, anchored maps, balanced logme; the untouched base"
        " embeddings score -0.5000\n"
        "1 further sources: --top 0\n"
        "by measured results: regret@1 37.50 %, regret@3 0.00 %\n"
        "1 skipped:\n"
        "  d: its map is truncated\n"
    )
    assert unusable.rows == [("id", "one class only")]


def test_an_evaluation_shows_the_mean_beside_random_and_static_orders():
    judged = evaluate_rankings(ranking_table(ranking()), truth(), [1])
    text = plain(evaluation_tables(judged)[0])
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["target", "regret@1"]
    assert lines[1].split()[:2] == ["posts/harmful", "37.50"]
    assert lines[2].split()[:2] == ["mean", "37.50"]
    assert lines[4].split()[:3] == ["random", "order", "18.75"]
    assert lines[5].split()[:3] == ["static", "order", "-"]
    assert "1 scored sources without results were left out" in text
