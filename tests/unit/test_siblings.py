"""Which sources were made of the target's own data, and which of them saw its test texts."""

from __future__ import annotations

import pytest

from esm.pool import PoolEntry, SourceRecord
from esm.settings import FineTuneConfig
from esm.siblings import Siblings
from esm.tasks.read import load_targets, load_tasks
from esm.tasks.spec import SplitSpec, TaskSpec


def write(path, name="príspevok"):
    rows = [f"{name} {i},{'ab'[i % 2]},{'xyz'[i % 3]}" for i in range(60)]
    path.write_text("\n".join(["text,tón,téma", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def spec(tmp_path):
    return TaskSpec(location=str(write(tmp_path / "posts.csv")), attributes=("tón", "téma"))


def entries_of(spec):
    """The pool's entries as training on every attribute would make them, by attribute."""
    return {
        single.attributes[0]: PoolEntry(
            SourceRecord(
                id=task.id,
                config_hash="c",
                task=single,
                task_hash=task.content_hash(),
                problem=task.problem,
                metric=task.metric,
                label_names=task.label_names,
                metadata=task.metadata,
                is_pair=False,
                num_train=len(task.train),
                num_used=len(task.train),
                fine_tune=FineTuneConfig(),
                quality={},
                maps={},
                seconds={},
            ),
            folder=None,
            manifest=None,
        )
        for single, task in load_tasks(spec)
    }


def test_siblings_of_one_stored_split_are_clean(spec):
    siblings = Siblings(spec, load_targets(spec))
    for entry in entries_of(spec).values():
        assert siblings.includes(entry)
        for attribute in spec.attributes:
            assert siblings.refusal(entry, attribute) is None


def test_a_sibling_of_another_split_has_seen_test_texts(spec):
    siblings = Siblings(spec, load_targets(spec))
    other = spec.model_copy(update={"split": SplitSpec(seed=1)})
    targets = load_targets(other)
    own_test = set(load_targets(spec)[0].attributes["tón"].test.texts)
    seen = len(own_test & set(targets[0].attributes["téma"].train.texts))
    assert seen > 0
    assert siblings.refusal(entries_of(other)["téma"], "tón") == (
        f"its training rows hold {seen} test texts of the target"
    )


def test_every_text_of_a_target_in_folds_is_a_test_text(spec):
    folds = spec.model_copy(update={"split": SplitSpec(method="k-fold", folds=3)})
    siblings = Siblings(folds, load_targets(folds))
    assert siblings.refusal(entries_of(spec)["téma"], "tón") == (
        "its training rows hold 48 test texts of the target"
    )


def test_the_file_of_test_rows_is_the_targets_too(spec, tmp_path):
    test = write(tmp_path / "test.csv", "nový")
    with_test = spec.model_copy(update={"test": str(test)})
    siblings = Siblings(with_test, load_targets(with_test))
    trained_on_test = entries_of(spec.model_copy(update={"location": str(test)}))["téma"]
    assert "hold 48 test texts" in siblings.refusal(trained_on_test, "tón")
    # All rows of the other file are training rows of the target.
    assert siblings.refusal(entries_of(spec)["téma"], "tón") is None


def test_a_sibling_by_name_lies_elsewhere(spec, tmp_path):
    siblings = Siblings(spec, load_targets(spec))
    copied = write(tmp_path / "copy.csv")
    options = {"location": str(copied), "id": "posts", "split": SplitSpec(method="k-fold")}
    entry = entries_of(spec.model_copy(update=options))["téma"]
    assert entry.id == "posts/tema"
    assert "hold 12 test texts" in siblings.refusal(entry, "tón")


def test_other_sources_are_not_read_at_all(spec, tmp_path):
    siblings = Siblings(spec, load_targets(spec))
    other = write(tmp_path / "other.csv")
    entry = entries_of(spec.model_copy(update={"location": str(other)}))["téma"]
    other.unlink()
    assert not siblings.includes(entry)
    assert siblings.refusal(entry, "tón") is None


def test_what_cannot_be_told_is_refused(spec, tmp_path):
    siblings = Siblings(spec, load_targets(spec))
    changed, gone = entries_of(spec).values()
    record = changed.record.model_copy(update={"task_hash": "other"})
    changed = PoolEntry(record, changed.folder, changed.manifest)
    reason = siblings.refusal(changed, "tón")
    assert "cannot be told: its rows have changed since it was trained" in reason
    (tmp_path / "posts.csv").unlink()
    assert "cannot be told: nothing at" in siblings.refusal(gone, "tón")
