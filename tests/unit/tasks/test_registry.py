import json
import re
import subprocess
import sys
import zipfile

import datasets
import pytest
from datasets import Dataset, DatasetDict
from typer.testing import CliRunner

from esm.cli.app import app
from esm.cli.reading import ReadingOptions
from esm.common.errors import TaskError
from esm.tasks.formats.hub import is_hub_id
from esm.tasks.licences import Terms
from esm.tasks.load import load_target
from esm.tasks.registry import PREFIX, find, registry
from esm.tasks.task import Problem, Task
from tests.paths import ROOT

ROWS = {"text": [f"post {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}


@pytest.fixture
def hub(monkeypatch):
    """A Hub whose datasets all have the columns text and label; returns what was asked of it."""
    asked = {}

    def load_dataset(path, name=None, revision=None, **options):
        asked.update(path=path, name=name, revision=revision)
        rows = Dataset.from_dict(ROWS)
        return DatasetDict(train=rows, test=rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_every_entry_is_whole_and_says_where_it_was_checked():
    entries = registry()
    assert len(entries) >= 30
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert is_hub_id(entry.hub), entry.name
        assert entry.kind in {problem.value for problem in Problem}, entry.name
        assert re.fullmatch(r"[a-z]{2}", entry.language), entry.name
        assert entry.checked.startswith("https://"), entry.name
        assert entry.licence, entry.name
        assert entry.good_for, entry.name
        assert re.fullmatch(r"[a-z0-9-]+", entry.name), entry.name
        assert entry.revision is None or re.fullmatch(r"[0-9a-f]{40}", entry.revision), entry.name


def test_there_are_sources_for_what_this_is_for():
    entries = registry()
    assert {"sk", "cs", "bg", "pl"} <= {entry.language for entry in entries}
    assert {Terms.COMMERCIAL, Terms.NON_COMMERCIAL, Terms.UNKNOWN} == {e.terms for e in entries}
    assert any(entry.text_pair for entry in entries)


def test_an_entry_is_a_specification():
    entry = find("registry:slovak-hate")
    spec = entry.spec()
    assert (spec.location, spec.id, spec.registry) == (entry.hub, entry.name, entry.name)
    assert (spec.text, spec.attributes, spec.kind) == ("text", ("label",), "classification")
    assert (spec.language, spec.licence) == ("sk", "CC BY-SA 4.0")
    assert spec.revision == entry.revision


def test_a_name_that_is_not_there_gets_the_nearest_ones():
    with pytest.raises(TaskError, match=r"no entry 'slovak-hat'.*slovak-hate.*--registry"):
        find("registry:slovak-hat")


def test_an_entry_stands_for_a_location_and_options_override_it():
    options = ReadingOptions(revision="main", attribute=["other"], split_seed=3)
    (spec,) = options.specs([PREFIX + "slovak-hate"])
    assert spec.location == "TUKE-KEMT/hate_speech_slovak"
    assert (spec.revision, spec.attributes, spec.text) == ("main", ("other",), "text")
    assert (spec.kind, spec.language, spec.split.seed) == ("classification", "sk", 3)
    assert ReadingOptions().spec("registry:mrpc") == find("mrpc").spec()
    assert ReadingOptions().spec("registry:mrpc", identifier="mine").id == "mine"


def test_an_entry_is_loaded_with_its_language_and_licence(hub):
    target = load_target(find("slovak-hate").spec())
    assert target.id == "slovak-hate"
    task: Task = target.attributes["label"]
    assert (task.metadata.language, task.metadata.license) == ("sk", "CC BY-SA 4.0")
    assert hub["path"] == "TUKE-KEMT/hate_speech_slovak"
    assert hub["revision"] == find("slovak-hate").revision


@pytest.mark.parametrize(("name", "column"), [("emotion", None), ("liar", "statement")])
def test_a_column_that_is_gone_is_an_error_that_names_the_entry(hub, name, column):
    spec = find(name).spec()
    if column is None:
        load_target(spec)
        return
    with pytest.raises(
        TaskError, match=rf"registry entry '{name}' names column '{column}'.*'text', 'label'.*--rev"
    ):
        load_target(spec)


@pytest.mark.slow
@pytest.mark.network
def test_the_registry_and_the_launcher_are_in_the_wheel(tmp_path):
    options = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *options], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"esm/data/registry.toml", "esm/py.typed", "esm/cli/app.py", "esm_transfer.py"} <= names
    assert not any(name.startswith("esm/data/") and name.endswith(".csv") for name in names)


def test_the_registry_is_listed_with_where_each_entry_was_checked():
    result = CliRunner().invoke(app, ["--quiet", "tasks", "ls", "--registry", "--json"])
    listed = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert set(listed) == {entry.name for entry in registry()}
    assert listed["slovak-films"]["terms"] == "non-commercial"
    assert listed["slovak-films"]["checked"].startswith("https://")
    table = CliRunner().invoke(app, ["--quiet", "tasks", "ls", "--registry", "--wide"]).stdout
    assert "CC BY-NC-SA 4.0 (non-commercial)" in table


def test_to_list_nothing_is_an_error_that_names_the_registry():
    result = CliRunner().invoke(app, ["tasks", "ls"])
    assert result.exit_code == 2
    assert "--registry" in result.output
