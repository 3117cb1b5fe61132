"""All task folders and targets of the test data, where they are at hand."""

import json
import time

import pytest

from esm.common.errors import TaskError
from esm.tasks.load import load_target, load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Problem
from tests.paths import DATA

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="needs the test data (ESM_DATA, or ../shared/data)"
)


def folders(kind):
    paths = sorted((DATA / kind).iterdir()) if (DATA / kind).is_dir() else []
    return pytest.mark.parametrize("folder", paths, ids=lambda path: path.name)


def rows_of(task):
    return {split.value: len(examples) for split, examples in task.splits.items()}


def rows_stated(description):
    keys = {split: f"{split}_rows" for split in ("train", "validation", "test")}
    return {split: description[key] for split, key in keys.items() if key in description}


@folders("tasks")
def test_task_folders(folder):
    stated = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    spec = TaskSpec(location=str(folder))
    task = load_task(spec)
    assert task.id == stated["id"]
    assert task.metric == stated["metric"]
    assert task.label_names == tuple(stated["label_names"])
    assert task.is_pair == stated["task_type"].startswith("pair-")
    assert (task.problem is Problem.REGRESSION) == stated["task_type"].endswith("regression")
    assert rows_of(task) == rows_stated(stated)
    assert not task.dropped
    for name, count in stated.get("train_label_counts", {}).items():
        assert (task.train.labels == task.label_names.index(name)).sum() == count


@folders("targets")
def test_targets(folder):
    stated = json.loads((folder / "target.json").read_text(encoding="utf-8"))
    target = load_target(TaskSpec(location=str(folder)))
    assert target.id == stated["id"]
    assert list(target.attributes) == list(stated["attributes"])
    assert not target.skipped
    total = sum(rows_stated(stated).values())
    for name, task in target.attributes.items():
        unannotated = stated["attributes"][name]["not_annotated"]
        not_in_train = task.dropped.get("label not in train", 0)
        assert sum(rows_of(task).values()) == total - unannotated - not_in_train
        assert task.dropped.get("no label", 0) == unannotated
        assert set(task.label_names) <= set(stated["attributes"][name]["labels"])


@folders("targets")
def test_the_binary_reading(folder):
    stated = json.loads((folder / "target.json").read_text(encoding="utf-8"))["attributes"]
    spec = TaskSpec(location=str(folder), reading="binary")
    if not any("binary" in attribute for attribute in stated.values()):
        with pytest.raises(TaskError, match="no reading 'binary'"):
            load_target(spec)
        return
    for name, task in load_target(spec).attributes.items():
        counts = stated[name]["counts"]
        kept = [label for label, read in stated[name]["binary"].items() if read is not None]
        assert task.label_names == ("no", "yes")
        assert sum(rows_of(task).values()) == sum(counts[label] for label in kept)


def test_a_large_folder_loads_in_well_under_a_second():
    spec = TaskSpec(location=str(DATA / "tasks" / "goemotions"))
    load_task(spec)
    started = time.perf_counter()
    load_task(spec)
    assert time.perf_counter() - started < 1.0
