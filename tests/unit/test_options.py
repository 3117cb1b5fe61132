from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from esm.errors import SettingError
from esm.options import ReadingOptions, commas, grouped, write_out
from esm.settings import EncoderConfig, FineTuneConfig, checked


@dataclass(frozen=True)
class Colours:
    first: Annotated[str, typer.Option(help="One.")] = "red"
    second: Annotated[int, typer.Option("--other", help="Two.")] = 2


def test_a_dataclass_parameter_is_spread_into_options_and_handed_over_whole():
    got = {}

    @grouped
    def paint(wall: Annotated[str, typer.Argument()], colours: Colours, wet: bool = False) -> None:
        """Paint."""
        got.update(wall=wall, colours=colours, wet=wet)

    assert list(inspect.signature(paint).parameters) == ["wall", "first", "second", "wet"]
    assert paint.__doc__ == "Paint."
    paint(wall="north", first="blue", second=3, wet=True)
    assert got == {"wall": "north", "colours": Colours("blue", 3), "wet": True}


def test_commas_and_repetition():
    assert commas(["a,b", " c ", ""]) == ("a", "b", "c")
    assert commas(None) == ()


def test_paths_become_absolute_and_hub_ids_stay(tmp_path, monkeypatch):
    (tmp_path / "posts.csv").write_text("x", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = ReadingOptions(attribute=["a,b"], test="posts.csv")
    spec = options.spec("posts.csv", identifier="mine")
    assert spec.location == str(tmp_path / "posts.csv") == spec.test
    assert spec.attributes == ("a", "b")
    assert spec.id == "mine"
    assert options.spec("owner/name").location == "owner/name"


def test_out_writes_csv_or_json_by_the_ending(tmp_path):
    records = [{"source": "a", "score": 0.1}, {"source": "b", "score": 1 / 3}]
    write_out(tmp_path / "x.csv", {}, records)
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == (
        "source,score\na,0.1\nb,0.3333333333333333\n"
    )
    write_out(tmp_path / "x.json", {"n": 1}, records)
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n "n": 1\n}\n'
    write_out(None, {}, records)


def test_settings_name_the_value_that_is_wrong():
    with pytest.raises(SettingError, match=r"max_length = '3'; expected .*greater than or equal"):
        checked(EncoderConfig, {"max_length": "3"})
    with pytest.raises(SettingError, match=r"preset 'wild'; expected default or paper"):
        FineTuneConfig.preset("wild")


def test_the_published_preset():
    paper = FineTuneConfig.preset("paper")
    assert (paper.num_epochs, paper.batch_size, paper.learning_rate) == (3, 32, 2e-5)
    assert paper.max_examples == 10_000
