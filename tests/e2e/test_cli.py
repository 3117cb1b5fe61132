"""The command line as a person uses it: from task folders to a validated ranking."""

from __future__ import annotations

import csv
import json
import logging
import os
import stat
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.common.errors import StorageError
from esm.common.runtime import show_progress
from esm.pool.pool import Pool
from tests.toy_folders import write_target, write_task

pytestmark = pytest.mark.slow

FINE_TUNING = ["--epochs", "1", "--learning-rate", "1e-3", "--anchors-per-task", "20"]
MAPS = ["--lift-width", "24", "--rank", "4", "--max-length", "32"]


def esm(*arguments, code=0):
    """Run a command in this process; return what it printed on stdout."""
    result = CliRunner().invoke(app, ["--quiet", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def outcome(*arguments):
    """Run a command in this process; return how it ended, whatever way."""
    try:
        return CliRunner().invoke(app, [*map(str, arguments)])
    finally:
        show_progress(False)


def esm_process(*arguments):
    """Run a command as its own process."""
    command = [sys.executable, "-m", "esm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.fixture(scope="module")
def world(tiny_bert, tmp_path_factory):
    """Three source tasks, a target and the pool that the command line made of them."""
    folder = tmp_path_factory.mktemp("cli")
    tasks = [
        write_task(folder / word, word, seed=i) for i, word in enumerate(("cat", "dog", "sun"))
    ]
    pool = folder / "pool"
    esm("train", *tasks, "--pool", pool, "--base", tiny_bert, *FINE_TUNING, *MAPS)
    return folder, pool, write_target(folder / "posts"), tasks


@pytest.fixture(scope="module")
def ranking(world):
    folder, pool, target, _ = world
    path = folder / "ranking.json"
    esm("rank", target, "--pool", pool, "--out", path)
    return path


@pytest.fixture(scope="module")
def run(world, ranking):
    folder = world[0] / "run"
    options = ["--top", "1", "--seeds", "2", "--strategy", "features", "--out", folder]
    esm("validate", ranking, *options)
    return folder


def test_tasks_ls_lists_every_task_and_names_what_it_cannot_read(world):
    folder, _, target, tasks = world
    (folder / "empty.csv").write_text("", encoding="utf-8")
    printed = esm("tasks", "ls", *tasks, target, folder / "empty.csv")
    for name in ("cat/label", "posts/cat", "posts/dog", "1 skipped", "empty"):
        assert name in printed
    content = json.loads(esm("tasks", "ls", tasks[0], "--json"))
    assert content["tasks"][0]["attributes"]["label"]["splits"]["train"]["rows"] == 60


def test_tasks_ls_lists_the_task_folders_in_a_folder_and_writes_them(world, tmp_path):
    esm("tasks", "ls", world[0], "--out", tmp_path / "tasks.csv")
    with (tmp_path / "tasks.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    trained_on = {row["task"]: row["rows"] for row in rows if row["split"] == "train"}
    assert list(trained_on)[:2] == ["cat/label", "dog/label"]
    assert {"posts/cat", "sun/label"} < trained_on.keys()
    assert trained_on["cat/label"] == "60"
    esm("tasks", "show", world[2], "--out", tmp_path / "posts.json")
    assert "cat" in json.loads((tmp_path / "posts.json").read_text(encoding="utf-8"))["attributes"]


def test_tasks_show_prints_balance_and_lengths(world):
    printed = esm("tasks", "show", world[2], "--attribute", "cat,dog")
    assert "posts/cat: classification, metric macro_f1" in printed
    assert "words, median" in printed
    assert "no label" in printed


def test_a_csv_of_ones_own(tmp_path):
    path = tmp_path / "posts.csv"
    rows = [f"post number {i} about the {'cat' if i % 2 else 'dog'},{i % 2}" for i in range(30)]
    path.write_text("body,harmful\n" + "\n".join(rows), encoding="utf-8")
    content = json.loads(
        esm("tasks", "show", path, "--text", "body", "--label", "harmful", "--json")
    )
    splits = content["attributes"]["harmful"]["splits"]
    assert splits["train"]["rows"] + splits["test"]["rows"] == 30
    assert (tmp_path / "posts.csv.split.json").exists()


def test_rank_prints_a_table_per_attribute(world):
    printed = esm("rank", world[2], "--pool", world[1])
    assert printed.splitlines()[0] == "posts/cat"
    assert "predicted gain" in printed
    assert "posts/dog" in printed
    assert "─" not in printed


def test_rank_json_is_as_documented(world):
    content = json.loads(esm("rank", world[2], "--pool", world[1], "--attribute", "cat", "--json"))
    assert content["target"] == "posts"
    assert content["pool"] == str(world[1])
    assert content["scorer"] == "logme"
    assert list(content["attributes"]) == ["cat"]
    ranked = content["attributes"]["cat"]
    assert ranked["skipped"] == []
    first = ranked["ranking"][0]
    assert first["rank"] == 1
    assert first["gain"] == pytest.approx(first["score"] - ranked["base_score"])


def test_rank_names_the_target_and_stores_where_the_pool_is(world, monkeypatch):
    monkeypatch.chdir(world[0])
    content = json.loads(esm("rank", "posts", "--pool", "pool", "--id", "mine", "--json"))
    assert content["target"] == "mine"
    assert content["pool"] == str(world[1])
    assert content["target_spec"]["location"] == str(world[2])


def test_rank_files_are_private_and_evaluate_reads_their_scores(world, ranking, tmp_path):
    assert stat.S_IMODE(ranking.stat().st_mode) == 0o600
    scores, truth = tmp_path / "scores.csv", tmp_path / "truth.csv"
    esm("rank", world[2], "--pool", world[1], "--out", scores)
    with scores.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    best = max(
        (row for row in rows if row["target"] == "posts/cat"), key=lambda r: float(r["score"])
    )
    lines = [
        f"{row['target']},{row['source']},{0.9 if row['source'] == best['source'] else 0.6}"
        for row in rows
        if row["target"] == "posts/cat"
    ]
    truth.write_text("target,source,performance\n" + "\n".join(lines), encoding="utf-8")
    content = json.loads(esm("evaluate", scores, truth, "--k", "1,2", "--json"))
    assert content["targets"]["posts/cat"]["regret@1"] == 0
    assert content["random"]["regret@1"] == pytest.approx(100 * (2 / 3) * (0.3 / 0.9))
    assert content["static"]["regret@1"] is None
    judged = tmp_path / "judged.json"
    printed = esm("rank", world[2], "--pool", world[1], "--truth", truth, "--out", judged)
    assert "by measured results: regret@1 0.00 %" in printed
    assert esm("show", judged) == printed


def test_validate_reports_gain_and_regret(world, run):
    content = json.loads(esm("show", run, "--json"))
    arms = content["attributes"]["cat"]["arms"]
    assert [arm["arm"] for arm in arms] == ["none", "pick", "random", "random"]
    assert arms[0]["gain"] is None
    assert arms[1]["gain"] == pytest.approx(arms[1]["mean"] - arms[0]["mean"])
    assert content["finished"] == content["planned"] == 16
    printed = esm("show", run)
    assert "realised regret@1" in printed
    assert "the training seed of the source is fixed" in printed


def test_sources_are_shown_with_their_licences_and_filtered_by_them(world):
    _, pool, target, _ = world
    licensed = ["--licence", "commercial,stated", "--wide"]
    assert "CC0" in esm("rank", target, "--pool", pool, *licensed)
    assert "CC0" in esm("show", pool, "--wide")
    refused = outcome("rank", target, "--pool", pool, "--licence", "mit")
    assert refused.exit_code == 1
    assert "has a licence that meets --licence mit" in refused.output


def test_a_finished_run_is_truth_for_a_ranking(world, run, tmp_path):
    printed = esm("rank", world[2], "--pool", world[1], "--truth", run)
    assert "by measured results: regret@1" in printed
    esm("show", run, "--out", tmp_path / "truth.csv")
    header = (tmp_path / "truth.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith("target,source,")


def test_classes_and_confusions_are_shown_on_request(run):
    assert "classes" not in esm("show", run)
    printed = esm("show", run, "--classes")
    assert "posts/cat: classes" in printed
    assert "posts/dog after none: test rows by true and predicted class, 2 runs" in printed
    arm = json.loads(esm("show", run, "--json"))["attributes"]["cat"]["arms"][0]
    assert [found["name"] for found in arm["classes"]] == ["no", "yes"]
    assert sum(map(sum, arm["confusion"])) == 2 * 40  # every test row, once per seed


def test_an_ordered_scale_is_ranked_and_validated_as_such(world, tmp_path):
    ranking, out = tmp_path / "ranking.json", tmp_path / "run"
    reading = ["--attribute", "cat", "--kind", "ordinal"]
    esm("rank", world[2], "--pool", world[1], *reading, "--out", ranking)
    assert json.loads(ranking.read_text(encoding="utf-8"))["attributes"]["cat"]["balanced"]
    options = ["--strategy", "features", "--class-weights", "none", "--top", "1", "--seeds", "1"]
    printed = esm("validate", ranking, *options, "--controls", "none", "--out", out, "--classes")
    assert "kappa" in printed
    assert "posts/cat: classes" in printed
    content = json.loads(esm("show", out, "--json"))
    assert content["settings"] == {"class_weights": "none"}
    metrics = content["attributes"]["cat"]["arms"][0]["metrics"]
    assert metrics.keys() == {"macro_f1", "accuracy", "spearman", "kappa", "mae"}


def test_dry_run_prints_the_plan_and_writes_nothing(ranking, tmp_path):
    out = tmp_path / "run"
    printed = esm("validate", ranking, "--top", "2", "--dry-run", "--out", out)
    assert "plan for posts" in printed
    assert "of disk" in printed
    assert not out.exists()


@pytest.fixture(scope="module")
def aggregated(world):
    path = world[0] / "aggregated.json"
    printed = esm("rank", world[2], "--pool", world[1], "--aggregate", "--out", path)
    return path, printed


def test_one_ranking_over_all_attributes(world, aggregated, tmp_path):
    path, printed = aggregated
    lines = printed.splitlines()
    assert lines[0] == "posts, all 2 attributes together"
    assert "posts/cat" in lines
    content = json.loads(path.read_text(encoding="utf-8"))
    ranks = {
        name: {line["source"]: line["rank"] for line in ranked["ranking"]}
        for name, ranked in content["attributes"].items()
    }
    for line in content["aggregate"]:
        source = line["source"]
        assert line["mean_rank"] == (ranks["cat"][source] + ranks["dog"][source]) / 2
    assert esm("show", path) == printed
    esm("show", path, "--out", tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    best = {row["source"] for row in rows if row["aggregate_rank"] == "1"}
    assert best == {content["aggregate"][0]["source"]}


def test_validate_takes_one_source_for_all_attributes(aggregated, tmp_path):
    options = ["--top", "1", "--controls", "none", "--dry-run", "--json"]
    content = json.loads(esm("validate", aggregated[0], *options, "--out", tmp_path / "run"))
    picked = {run["source"] for run in content["runs"] if run["arm"] == "pick"}
    best = json.loads(aggregated[0].read_text(encoding="utf-8"))["aggregate"][0]["source"]
    assert picked == {best}
    assert {run["attribute"] for run in content["runs"]} == {"cat", "dog"}


def test_a_budget_leaves_out_and_names(ranking, tmp_path):
    options = ["--strategy", "features", "--out", tmp_path / "run", "--dry-run"]
    whole = json.loads(esm("validate", ranking, *options, "--json"))
    seconds = whole["estimate"]["seconds"]
    part = ["--budget", f"{0.9 * seconds:.6f}s"]
    content = json.loads(esm("validate", ranking, *options, *part, "--json"))
    assert content["estimate"]["seconds"] <= 0.9 * seconds
    assert len(content["runs"]) + sum(arm["runs"] for arm in content["left_out"]) == len(
        whole["runs"]
    )
    assert "left out for want of time" in esm("validate", ranking, *options, *part)
    result = outcome("validate", ranking, *options, "--budget", "0.000001s")
    assert result.exit_code == 1
    assert "is too short for any attribute" in result.stderr


def test_show_prints_a_pool_and_a_ranking(world, ranking):
    printed = esm("show", world[1], "--wide")
    assert "R² own" in printed
    assert "anchored" in printed
    assert "posts/cat" in esm("show", ranking)


def test_errors_are_one_line_on_stderr_and_exit_1(tmp_path):
    for arguments in (["show", tmp_path], ["rank", "x.csv", "--pool", tmp_path]):
        result = esm_process(*arguments)
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.startswith("esm: ")
        assert len(result.stderr.strip().splitlines()) == 1
        assert "expected" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["rank"],
        ["rank", "posts", "--pool", "pool", "--top", "-1"],
        ["evaluate", "a.csv", "b.csv", "--k", "0"],
        ["train", "a.csv", "b.csv", "--pool", "pool", "--id", "mine"],
    ],
)
def test_wrong_usage_exits_2(arguments):
    result = outcome(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rank", "posts", "--pool", "pool", "--map", "curly"], "form = 'curly'; expected"),
        (["train", "cat", "--pool", "pool", "--preset", "wild"], "preset 'wild'; expected default"),
        (["train", "cat", "--pool", "pool", "--rank", "abc"], "rank = 'abc'; expected"),
        (["validate", "ranking.json", "--out", "r", "--top", "0"], "top = '0'; expected"),
        (["validate", "ranking.json", "--out", "r", "--budget", "2"], "budget '2'; expected a dur"),
        (["validate", "ranking.json", "--out", "r", "--strategy", "x"], "strategy = 'x'; expected"),
        (
            ["validate", "ranking.json", "--out", "r", "--class-weights", "x"],
            "transfer.class_weights = 'x'; expected 'auto', 'balanced' or 'none'",
        ),
        (["train", "cat", "--pool", "pool", "--class-weights", "x"], "class_weights = 'x'; expec"),
    ],
)
def test_a_wrong_setting_is_wrong_usage_and_is_named(ranking, monkeypatch, arguments, message):
    monkeypatch.chdir(ranking.parent)
    result = outcome(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"esm: {message}")


def test_a_file_that_cannot_be_written_is_refused_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setattr("esm.pool.build.train_pool", lambda *_, **__: pytest.fail("it has begun"))
    result = outcome("train", "cat", "--pool", tmp_path, "--out", "report.txt")
    assert result.exit_code == 2
    assert "'.txt'" in result.stderr
    assert ".parquet" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "work", "message"),
    [
        (
            ["train", "cat", "--pool", "pool"],
            "esm.pool.build.train_pool",
            "the same command goes on",
        ),
        (["demo"], "esm.cli.demo.run.run_demo", "the same command goes on"),
        (["evaluate", "a.csv", "b.csv"], "esm.metrics.evaluate.evaluate_rankings", "stopped\n"),
    ],
)
def test_ctrl_c_is_one_line_and_exit_130(monkeypatch, arguments, work, message):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, interrupted)
    result = outcome(*arguments)
    assert result.exit_code == 130
    assert result.stderr.startswith("esm: stopped")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_quiet_and_debug_work_before_and_after_the_verb(monkeypatch, tmp_path):
    monkeypatch.setenv("ESM_DEBUG", "")  # so that it is put back
    monkeypatch.setattr(
        "esm.pool.pool.Pool.exists", lambda _: logging.getLogger("esm.pool.pool").info("looking")
    )
    assert "looking" in outcome("show", tmp_path).stderr
    assert "looking" not in outcome("--quiet", "show", tmp_path).stderr
    assert "looking" not in outcome("show", tmp_path, "--quiet").stderr
    assert isinstance(outcome("show", tmp_path, "--debug").exception, StorageError)


def test_json_on_stdout_is_not_disturbed_by_training(world, tiny_bert, tmp_path):
    result = esm_process(
        "train", world[3][0], "--pool", tmp_path / "pool", "--base", tiny_bert,
        *FINE_TUNING, *MAPS, "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["trained"] == ["cat"]


def test_an_existing_pool_keeps_its_base_model_without_naming_it(world):
    content = json.loads(
        esm("train", *world[3], "--pool", world[1], *FINE_TUNING, *MAPS[:4], "--json")
    )
    assert content["present"] == ["cat", "dog", "sun"]
    assert Pool.open(world[1]).manifest.base.max_length == 32


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_pool_folder(world, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    result = esm_process("train", world[3][0], "--pool", tmp_path / "locked" / "pool")
    assert result.returncode == 1
    assert "Permission denied" in result.stderr
