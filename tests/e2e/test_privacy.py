"""Texts stay where they are: no file that a run makes, and nothing it prints, holds one."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.common.runtime import show_progress
from tests.toy_folders import WORDS, label_of, texts

pytestmark = pytest.mark.slow

CANARY = "zxqvkanarik"
FINE_TUNING = ["--epochs", "1", "--learning-rate", "1e-3", "--anchors-per-task", "20"]
VALIDATION = ["--top", "1", "--seeds", "1", "--strategy", "features"]
MAPS = ["--lift-width", "24", "--rank", "4", "--max-length", "32"]


def write_table(path: Path, word: str, seed: int) -> Path:
    """Write a spreadsheet whose every text holds the canary."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for row, text in enumerate(texts(40, seed)):
            label = row % 2 if row < 2 else label_of(text, word)
            writer.writerow([f"{text} {CANARY} {WORDS[row % 7]}", ("no", "yes")[label]])
    return path


@pytest.fixture(scope="module")
def done(tiny_bert, tmp_path_factory):
    """Everything that the verbs from init to export made and printed, in fresh folders."""
    home = tmp_path_factory.mktemp("privacy")
    data = home / "data"
    data.mkdir()
    sources = [write_table(data / f"{word}.csv", word, i) for i, word in enumerate(("cat", "dog"))]
    target = write_table(data / "posts.csv", "sun", 7)
    pool, ranking, run = home / "pool", home / "ranking.json", home / "run"
    base = ["--base", tiny_bert, "--keep-models"]
    printed = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESM_CACHE", str(home / "cache"))
        patch.setenv("TMPDIR", str(home))
        for verb, code in (
            (["tasks", "init", target], 0),
            (["tasks", "show", target.with_suffix(".toml")], 0),
            (["tasks", "show", target], 0),
            (["train", *sources, "--pool", pool, *base, *FINE_TUNING, *MAPS], 0),
            (["rank", target, "--pool", pool, "--out", ranking], 0),
            (["validate", ranking, *VALIDATION, "--out", run], 0),
            (["show", run], 0),
            (["predict", run, target, "--out", data / "labels.csv", "--abstain", "0.6"], 0),
            (["predict", run, target, "--out", data / "no.csv", "--text", "nothing"], 1),
            (["export", run, "--to", home / "export"], 0),
            (["export", run, "--to", home / "export"], 1),
            (["rank", target, "--pool", pool, "--text", "label"], 1),  # an error about this file
        ):
            result = CliRunner().invoke(app, [*map(str, verb)])
            assert result.exit_code == code, result.output
            printed += result.output
    show_progress(False)
    return home, data, printed


def test_nothing_printed_holds_a_text(done):
    assert CANARY not in done[2]


def test_no_file_that_was_made_holds_a_text(done):
    home, data, _ = done
    made = [path for path in home.rglob("*") if path.is_file()]
    sheets = set(data.glob("*.csv"))
    assert len(made) > 20
    holding = [str(path) for path in made if CANARY.encode() in path.read_bytes()]
    assert {Path(path) for path in holding} == sheets


def test_what_derives_from_the_target_is_its_owners_only(done):
    home, data, _ = done
    derived = [
        home / "ranking.json",
        *data.glob("*.split.json"),
        *data.glob("*.toml"),
        *(home / "cache").rglob("*.safetensors"),
        data / "labels.csv",
        *(path for path in (home / "run").rglob("*") if path.name != ".lock"),
        *(home / "export").rglob("*"),
    ]
    derived = [path for path in derived if path.is_file()]
    assert len(derived) > 10
    open_ones = [p.name for p in derived if stat.S_IMODE(p.stat().st_mode) != 0o600]
    assert open_ones == []
