from __future__ import annotations

import pandas as pd
import pytest

from esm.maps.forms import MapForm
from esm.metrics.evaluate import evaluate_rankings
from esm.ranking.result import AttributeRanking, RankConfig, RankedSource, Ranking, ranking_table
from esm.report.evaluation import evaluation_tables
from esm.report.ranking import ranking_tables
from esm.report.table import plain, untested_note
from esm.report.tasks import task_list
from esm.report.validation import validation_tables
from esm.tasks.spec import TaskSpec
from esm.trials.results import Validation


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
    found = ranking().model_copy(update={"truth": judged.as_dict()})
    table, legend, unusable = ranking_tables(found, top=2)
    assert plain(table) == (
        "posts/harmful\n"
        "rank  source  predicted gain  trust   flags\n"
        "   1  a              +0.2000  medium  licence?\n"
        "   2  b              +0.1000  medium  licence?\n"
        "100 training rows, 3 sources, anchored maps, balanced logme (nats per example);"
        " the untouched base embeddings score -0.5000\n"
        "1 further sources: --top 0\n"
        "by measured results: regret@1 37.50 %, regret@3 0.00 %\n"
        "1 skipped:\n"
        "  d: its map is truncated\n"
    )
    assert plain(table, wide=True).splitlines()[1] == (
        "rank  source    score  predicted gain  trust   flags     map R²  source rows  licence"
    )
    assert plain(legend) == (
        "trust: low where the map explains less than half on texts of other tasks (R² < 0.5) or the"
        " source was trained on texts of the target; medium else, - where R² is not known; high"
        " takes --bootstrap 200\n"
        "flags: licence?: its licence is not stated, or unclear on commercial use\n"
    )
    assert unusable.rows == [("id", "one class only")]


def test_one_target_is_judged_beside_random_and_static_orders():
    judged = evaluate_rankings(ranking_table(ranking()), truth(), [1])
    (summary,) = evaluation_tables(judged)
    lines = plain(summary).splitlines()
    assert lines[0] == "posts/harmful"
    assert lines[1].split("  ")[0] == "measure"
    assert lines[2].split() == ["regret@1", "37.50", "-", "18.75", "-"]
    assert "1 scored sources without results were left out" in plain(summary)


def test_several_targets_have_a_row_each_and_every_measure_in_the_summary():
    scores, results = (
        pd.concat([table.assign(target=name) for name in ("one/x", "two/y")])
        for table in (ranking_table(ranking()), truth())
    )
    judged = evaluate_rankings(scores, results, [1, 3, 5])
    per_target, summary = evaluation_tables(judged)
    assert per_target.columns == ("target", "regret@1", "regret@3", "regret@5", "ndcg", "spearman")
    assert [row[:2] for row in per_target.rows] == [("one/x", "37.50"), ("two/y", "37.50")]
    assert summary.title == "2 targets"
    assert [row[0] for row in summary.rows] == list(judged.mean)


def validation() -> Validation:
    def arm(kind: str, source: str, **values: float | None) -> dict[str, object]:
        return {
            "arm": kind,
            "source": source,
            "rank": None,
            "predicted_gain": None,
            "runs": 3,
            "mean": 0.6531,
            "standard_error": 0.012,
            "gain": None,
            "gain_standard_error": None,
            "metrics": {"macro_f1": 0.6531, "accuracy": 0.701, "matthews": 0.42},
            "trained_share": 0.0123,
            "seconds": 75.0,
        } | values

    none = arm("none", "none")
    pick = arm("pick", "a", rank=1, predicted_gain=0.1, gain=0.05, gain_standard_error=0.01)
    found = {
        "metric": "macro_f1",
        "num_train": 100,
        "num_test": 50,
        "arms": [none, pick],
        "measured": ["a"],
        "regret": {},
    }
    return Validation.model_validate(
        VALIDATION | {"attributes": {"harmful": found}, "winners": {"harmful": "a"}}
    )


VALIDATION = {
    "target": "posts",
    "pool": "pool",
    "base_model": "offline",
    "strategy": "houlsby",
    "settings": {},
    "seeds": 3,
    "source_seeds": 1,
    "max_train": None,
    "standard_error": "over seeds",
    "planned": 6,
    "finished": 6,
    "failures": [],
    "skipped": [],
    "seconds": 450.0,
    "keys": [],
}


def test_a_validation_shows_the_metric_the_gain_and_one_metric_beside():
    table, below = validation_tables(validation())
    assert plain(table, wide=True) == (
        "posts/harmful: 100 training rows, 50 test rows\n"
        "arm   source  rank  predicted  runs    macro_f1        gain  accuracy   time\n"
        "none  none       -          -     3  65.3 ± 1.2           -      70.1  1 min\n"
        "pick  a          1    +0.1000     3  65.3 ± 1.2  +5.0 ± 1.0      70.1  1 min\n"
        "1.2 % of the weights were trained\n"
        "winner: a, +5.0 ± 1.0 over no transfer on the same test rows\n"
    )
    assert plain(table).splitlines()[1] == "arm   source  predicted    macro_f1        gain"
    assert "6 of 6 runs finished" in plain(below)


def test_a_verdict_over_a_test_that_lost_a_class_says_so():
    found = validation()
    note = "classes without a test row: 1 of 2; in train: no 40; scores say nothing of them"
    lost = {"untested": ("no",), "data_notes": (note,)}
    harmful = found.attributes["harmful"].model_copy(update=lost)
    table, _ = validation_tables(found.model_copy(update={"attributes": {"harmful": harmful}}))
    said = plain(table)
    assert "same test rows; it is judged without class 'no': no test row has it" in said
    assert note in said
    won = {"attributes": {"harmful": harmful}, "winners": {"harmful": "none"}}
    table, _ = validation_tables(found.model_copy(update=won))
    assert "does better; it is judged without class 'no'" in plain(table)


def test_classes_without_test_rows_are_named_up_to_five():
    assert untested_note("x", ()) == []
    assert untested_note("x", tuple("abcdefg")) == [
        "x is judged without classes 'a', 'b', 'c', 'd', 'e' and 2 more: no test row has it"
    ]


def test_a_list_of_tasks_names_what_cannot_be_predicted():
    described = {"id": "posts", "attributes": {}, "skipped": {"id": "one class only"}}
    _, unusable = task_list([described], [])
    assert unusable.rows == [("posts/id", "one class only")]


@pytest.mark.parametrize(
    ("winner", "error", "said"),
    [
        ("a", 0.01, "winner: a, +5.0 ± 1.0 over no transfer on the same test rows"),
        ("a", 0.03, "± 3.0 over no transfer on the same test rows; that is not more than two"),
        (
            "a",
            None,
            "over no transfer on the same test rows; from one run, whose error is not known",
        ),
        ("none", 0.01, "winner: no transfer; no source that was measured does better"),
    ],
)
def test_a_winner_is_named_with_what_its_gain_is_worth(winner, error, said):
    found = validation()
    harmful = found.attributes["harmful"]
    none, pick = harmful.arms
    pick = pick.model_copy(update={"gain_standard_error": error})
    changed = harmful.model_copy(update={"arms": (none, pick)})
    table, _ = validation_tables(
        found.model_copy(
            update={"attributes": {"harmful": changed}, "winners": {"harmful": winner}}
        )
    )
    assert said in plain(table)
