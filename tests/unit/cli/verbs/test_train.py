"""``esm train --dry-run`` as it is called."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from tests.toy_folders import write_task


@pytest.mark.slow
def test_a_dry_run_tells_and_trains_nothing(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "cat")
    words = ["train", "cat", "--pool", "pool", "--base", str(tiny_bert), "--max-length", "32"]
    words += ["--device", "cpu", "--quiet", "--dry-run"]
    ended = CliRunner().invoke(app, [*words, "--json"])
    assert ended.exit_code == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert [(task["source"], task["now"]) for task in told["tasks"]] == [("cat", "train")]
    assert told["seconds"] > 0
    assert told["bytes"] > 0
    shown = CliRunner().invoke(app, words)
    assert "cat" in shown.stdout
    assert "estimated from" in shown.stdout
    assert not (tmp_path / "pool").exists()
