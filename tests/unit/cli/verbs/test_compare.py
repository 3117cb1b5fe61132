"""``esm compare`` as it is called, shown again, and used for predictions."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.encoder.encoder import Encoder, EncoderConfig
from tests.small_world import make_world

OPTIONS = (
    *("--test", "posts-test.csv", "--text", "text", "--attribute", "harmful,topic"),
    *("--epochs", "1", "--seeds", "1", "--max-length", "32", "--device", "cpu"),
)


@pytest.fixture
def called(tmp_path, tiny_bert, monkeypatch):
    """Call a verb in a folder with a target; its options come behind what is given."""
    encoder = Encoder.load(EncoderConfig(model=str(tiny_bert), max_length=32), device="cpu")
    make_world(tmp_path, encoder.identity)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(app, [*arguments, "--quiet"])

    def compare(*arguments):
        return call("compare", "posts.csv", "--base", str(tiny_bert), *OPTIONS, *arguments)

    return call, compare


@pytest.mark.slow
def test_compare_show_and_predict(called, tmp_path):
    call, compare = called
    wanted = ("--strategy", "features,multitask:square-root", "--examples", "12,all")
    ended = compare("--out", "run", *wanted, "--json")
    assert ended.exit_code == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["strategies"] == ["features", "multitask:square-root"]
    assert told["finished"] == told["planned"] == 6
    shown = call("show", "run", "--out", "table.csv")
    assert shown.exit_code == 0, shown.stderr
    assert "posts: strategies compared" in shown.stdout
    assert "multitask:square-root" in shown.stdout
    table = pd.read_csv(tmp_path / "table.csv")
    assert set(table["examples"]) == {12, 40}
    again = json.loads(call("show", "run", "--json").stdout)
    assert again == told
    pd.DataFrame({"text": ["the film was good"]}).to_csv("new.csv", index=False)
    labelled = call("predict", "run", "new.csv", "--out", "labels.csv", "--device", "cpu")
    assert labelled.exit_code == 0, labelled.stderr
    assert {"harmful", "topic"} <= set(pd.read_csv(tmp_path / "labels.csv"))


def test_a_dry_run_trains_nothing(called, tmp_path):
    _, compare = called
    ended = compare("--out", "run", "--strategy", "full,ca-mtl,ensemble", "--dry-run")
    assert ended.exit_code == 0, ended.stderr
    assert "0 trainings are done, 3 to be made" in ended.stdout
    assert "ensemble: it makes use of source tasks, and none were asked for" in ended.stdout
    assert not (tmp_path / "run").exists()
    told = json.loads(compare("--out", "run", "--dry-run", "--json").stdout)
    assert len(told["trainings"]) == 3 * 2 + 1  # features, houlsby, full; multitask
    assert told["estimate"]["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--strategy", "magic"), 2, "no strategy 'magic'"),
        (("--strategy", "full,full"), 2, "each strategy once"),
        (("--examples", "many"), 2, "expected numbers of rows, or all"),
        (("--examples", "1"), 2, "numbers of training rows from 2 on, or all"),
        (("--predictions", "labels.csv"), 2, "expected NAME=FILE"),
        (("--source", "auto,reviews"), 2, "auto, or names of sources, not both"),
        (("--source", "auto"), 1, "without a pool"),
        (("--set", "lora.rank=4"), 2, "the setting 'lora.rank' is of no strategy in use"),
    ],
)
def test_what_is_called_wrongly(called, arguments, code, message):
    _, compare = called
    ended = compare("--out", "run", *arguments)
    assert ended.exit_code == code
    assert message in " ".join(ended.stderr.replace("│", " ").split())
