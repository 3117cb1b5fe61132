"""One ``kill -9`` of ``esm train`` and of ``esm validate``; ten of each: benchmarks/kill_resume."""

from __future__ import annotations

import pytest

from benchmarks.kill_resume import Case, ledger_state, pool_state, run, trials, undisturbed
from tests.toy_folders import write_target, write_task

pytestmark = pytest.mark.slow


def test_killed_commands_resume_to_the_same_end(tiny_bert, tmp_path):
    tasks = [
        write_task(tmp_path / word, word, seed=i) for i, word in enumerate(("cat", "dog", "sun"))
    ]
    pool, out, ranking = tmp_path / "pool", tmp_path / "run", tmp_path / "ranking.json"
    train = (
        "train", *map(str, tasks), "--pool", str(pool), "--base", str(tiny_bert), "--max-length",
        "32", "--epochs", "1", "--anchors-per-task", "20", "--lift-width", "24", "--rank", "4",
    )  # fmt: skip
    _kill_in_the_middle(Case("esm train", train, pool, pool_state), pieces=3)
    run(("rank", str(write_target(tmp_path / "posts")), "--pool", str(pool), "--out", str(ranking)))
    validate = (
        "validate", str(ranking), "--attribute", "cat", "--top", "1", "--controls", "none",
        "--seeds", "2", "--epochs", "1", "--out", str(out),
    )  # fmt: skip
    _kill_in_the_middle(Case("esm validate", validate, out, ledger_state), pieces=4)


def _kill_in_the_middle(case, pieces):
    """Kill late in the run: loading libraries takes its first half."""
    expected, seconds = undisturbed(case)
    assert len(expected) >= pieces
    moment, hit, _ = trials(case, [0.8 * seconds], expected)[0]
    assert moment > 0
    assert hit
