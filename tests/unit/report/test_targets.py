from __future__ import annotations

from esm.pool.pool import Skipped
from esm.report.targets import target_tables
from tests.unit.report.table_cases import ATTRIBUTES, SOURCES, ranking


def test_a_line_per_target_and_attribute_with_what_was_left_out():
    one = ranking()
    other = one.model_copy(update={"target": "letters", "warnings": ()})
    summary, notes = target_tables([one, other], [Skipped("gone.csv", "nothing there")])
    assert summary.title == "2 targets, 6 attributes; 1 skipped"
    names = [(row[0], row[1]) for row in summary.rows]
    assert names == [(target, name) for target in (one.target, "letters") for name in ATTRIBUTES]
    row = dict(zip(summary.columns, summary.rows[0], strict=True))
    assert row["best source"] == SOURCES[0]
    assert row["left out"] == "1"
    assert row["expected, points"] == "macro_f1 -0.4 (-5.3 to +4.5)"
    assert "regret@1 %" not in row
    assert "  gone.csv: nothing there" in summary.notes
    assert f"letters/{ATTRIBUTES[0]}: no source is expected" in "\n".join(notes.notes)
    assert "letters/identifier_of_the_original_post is not ranked" in "\n".join(notes.notes)


def test_regret_is_shown_where_it_was_measured():
    one = ranking()
    measured = {"targets": {f"{one.target}/{ATTRIBUTES[0]}": {"regret@1": 12.5}}}
    summary, *_ = target_tables([one.model_copy(update={"truth": measured})], [])
    assert [row[-1] for row in summary.rows] == ["12.50", "-", "-"]


def test_why_names_the_targets_that_do_not_rank_the_source():
    one = ranking()
    *tables, notes = target_tables([one], [], why="nobody")
    assert not tables
    assert notes.notes[0].startswith(f"{one.target}: source 'nobody' is not ranked")
