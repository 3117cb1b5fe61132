"""Which sources were made of the target's own data, and which sources saw its test texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from esm.pool import PoolEntry
from esm.seen import SEEN_NAME, numbers, store_seen
from esm.siblings import Siblings
from esm.tasks.read import load_targets, load_tasks
from esm.tasks.spec import SplitSpec, TaskSpec
from tests.small_world import source_record


def write(path, name="príspevok"):
    rows = [f"{name} {i},{'ab'[i % 2]},{'xyz'[i % 3]}" for i in range(60)]
    path.write_text("\n".join(["text,tón,téma", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def spec(tmp_path):
    return TaskSpec(location=str(write(tmp_path / "posts.csv")), attributes=("tón", "téma"))


def entries_of(spec, folder=None):
    """The pool's entries as training on every attribute would make them, by attribute.

    With a folder, they keep numbers of their texts there, as all new ones do.
    """
    loaded = load_tasks(spec)
    if folder is not None:
        for _, task in loaded:
            store_seen(folder / task.id, task.train)
    return {
        single.attributes[0]: PoolEntry(
            source_record(task.id, single),
            folder=(folder or Path("nowhere")) / task.id,
            manifest=None,
        )
        for single, task in loaded
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


def test_a_copy_under_another_name_has_seen_test_texts(spec, tmp_path):
    """Found by the numbers of its texts; the file it came from need not be there any more."""
    siblings = Siblings(spec, load_targets(spec))
    copied = write(tmp_path / "copy.csv")
    options = {"location": str(copied), "split": SplitSpec(seed=1)}
    entry = entries_of(spec.model_copy(update=options), tmp_path / "pool")["téma"]
    copied.unlink()
    assert not siblings.includes(entry)
    assert "test texts of the target" in siblings.refusal(entry, "tón")


def test_numbers_of_texts_tell_the_same_as_the_texts(spec, tmp_path):
    for seed in (0, 1):
        drawn = spec.model_copy(update={"split": SplitSpec(seed=seed)})
        reasons = {
            Siblings(spec, load_targets(spec)).refusal(entries["téma"], "tón")
            for entries in (entries_of(drawn), entries_of(drawn, tmp_path))
        }
        assert len(reasons) == 1


def test_sources_without_texts_of_the_target_are_never_read_again(spec, tmp_path):
    siblings = Siblings(spec, load_targets(spec))
    other = write(tmp_path / "other.csv", "iný")
    options = spec.model_copy(update={"location": str(other)})
    found = [entries_of(options)["téma"], entries_of(options, tmp_path / "pool")["téma"]]
    other.unlink()
    for entry in found:
        assert not siblings.includes(entry)
        assert siblings.refusal(entry, "tón") is None


def test_numbers_of_texts_are_private_and_small(spec, tmp_path):
    entry = entries_of(spec, tmp_path)["téma"]
    file = entry.folder / SEEN_NAME
    assert len(entry.seen_texts()) == 48
    assert file.stat().st_size < 48 * 8 + 200
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    assert entry.seen_texts() is None
    assert numbers(["ff" * 16]) == {2**64 - 1}


def test_damaged_numbers_of_texts_refuse_the_source(spec, tmp_path):
    siblings = Siblings(spec, load_targets(spec))
    entry = entries_of(spec, tmp_path)["téma"]
    (entry.folder / SEEN_NAME).write_bytes(b"half")
    assert "cannot be told" in siblings.refusal(entry, "tón")
    assert "truncated" in siblings.refusal(entry, "tón")


def test_what_cannot_be_told_is_refused(spec, tmp_path):
    siblings = Siblings(spec, load_targets(spec))
    changed, gone = entries_of(spec).values()
    record = changed.record.model_copy(update={"task_hash": "other"})
    changed = PoolEntry(record, changed.folder, changed.manifest)
    reason = siblings.refusal(changed, "tón")
    assert "cannot be told: its rows have changed since it was trained" in reason
    (tmp_path / "posts.csv").unlink()
    assert "cannot be told: nothing at" in siblings.refusal(gone, "tón")
