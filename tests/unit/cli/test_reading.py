from __future__ import annotations

import pytest
import typer

from esm.cli.reading import ReadingOptions
from esm.common.errors import SettingError
from esm.tasks.spec import ColumnSpec, SplitMethod, SplitSpec
from esm.tasks.specfile import read_spec
from tests.toy_folders import write_target, write_task


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
