"""Folders of runs made by an earlier version: shown, gone on with, predicted from, exported.

See :mod:`tests.golden.make_folders`. Nothing may be trained here that was trained there.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.strategies.features import Features
from esm.strategies.joint.ensemble import Ensemble
from esm.strategies.joint.multitask import Multitask
from esm.strategies.tuning import Tuning
from esm.trials.ledger import LEDGER_NAME, Ledger
from tests.golden.make_folders import COMMANDS, ENCODER, PREDICT, save_encoder

FOLDERS = Path(__file__).parent / "folders"
RESULTS = {
    "validated": "validation.json",
    "folded": "validation.json",
    "compared": "comparison.json",
}


@pytest.fixture(scope="module")
def _copied(tmp_path_factory):
    home = tmp_path_factory.mktemp("golden") / "home"
    shutil.copytree(FOLDERS, home)
    save_encoder(home / ENCODER)
    return home


@pytest.fixture
def home(_copied, monkeypatch):
    """A copy of the folders as working directory; training anything there is an error."""

    def refuse(*arguments, **more):
        raise AssertionError("trained although the folder has the result")

    for strategy in (Features, Tuning, Multitask, Ensemble):
        monkeypatch.setattr(strategy, "fit", refuse)
    monkeypatch.chdir(_copied)
    return _copied


def call(*words):
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def kept(name):
    return json.loads((FOLDERS / name / RESULTS[name]).read_text(encoding="utf-8"))


def agrees(new, old):
    """Whether all that an old record says is in the new one; numbers up to rounding."""
    if isinstance(old, dict):
        told = {key: value for key, value in old.items() if key != "format"}
        return all(key in new and agrees(new[key], value) for key, value in told.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(agrees, new, old))
    if isinstance(old, float):
        return new == pytest.approx(old, rel=1e-6)
    return bool(new == old)


@pytest.mark.parametrize("name", RESULTS)
def test_the_same_command_has_the_same_keys_and_trains_nothing(home, name):
    with Ledger(Path(name) / LEDGER_NAME) as ledger:
        before = ledger.rows()
    found = json.loads(call(*COMMANDS[name], "--json"))
    old = kept(name)
    assert found["keys"] == old["keys"]
    assert {row.key for row in before} == set(old["keys"])
    assert found["finished"] == found["planned"] == old["planned"]
    assert agrees(found, old)
    with Ledger(Path(name) / LEDGER_NAME) as ledger:
        assert ledger.rows() == before
    assert_labels_as_it_did(name)


@pytest.mark.parametrize("name", RESULTS)
def test_it_is_shown(home, name):
    shutil.copy(FOLDERS / name / RESULTS[name], Path(name) / RESULTS[name])
    assert agrees(json.loads(call("show", name, "--json")), kept(name))
    assert "harmful" in call("show", name)


@pytest.mark.parametrize("name", RESULTS)
def test_it_labels_texts_as_it_did(home, name):
    shutil.copy(FOLDERS / name / RESULTS[name], Path(name) / RESULTS[name])
    assert_labels_as_it_did(name)


def assert_labels_as_it_did(name):
    call("predict", name, "posts-test.csv", "--out", "again.csv", *PREDICT)
    old, new = pd.read_csv(FOLDERS / f"{name}.csv"), pd.read_csv("again.csv")
    assert list(new) == list(old)
    for column in old:
        if column.endswith("_confidence"):
            assert new[column].to_numpy() == pytest.approx(old[column].to_numpy(), rel=1e-3)
        else:
            assert new[column].tolist() == old[column].tolist()


@pytest.mark.parametrize("name", ["validated", "folded"])
def test_it_is_exported(home, name, tmp_path):
    exported = json.loads(call("export", name, "--to", str(tmp_path / name), "--json"))["exported"]
    for one in exported:
        assert (Path(one["folder"]) / "README.md").is_file()
    assert {one["attribute"] for one in exported} == set(kept(name)["attributes"])


def test_the_ensembles_of_the_comparison_are_no_plain_models(home, tmp_path):
    result = CliRunner().invoke(app, ["export", "compared", "--to", str(tmp_path / "out")])
    assert result.exit_code != 0
    assert "ensemble:features cannot be exported" in f"{result.output}{result.exception}"


def test_the_folders_name_no_machine_and_are_small():
    files = [path for path in FOLDERS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    for path in files:
        assert not re.search(rb'["\s]/[a-z]+/', path.read_bytes()), path  # no absolute path
