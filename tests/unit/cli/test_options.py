from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from esm.cli.options import (
    OutFile,
    ReadingOptions,
    base_model,
    commas,
    grouped,
    parse_assignments,
    write_out,
)
from esm.common.errors import SettingError
from esm.common.records import build_settings
from esm.encoder.settings import EncoderConfig
from esm.tasks.spec import ColumnSpec, SplitMethod, SplitSpec
from esm.tasks.specfile import read_spec
from esm.training.settings import FineTuneConfig
from tests.toy_folders import write_target, write_task


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


def test_paths_become_absolute_and_hub_ids_stay(tmp_path, monkeypatch):
    (tmp_path / "posts.csv").write_text("x", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = ReadingOptions(attribute=["a,b"], test="posts.csv")
    spec = options.spec("posts.csv", identifier="mine")
    assert spec.location == str(tmp_path / "posts.csv") == spec.test
    assert spec.attributes == ("a", "b")
    assert spec.id == "mine"
    assert options.spec("owner/name").location == "owner/name"


def test_a_folder_of_task_folders_stands_for_them_in_order(tmp_path):
    for name in ("b", "a"):
        write_task(tmp_path / "all" / name)
    write_target(tmp_path / "all" / "c")
    (tmp_path / "all" / "notes").mkdir()
    options = ReadingOptions()
    places = [tmp_path / "all" / name for name in ("a", "b", "c")]
    found = options.specs([str(tmp_path / "all"), "owner/name"])
    assert [spec.location for spec in found] == [*map(str, places), "owner/name"]
    assert [spec.location for spec in options.specs([str(places[0])])] == [str(places[0])]
    assert [spec.location for spec in options.specs([str(tmp_path)])] == [str(tmp_path)]


@pytest.mark.parametrize(
    ("options", "identifier", "named"),
    [(ReadingOptions(test="t.csv"), None, "--test"), (ReadingOptions(), "mine", "--id")],
)
def test_what_describes_one_task_is_refused_for_several(options, identifier, named):
    assert options.specs(["a.csv"], identifier=identifier)[0].id == identifier
    with pytest.raises(typer.BadParameter, match="one task only, not with 2") as refusal:
        options.specs(["a.csv", "b.csv"], identifier=identifier)
    assert refusal.value.param_hint == named


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


def test_stored_splits_that_a_pattern_matches_are_no_tasks(tmp_path):
    for name in ("a.csv", "a.csv.split.json"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    specs = ReadingOptions().specs([str(path) for path in sorted(tmp_path.iterdir())])
    assert [spec.path.name for spec in specs] == ["a.csv"]


# ------------------------------------------------------------- specifications and their options


def test_a_specification_in_toml_is_read_and_options_come_first(tmp_path):
    path = tmp_path / "posts.toml"
    path.write_text(
        'file = "posts.csv"\ntext = "post"\nkind = "classification"\nattributes = ["a", "b"]\n'
        'language = "sk"\n[split]\nmethod = "k-fold"\nfolds = 4\nseed = 7\n'
        '[columns.a]\nkind = "ordinal"\n',
        encoding="utf-8",
    )
    plain = ReadingOptions().spec(str(path))
    assert plain == read_spec(path)
    assert (plain.split.seed, plain.kind, plain.reading) == (7, "classification", "as-is")
    options = ReadingOptions(
        text="text",
        attribute=["a"],
        reading="binary",
        kind="auto",
        language="cs",
        split_seed=0,
        repeats=3,
        group="author",
    )
    changed = options.spec(str(path), identifier="mine")
    assert changed == plain.model_copy(
        update={
            "id": "mine",
            "text": "text",
            "attributes": ("a",),
            "reading": "binary",
            "kind": "auto",
            "language": "cs",
            "split": SplitSpec(method=SplitMethod.K_FOLD, folds=4, repeats=3, group="author"),
        }
    )


def test_a_kind_comes_before_those_of_single_columns(tmp_path):
    path = tmp_path / "posts.toml"
    path.write_text(
        'file = "posts.csv"\n[columns.a]\nkind = "ordinal"\norder = ["x", "y"]\nmetric = "kappa"\n'
        '[columns.b]\nkind = "multi-label"\nseparator = "|"\n',
        encoding="utf-8",
    )
    assert ReadingOptions().spec(str(path)).columns["a"].kind == "ordinal"
    changed = ReadingOptions(kind="classification").spec(str(path)).columns["a"]
    # Kappa and separators are not for classes.
    assert changed == ColumnSpec(kind="classification", order=("x", "y"))
    single = ReadingOptions(kind="classification").spec(str(path)).columns["b"]
    assert single == ColumnSpec(kind="classification")
    same = ReadingOptions(kind="multi-label").spec(str(path)).columns["b"]
    assert same == ColumnSpec(kind="multi-label", separator="|")


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


def test_what_a_file_needs_to_be_read_can_be_said():
    options = ReadingOptions(encoding="cp1250", delimiter="tab", sheet="Dáta", language="sk")
    spec = options.spec("posts.csv")
    assert (spec.encoding, spec.delimiter, spec.sheet) == ("cp1250", "\t", "Dáta")
    assert spec.language == "sk"
    assert ReadingOptions(delimiter=r"\t").spec("posts.csv").delimiter == "\t"
    assert ReadingOptions(delimiter="|").spec("posts.csv").delimiter == "|"


@pytest.mark.parametrize(
    ("options", "split"),
    [
        ({}, SplitSpec()),
        (
            {"split": "stratified", "test_share": 0.3},
            SplitSpec(method="stratified", test_share=0.3),
        ),
        ({"group": "author"}, SplitSpec(method="grouped", group="author")),
        ({"split_column": "part"}, SplitSpec(method="column", column="part")),
        ({"folds": 3}, SplitSpec(method="k-fold", folds=3)),
        ({"repeats": 2, "group": "a"}, SplitSpec(method="k-fold", repeats=2, group="a")),
        ({"split": "auto", "group": "a"}, SplitSpec(group="a")),
        ({"split_seed": 5}, SplitSpec(seed=5)),
    ],
)
def test_options_of_the_split_imply_its_method(options, split):
    assert ReadingOptions(**options).spec("posts.csv").split == split


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "random"}, "method = 'random'; expected 'auto', 'stratified'"),
        ({"test_share": 1.5}, r"test_share = '1\.5'; expected less than 1"),
        ({"folds": 1}, "folds = '1'; expected greater than or equal to 2"),
    ],
)
def test_options_of_the_split_that_are_out_of_range(options, message):
    with pytest.raises(SettingError, match=message):
        ReadingOptions(**options).spec("posts.csv")


def test_a_file_is_left_out_where_its_specification_is_given_too(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text,label\n", encoding="utf-8")
    (tmp_path / "a.toml").write_text('file = "a.csv"\nid = "first"\n', encoding="utf-8")
    specs = ReadingOptions().specs([str(path) for path in sorted(tmp_path.iterdir())])
    assert [spec.id for spec in specs] == ["first", None]
    assert [spec.path.name for spec in specs] == ["a.csv", "b.csv"]
    assert len(ReadingOptions().specs(["a.csv", "a.csv"])) == 2
