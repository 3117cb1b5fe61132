"""Rows that are whole or absent, whatever happens to the process or the file."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from esm.common.errors import StorageError
from esm.metrics.evaluate import evaluate_rankings
from esm.trials.ledger import Ledger, RunKey, RunRow
from tests.paths import ROOT


def a_row(key="k1", **changes):
    values = {
        "key": key,
        "target": "posts",
        "attribute": "harmful",
        "source": "sst2",
        "strategy": "houlsby",
        "seed": 0,
        "source_seed": 3,
        "metric": "macro_f1",
        "value": 0.625,
        "metrics": {"macro_f1": 0.625, "accuracy": 0.75},
        "trained_parameters": 10,
        "total_parameters": 1000,
        "stored_parameters": 12,
        "num_train": 80,
        "num_test": 20,
        "seconds": 1.5,
        "config_hash": "c",
        "versions": {"esm": "0.1.0"},
    }
    return RunRow(**(values | changes))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "ledger.sqlite"


def test_rows_come_back_as_they_were(path):
    rows = [a_row("k2", source="none", source_seed=None), a_row("k1")]
    with Ledger(path) as ledger:
        for row in rows:
            ledger.record(row)
        assert ledger.get("k1") == rows[1]
        assert ledger.get("absent") is None
    with Ledger(path) as ledger:
        assert ledger.rows() == rows  # none before sst2
        assert ledger.rows(strategy="full") == []


@pytest.mark.parametrize("confusion", [[[3, 1], [0, 2]], [[[1, 2], [3, 4]]], None])
def test_the_confusion_comes_back_as_it_was(path, confusion):
    with Ledger(path) as ledger:
        ledger.record(a_row(confusion=confusion))
    with Ledger(path) as ledger:
        assert ledger.get("k1").confusion == confusion


def test_a_run_is_recorded_once(path):
    with Ledger(path) as ledger:
        ledger.record(a_row(value=0.5))
        ledger.record(a_row(value=0.9))
        assert [row.value for row in ledger.rows()] == [0.5]


def test_closing_leaves_one_private_file(path):
    with Ledger(path) as ledger:
        ledger.record(a_row())
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_texts_in_ids_are_data_not_sql(path):
    row = a_row(source="'); DROP TABLE runs; --")
    with Ledger(path) as ledger:
        ledger.record(row)
        assert ledger.rows() == [row]


def test_a_killed_writer_leaves_every_recorded_row_whole(path):
    """The child prints each key after its row is recorded; none of those may be missing."""
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from esm.trials.ledger import Ledger
        from tests.unit.trials.test_ledger import a_row

        ledger = Ledger(Path(sys.argv[1]))
        for number in range(10**9):
            ledger.record(a_row(f"k{number}", seed=number))
            print(number, flush=True)
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    for _ in range(25):
        recorded = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    rest = child.stdout.read().split("\n")[:-1]
    child.wait()
    child.stdout.close()
    recorded = int(rest[-1]) if rest else recorded
    with Ledger(path) as ledger:
        seeds = sorted(row.seed for row in ledger.rows())
    assert seeds == list(range(len(seeds)))
    assert len(seeds) in (recorded + 1, recorded + 2)


def test_the_truth_table_can_be_evaluated(path):
    with Ledger(path) as ledger:
        ledger.record(a_row("a0", source="a", value=0.4))
        ledger.record(a_row("a1", source="a", value=0.6, seed=1))
        ledger.record(a_row("b0", source="b", value=0.8))
        ledger.record(a_row("n0", source="none", source_seed=None, value=0.9))
        truth = ledger.to_truth()
        assert len(ledger.to_truth(keys=["a0", "b0"])) == 2
    assert list(truth.columns[:4]) == ["target", "source", "performance", "seed"]
    scores = pd.DataFrame({"target": "posts/harmful", "source": ["a", "b"], "score": [2.0, 1.0]})
    found = evaluate_rankings(scores, truth, ks=[1])
    assert found.targets["posts/harmful"]["regret@1"] == pytest.approx(37.5)


def test_an_empty_ledger_has_an_empty_table(path):
    with Ledger(path) as ledger:
        assert ledger.to_truth().empty


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_exported_tables_are_truth_tables(path, suffix):
    target = path.parent / f"truth.{suffix}"
    with Ledger(path) as ledger:
        ledger.record(a_row())
        ledger.record(a_row("none", source="none", source_seed=None))
        ledger.export(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    scores = pd.DataFrame({"target": ["posts/harmful"], "source": ["sst2"], "score": [1.0]})
    assert evaluate_rankings(scores, target, ks=[1]).targets["posts/harmful"]["regret@1"] == 0


def test_exported_json_holds_whole_rows(path):
    target = path.parent / "runs.json"
    with Ledger(path) as ledger:
        ledger.record(a_row())
        ledger.export(target)
        with pytest.raises(StorageError, match=r"ends in '\.xlsx'; expected \.csv, \.parquet"):
            ledger.export(path.parent / "runs.xlsx")
    (row,) = json.loads(target.read_text())
    assert RunRow(**row).metrics["accuracy"] == 0.75


# ----------------------------------------------------------------------------- damaged files


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"damaged \(file is not a database\); .*move it away"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_truncated_ledger_is_refused(path):
    with Ledger(path) as ledger:
        for number in range(200):
            ledger.record(a_row(f"k{number}"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StorageError, match=r"ledger .* is damaged"):
        Ledger(path).rows()


def test_a_row_that_was_edited_badly_is_named(path):
    with Ledger(path) as ledger:
        ledger.record(a_row("0123456789abcdef"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE runs SET metrics = 'oops'")
    connection.close()
    with Ledger(path) as ledger, pytest.raises(StorageError, match=r"damaged \(row 0123456789ab\)"):
        ledger.rows()


def test_another_format_and_other_databases_are_refused(path):
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StorageError, match="has format 7; expected format 3"):
        Ledger(path)
    other = path.parent / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StorageError, match="is an SQLite file of something else"):
        Ledger(other)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot use ledger .*; expected a writable local"):
        Ledger(tmp_path / "file" / "ledger.sqlite")


# -------------------------------------------------------------------------------------- keys

KEY = {
    "target": "posts",
    "attribute": "harmful",
    "target_hash": "t",
    "base": "b",
    "source": "sst2",
    "source_hash": "s",
    "source_seed": 0,
    "strategy": "houlsby",
    "transfer": {"num_epochs": 3},
    "max_train": None,
    "seed": 0,
}


@pytest.mark.parametrize(
    "change",
    [{name: "other"} for name in ("target", "attribute", "base", "source")]
    + [
        {"target_hash": "u"},
        {"source_hash": None},
        {"source_seed": 1},
        {"strategy": "full"},
        {"transfer": {"num_epochs": 4}},
        {"max_train": 100},
        {"seed": 1},
        {"fold": 0},
        {"format": 99},
    ],
)
def test_whatever_determines_a_run_changes_its_key(change):
    assert RunKey(**(KEY | change)).content_hash() != RunKey(**KEY).content_hash()


def test_runs_that_differ_in_source_and_seed_share_their_configuration():
    other = RunKey(
        **(KEY | {"source": "cola", "source_hash": "z", "source_seed": 5, "seed": 9, "fold": 2})
    )
    assert other.config_hash() == RunKey(**KEY).config_hash()
    assert RunKey(**(KEY | {"max_train": 10})).config_hash() != other.config_hash()
