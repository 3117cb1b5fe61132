import json

import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.common.errors import TaskError
from esm.tasks.load import load_target
from esm.tasks.spec import ColumnSpec, RareClasses, SplitMethod, SplitSpec, TaskSpec
from esm.tasks.specfile import read_spec

WHOLE = """
# Príspevky zo sociálnych sietí
file = "dáta/prispevky.csv"
id = "prispevky"
text = "príspevok"
attributes = ["postoj", "závažnosť"]
encoding = "cp1250"
delimiter = "\\t"
language = "sk"
licence = "CC BY-NC 4.0"

[split]
method = "grouped"
group = "autor"
test_share = 0.25
seed = 3

[columns."závažnosť"]
kind = "ordinal"
order = [1, 2.0, "tri"]
min_per_class = 5
rare = "merge"

[columns.postoj]
metric = "accuracy"
"""


def write(folder, content, encoding="utf-8"):
    path = folder / "prispevky.toml"
    path.write_bytes(content.encode(encoding))
    return path


def test_the_keys_are_the_fields_of_a_specification(tmp_path):
    assert read_spec(write(tmp_path, WHOLE)) == TaskSpec(
        location=str(tmp_path / "dáta" / "prispevky.csv"),
        id="prispevky",
        text="príspevok",
        attributes=("postoj", "závažnosť"),
        encoding="cp1250",
        delimiter="\t",
        language="sk",
        licence="CC BY-NC 4.0",
        split=SplitSpec(method=SplitMethod.GROUPED, group="autor", test_share=0.25, seed=3),
        columns={
            "závažnosť": ColumnSpec(
                kind="ordinal", order=("1", "2", "tri"), min_per_class=5, rare=RareClasses.MERGE
            ),
            "postoj": ColumnSpec(metric="accuracy"),
        },
    )


def test_paths_are_relative_to_the_file_and_ids_of_the_hub_stay(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a", 'file = "../posts.csv"\ntest = "test.jsonl"')
    found = read_spec(path.relative_to(tmp_path))
    assert found.location == str(tmp_path / "posts.csv")
    assert found.test == str(tmp_path / "a" / "test.jsonl")
    assert read_spec(write(tmp_path, 'file = "owner/name"')).location == "owner/name"
    absent = str(tmp_path / "data" / "x.csv")
    assert read_spec(write(tmp_path, 'file = "data/x.csv"')).location == absent
    assert read_spec(write(tmp_path, 'file = "a/x"')).location == str(tmp_path / "a" / "x")


def test_an_editor_may_have_put_a_byte_order_mark(tmp_path):
    assert read_spec(write(tmp_path, 'file = "a.csv"', "utf-8-sig")).path.name == "a.csv"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("atributes = []", r"unknown key 'atributes'; expected one of file, id, text, .*"
         r"did you mean 'attributes'\?"),
        ('location = "x"', r"unknown key 'location'; .*did you mean 'file'\?"),
        ("xyzzy = 1", r"unknown key 'xyzzy'; .*try: leave it out"),
        ('[split]\ngroups = "a"', r"'groups' in \[split\]; expected one of .*mean 'group'\?"),
        ("[columns.a]\nkinds = 1", r"'kinds' in \[columns\.a\]; .*mean 'kind'\?"),
        ('attributes = "a"', "attributes: Input should be a valid tuple"),
        ("[split]\ntest_share = 2", "split.test_share: Input should be less than 1"),
        ('[split]\nmethod = "random"', "split.method: Input should be 'auto', 'stratified'"),
        ('[columns.a]\nrare = "drop"', "columns.a.rare: Input should be 'keep', 'leave-out'"),
        ('columns = "a"', "columns: Input should be a valid dictionary"),
        ("split = 3", "split: Input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_keys_and_values_that_are_wrong(tmp_path, content, message):
    path = write(tmp_path, 'file = "a.csv"\n' + content)
    with pytest.raises(TaskError, match=message) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_specification(tmp_path):
    with pytest.raises(TaskError, match="does not say which data it describes; expected a key"):
        read_spec(write(tmp_path, 'text = "a"'))
    with pytest.raises(TaskError, match=r"file: Input should be a valid string"):
        read_spec(write(tmp_path, "file = 3"))
    with pytest.raises(TaskError, match=r"is no TOML: .*line 2.*put quotes around"):
        read_spec(write(tmp_path, 'file = "a.csv"\nzdroj údajov = 1'))
    with pytest.raises(TaskError, match="is not utf-8: byte"):
        read_spec(write(tmp_path, 'file = "čaj.csv"', "cp1250"))
    with pytest.raises(TaskError, match=r"no file .*expected a specification in TOML"):
        read_spec(tmp_path / "absent.toml")


def test_a_specification_in_place_of_data_says_how_to_read_it(tmp_path):
    path = write(tmp_path, 'file = "a.csv"')
    with pytest.raises(TaskError, match=r"is a \.toml file; .*specfile\.read_spec"):
        load_target(TaskSpec(location=str(path)))


def test_a_verb_takes_a_specification_in_place_of_the_data(tmp_path):
    rows = [f"Príspevok číslo {i};{'áno' if i % 2 else 'nie'};{i % 3}" for i in range(40)]
    (tmp_path / "p.csv").write_bytes("\n".join(["text;postoj;miera", *rows]).encode("cp1250"))
    path = write(tmp_path, 'file = "p.csv"\nattributes = ["postoj"]\nlicence = "CC0"')

    def shown(*options):
        result = CliRunner().invoke(app, ["tasks", "show", str(path), "--json", *options])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    attributes = shown()["attributes"]
    assert list(attributes) == ["postoj"]
    assert attributes["postoj"]["metadata"]["license"] == "CC0"
    assert list(shown("--attribute", "miera,postoj")["attributes"]) == ["miera", "postoj"]
