"""``esm predict`` and ``esm export`` as they are called."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from tests.toy_tasks import toy_task
from tests.trained_world import make_run


@pytest.fixture
def called(tmp_path, tiny_encoder, monkeypatch):
    """Call a verb on a run and a file of four texts in a folder of its own."""
    run = make_run(tmp_path / "run", tiny_encoder, {"téma": toy_task(), "b": toy_task(seed=1)})
    texts = ["the film was good", "the team was slow", "", "žltý čaj"]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.chdir(run.folder.parent)

    def call(*arguments):
        return CliRunner().invoke(app, [*arguments, "--quiet"])

    return call


def test_labels_go_to_the_file_and_the_summary_to_stdout(called, tmp_path):
    options = ("--attribute", "téma", "--abstain", "0.5", "--probabilities", "--device", "cpu")
    ended = called("predict", "run", "new.csv", "--out", "labels.csv", *options, "--json")
    assert ended.exit_code == 0, ended.stderr
    assert "written to labels.csv" in ended.stderr
    told = json.loads(ended.stdout)
    assert (told["rows"], told["empty"]) == (4, 1)
    assert told["attributes"]["téma"]["abstain_below"] == 0.5
    table = pd.read_csv(tmp_path / "labels.csv")
    assert list(table) == ["text", "téma", "téma_confidence", "téma_p_a", "téma_p_b", "téma_p_c"]


def test_the_table_of_labels(called):
    ended = called("predict", "run", "new.csv", "--out", "labels.parquet", "--device", "cpu")
    assert ended.exit_code == 0, ended.stderr
    assert "rows without a text, which have no label: 1" in ended.stdout
    assert "licences of the data that the models were trained on: posts: not stated" in ended.stdout


def test_texts_that_a_specification_describes(called, tmp_path):
    (tmp_path / "nové.txt").write_bytes("i\tčlánok\n1\tžltý čaj\n2\tťava\n".encode("cp1250"))
    toml = 'file = "nové.txt"\ntext = "článok"\nencoding = "cp1250"\ndelimiter = "\\t"\n'
    (tmp_path / "nové.toml").write_text(toml, encoding="utf-8")
    ended = called("predict", "run", "nové.toml", "--out", "labels.csv", "--device", "cpu")
    assert ended.exit_code == 0, ended.stderr
    table = pd.read_csv(tmp_path / "labels.csv")
    assert list(table["článok"]) == ["žltý čaj", "ťava"]
    assert table["téma"].notna().all()


def test_a_tab_between_cells_is_called_tab(called, tmp_path):
    (tmp_path / "new.txt").write_text("i,j\ttext\n1,2\ta good film\n", encoding="utf-8")
    options = ("--delimiter", "tab", "--device", "cpu")
    ended = called("predict", "run", "new.txt", "--out", "labels.csv", *options)
    assert ended.exit_code == 0, ended.stderr
    assert list(pd.read_csv(tmp_path / "labels.csv"))[:2] == ["i,j", "text"]


def test_what_cannot_be_written_is_refused_first(called):
    ended = called("predict", "gone", "gone.csv", "--out", "labels.txt")
    assert ended.exit_code == 2
    assert ".csv, .jsonl, .parquet" in " ".join(ended.stderr.split())


def test_the_file_with_the_texts_is_not_overwritten(called, tmp_path):
    before = (tmp_path / "new.csv").read_bytes()
    ended = called("predict", "run", "new.csv", "--out", str(tmp_path / "new.csv"))
    assert ended.exit_code == 2
    assert "is the file with the texts; expected another one" in " ".join(ended.stderr.split())
    assert (tmp_path / "new.csv").read_bytes() == before


def test_a_folder_that_is_no_run(called):
    ended = called("predict", ".", "new.csv", "--out", "labels.csv")
    assert ended.exit_code == 1
    assert "esm: no result of a run in ." in ended.stderr


def test_export_names_the_folders(called, tmp_path):
    ended = called("export", "run", "--to", "out", "--json")
    assert ended.exit_code == 0, ended.stderr
    folders = [one["folder"] for one in json.loads(ended.stdout)["exported"]]
    assert folders == ["out/tema", "out/b"]
    assert (tmp_path / "out" / "tema" / "README.md").is_file()
    ended = called("export", "run", "--to", "out")
    assert ended.exit_code == 1
    assert "out/tema is there already" in ended.stderr


def test_pre_annotations_for_a_tool(called, tmp_path):
    chosen = ("--format", "label-studio", "--device", "cpu")
    ended = called("predict", "run", "new.csv", "--out", "labels.json", *chosen)
    assert ended.exit_code == 0, ended.stderr
    assert "written to labels.json, labels.xml" in ended.stderr
    tasks = json.loads((tmp_path / "labels.json").read_text(encoding="utf-8"))
    assert [len(task["predictions"]) for task in tasks] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("out", "kind", "said"),
    [
        ("labels.csv", "prodigy", "labels.csv ends in '.csv'; expected .jsonl"),
        ("labels.json", "table", "labels.json ends in '.json'; expected .csv, .jsonl, .parquet"),
        ("labels.csv", "brat", "'brat'; expected table, label-studio, doccano, prodigy"),
    ],
)
def test_a_file_that_a_format_cannot_be(called, tmp_path, out, kind, said):
    ended = called("predict", "run", "new.csv", "--out", out, "--format", kind)
    assert ended.exit_code == 2
    assert said in " ".join(ended.stderr.replace("│", " ").split())
    assert not (tmp_path / out).exists()
