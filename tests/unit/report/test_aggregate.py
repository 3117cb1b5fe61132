from __future__ import annotations

from esm.ranking.aggregate import aggregate_rankings
from esm.ranking.result import ranking_table
from esm.report.ranking import aggregate_tables, ranking_tables
from esm.report.table import plain
from tests.small_world import ranked
from tests.unit.report.test_results import ranking

ATTRIBUTES = {"harmful": ranked(["a", "b", "c"]), "topic": ranked(["b", "c"])}
AGGREGATED = ranking().model_copy(
    update={"attributes": ATTRIBUTES, "aggregate": aggregate_rankings(ATTRIBUTES)}
)


def test_the_ranking_over_all_attributes_says_how_it_is_formed_and_what_is_missing():
    (table,) = aggregate_tables(AGGREGATED)
    assert plain(table) == (
        "posts, all 2 attributes together\n"
        "rank  source  mean rank  best  worst  mean predicted gain\n"
        "   1  b            1.50     1      2              +0.0850\n"
        "   2  a            2.00     1      3              +0.0900\n"
        "   3  c            2.50     2      3              +0.0750\n"
        "mean rank over the attributes; equal ones by mean predicted gain. One source for all"
        " attributes is a compromise: best and worst show for whom\n"
        "a is not ranked for topic: counted as place 3 there\n"
    )
    assert "2 further sources: --top 0" in aggregate_tables(AGGREGATED, top=1)[0].notes


def test_it_stands_before_the_attributes_and_only_where_it_was_asked_for():
    assert ranking_tables(AGGREGATED)[0].title == "posts, all 2 attributes together"
    assert ranking_tables(ranking())[0].title == "posts/harmful"
    assert aggregate_tables(ranking()) == []


def test_a_row_of_the_file_holds_the_place_over_all_attributes_beside_its_own():
    rows = [row for row in AGGREGATED.records() if row["source"] == "b"]
    assert [(row["target"], row["rank"], row["aggregate_rank"]) for row in rows] == [
        ("posts/harmful", 2, 1),
        ("posts/topic", 1, 1),
    ]
    assert rows[0]["mean_rank"] == 1.5
    assert "aggregate_rank" not in ranking().records()[0]
    assert list(ranking_table(AGGREGATED).columns) == ["target", "source", "score"]
