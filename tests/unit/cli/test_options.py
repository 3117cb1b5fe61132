from __future__ import annotations

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from esm.cli.options import OutFile, base_model, commas, parse_assignments, write_out
from esm.common.errors import SettingError
from esm.common.records import build_settings
from esm.encoder.settings import EncoderConfig
from esm.training.settings import FineTuneConfig


def test_commas_and_repetition():
    assert commas(["a,b", " c ", ""]) == ("a", "b", "c")
    assert commas(None) == ()


def test_names_with_values():
    assert parse_assignments(["lora.rank=16, lora.alpha = 8", "dapt.corpus=a=b"]) == {
        "lora.rank": "16",
        "lora.alpha": "8",
        "dapt.corpus": "a=b",
    }
    assert parse_assignments(None) == {}
    with pytest.raises(SettingError, match=r"--set rank; expected NAME=VALUE"):
        parse_assignments(["rank"])


def test_a_comma_after_a_backslash_belongs_to_the_name():
    assert commas([r"harmful\, or not,other", r"a\,b"]) == ("harmful, or not", "other", "a,b")


def test_base_models_are_stored_so_that_they_are_found_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "bert").mkdir()
    (tmp_path / "offline").mkdir()
    monkeypatch.chdir(tmp_path)
    assert base_model("bert") == str(tmp_path / "bert")
    assert base_model("offline") == "offline"
    assert base_model("owner/bert") == "owner/bert"


def test_out_writes_csv_or_json_by_the_ending(tmp_path):
    records = [{"source": "a", "score": 0.1}, {"source": "b", "score": 1 / 3}]
    write_out(tmp_path / "x.csv", {}, records)
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == (
        "source,score\na,0.1\nb,0.3333333333333333\n"
    )
    write_out(tmp_path / "x.json", {"n": 1}, records)
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n "n": 1\n}\n'
    write_out(tmp_path / "x.parquet", {}, records)
    assert pd.read_parquet(tmp_path / "x.parquet").to_dict("records") == records
    write_out(None, {}, records)


def test_rows_may_differ_in_their_columns(tmp_path):
    write_out(tmp_path / "x.csv", {}, [{"source": "a", "f1": 0.5}, {"source": "b", "mae": 2}])
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == "source,f1,mae\na,0.5,\nb,,2\n"


def test_settings_name_the_value_that_is_wrong():
    with pytest.raises(SettingError, match=r"max_length = '3'; expected .*greater than or equal"):
        build_settings(EncoderConfig, {"max_length": "3"})
    with pytest.raises(SettingError, match=r"preset 'wild'; expected default or paper"):
        FineTuneConfig.preset("wild")


def test_the_published_preset():
    paper = FineTuneConfig.preset("paper")
    assert (paper.num_epochs, paper.batch_size, paper.learning_rate) == (3, 32, 2e-5)
    assert paper.max_examples == 10_000


@pytest.mark.parametrize("name", ["afile/r.json", "afile/deep/r.json"])
def test_a_file_that_could_not_be_written_is_refused_at_once(tmp_path, name):
    (tmp_path / "afile").write_text("x", encoding="utf-8")
    app = typer.Typer()

    @app.command()
    def work(out: OutFile = None) -> None:
        raise AssertionError("the work has begun")

    result = CliRunner().invoke(app, ["--out", str(tmp_path / name)])
    assert result.exit_code == 2
    said = " ".join(result.output.replace("│", " ").split())
    assert "is no folder that can be written to" in said
