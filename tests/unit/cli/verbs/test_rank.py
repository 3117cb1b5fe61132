"""``esm rank`` of several targets: what is printed, and written where."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.pool.pool import Pool, Skipped
from esm.ranking.result import Ranking
from tests.unit.report.table_cases import ranking


@pytest.fixture
def rank(tmp_path, monkeypatch):
    """Call the verb with a ranking that is there; ``bad.csv`` cannot be ranked."""

    def several(specs, *_, **__):
        for spec in specs:
            name = spec.path.stem
            found = ranking().model_copy(update={"target": name})
            yield Skipped(name, "no rows") if name == "bad" else found

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Pool, "open", lambda folder: None)
    monkeypatch.setattr("esm.ranking.several.rank_several", several)
    monkeypatch.setattr("esm.ranking.rank.rank_sources", lambda *args, **kw: ranking())
    return lambda *words: CliRunner().invoke(app, ["rank", *words, "--pool", "pool", "--quiet"])


def test_json_has_an_entry_per_target(rank):
    ended = rank("a.csv", "bad.csv", "none.toml", "b.csv", "--json")
    assert ended.exit_code == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert [one["target"] for one in told["targets"]] == ["a", "b"]
    assert [one["source"] for one in told["skipped"]] == ["none.toml", "bad"]


def test_a_folder_gets_a_ranking_per_target_and_a_table_all_of_them(rank, tmp_path):
    assert rank("a.csv", "b.csv", "--out", "found").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["a.json", "b.json"]
    assert Ranking.load(tmp_path / "found" / "b.json").target == "b"
    assert rank("a.csv", "b.csv", "--out", "all.csv").exit_code == 0
    targets = pd.read_csv(tmp_path / "all.csv")["target"].str.split("/").str[0]
    assert sorted(set(targets)) == ["a", "b"]


def test_one_target_is_written_and_told_as_ever(rank, tmp_path):
    ended = rank("a.csv", "--json", "--out", "one.json")
    assert json.loads(ended.stdout) == ranking().as_dict()
    assert Ranking.load(tmp_path / "one.json") == ranking()


def test_strict_stops_at_a_specification_that_cannot_be_read(rank):
    ended = rank("a.csv", "none.toml", "--strict")
    assert ended.exit_code != 0
