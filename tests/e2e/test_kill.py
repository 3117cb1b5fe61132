"""One ``kill -9`` of ``esm train`` and of ``esm validate``; ten of each: benchmarks/kill_resume."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from benchmarks.kill_resume import Case, ledger_state, pool_state, trial, undisturbed
from esm.cli.app import app
from esm.trials.results import RESULT_NAME, Validation
from tests.toy_folders import write_target, write_task

pytestmark = pytest.mark.slow

# What is killed is a process of its own; what runs to its end is not, and these tests train in
# float32.
FLOAT32 = "--no-bf16"


def run_here(arguments):
    result = CliRunner().invoke(app, ["--quiet", *arguments])
    assert result.exit_code == 0, result.output


def test_killed_commands_resume_to_the_same_end(tiny_bert, tmp_path):
    tasks = [
        write_task(tmp_path / word, word, seed=i) for i, word in enumerate(("cat", "dog", "sun"))
    ]
    pool, out, ranking = tmp_path / "pool", tmp_path / "run", tmp_path / "ranking.json"
    train = (
        "train", *map(str, tasks), "--pool", str(pool), "--base", str(tiny_bert), "--max-length",
        "32", "--epochs", "1", "--anchors-per-task", "20", "--lift-width", "24", "--rank", "4",
        FLOAT32,
    )  # fmt: skip
    _kill_in_the_middle(
        Case("esm train", train, pool, pool_state, run_here),
        lambda: any((pool / "sources").glob("[!.]*")),
    )
    run_here(
        ("rank", str(write_target(tmp_path / "posts")), "--pool", str(pool), "--out", str(ranking))
    )
    validate = (
        "validate", str(ranking), "--attribute", "cat", "--top", "1", "--controls", "none",
        "--seeds", "2", "--epochs", "1", "--out", str(out), FLOAT32,
    )  # fmt: skip
    _kill_in_the_middle(
        Case("esm validate", validate, out, ledger_state, run_here),
        # Not the ledger itself: a look could hold up the process that is writing it.
        lambda: (out / RESULT_NAME).is_file() and Validation.load(out).finished > 0,
    )


def _kill_in_the_middle(case, has_a_piece):
    """Kill as soon as the first finished piece is there."""
    expected, _ = undisturbed(case)
    hit, pieces = trial(case, has_a_piece, expected)
    assert hit
    assert 0 < pieces < len(expected)
