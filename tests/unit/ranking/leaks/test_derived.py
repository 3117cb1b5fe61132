"""Which sources were made of the target's own data, and which sources saw its test texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esm.common.storage import save_tensors
from esm.pool.fingerprints import FINGERPRINT_NAME, Fingerprint, FingerprintKey
from esm.pool.pool import PoolEntry
from esm.ranking.leaks.derived import DerivedSources
from esm.tasks.identity import unsalted_numbers
from esm.tasks.load import load_targets, load_tasks
from esm.tasks.spec import SplitSpec, TaskSpec
from tests.small_world import source_record

KEY = FingerprintKey(bytes(range(32)), np.zeros(8, dtype=np.float32))


def write(path, name="príspevok", rows=range(60)):
    rows = [f"{name} {i},{'ab'[i % 2]},{'xyz'[i % 3]}" for i in rows]
    path.write_text("\n".join(["text,tón,téma", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def spec(tmp_path):
    return TaskSpec(location=str(write(tmp_path / "posts.csv")), attributes=("tón", "téma"))


def embed(rows):
    return np.ones((len(rows), 8), dtype=np.float32)


def keep_unsalted(folder, task):
    """Keep the numbers of the training texts as earlier versions did."""
    save_tensors(folder / FINGERPRINT_NAME, {"keys": np.unique(unsalted_numbers(task.train.texts))})


def keep(folder, task):
    Fingerprint.of(KEY, task, embed).save(folder, KEY)


def entries_of(spec, folder=None, keeper=keep):
    """The pool's entries as training on every attribute would make them, by attribute.

    With a folder, they keep numbers of their texts there, as all new ones do.
    """
    loaded = load_tasks(spec)
    if folder is not None:
        for _, task in loaded:
            keeper(folder / task.id, task)
    return {
        single.attributes[0]: PoolEntry(
            source_record(task.id, single),
            folder=(folder or Path("nowhere")) / task.id,
            manifest=None,
        )
        for single, task in loaded
    }


def test_siblings_of_one_stored_split_are_clean(spec):
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    for entry in entries_of(spec).values():
        assert siblings.includes(entry)
        for attribute in spec.attributes:
            assert siblings.refusal(entry, attribute) is None


def test_a_sibling_of_another_split_has_seen_test_texts(spec):
    siblings = DerivedSources(spec, load_targets(spec), KEY)
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
    siblings = DerivedSources(folds, load_targets(folds), KEY)
    assert siblings.refusal(entries_of(spec)["téma"], "tón") == (
        "its training rows hold 48 test texts of the target"
    )


def test_the_file_of_test_rows_is_the_targets_too(spec, tmp_path):
    test = write(tmp_path / "test.csv", "nový")
    with_test = spec.model_copy(update={"test": str(test)})
    siblings = DerivedSources(with_test, load_targets(with_test), KEY)
    trained_on_test = entries_of(spec.model_copy(update={"location": str(test)}))["téma"]
    assert "hold 48 test texts" in siblings.refusal(trained_on_test, "tón")
    # All rows of the other file are training rows of the target.
    assert siblings.refusal(entries_of(spec)["téma"], "tón") is None


def test_a_sibling_by_name_lies_elsewhere(spec, tmp_path):
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    copied = write(tmp_path / "copy.csv")
    options = {"location": str(copied), "id": "posts", "split": SplitSpec(method="k-fold")}
    entry = entries_of(spec.model_copy(update=options))["téma"]
    assert entry.id == "posts/tema"
    assert "hold 12 test texts" in siblings.refusal(entry, "tón")


def test_a_copy_under_another_name_is_a_sibling(spec, tmp_path):
    """Found by the numbers of its texts; the file it came from need not be there any more."""
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    copied = write(tmp_path / "copy.csv")
    for keeper in (keep, keep_unsalted):
        options = {"location": str(copied), "split": SplitSpec(seed=1)}
        folder = tmp_path / keeper.__name__
        entry = entries_of(spec.model_copy(update=options), folder, keeper)["téma"]
        assert siblings.includes(entry)
        assert "test texts of the target" in siblings.refusal(entry, "tón")
        siblings = DerivedSources(spec, load_targets(spec), KEY)
    copied.unlink()


def test_a_source_that_shares_some_texts_is_no_sibling_and_not_refused(spec, tmp_path):
    """A third of the texts: some are test texts, and what is shared is told elsewhere."""
    other = write(tmp_path / "other.csv", rows=range(40, 100))
    everything = SplitSpec(method="k-fold", folds=2)
    options = {"location": str(other), "split": everything}
    entry = entries_of(spec.model_copy(update=options), tmp_path / "pool")["téma"]
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    assert not siblings.includes(entry)
    assert siblings.refusal(entry, "tón") is None
    matches = siblings.matches(entry)
    assert matches.share == 20 / 60
    test = load_targets(spec)[0].attributes["tón"].test.texts
    assert matches.seen_tests("tón") == sum(int(text.split()[1]) >= 40 for text in test) > 0


def test_a_sibling_may_know_test_texts_that_the_target_trains_on_itself(tmp_path):
    """The same post comes twice, with another address: the split tells them apart, we do not."""
    lines = [f"post number {i} https://t.co/{j}" for i in range(20) for j in (0, 1)]
    rows = [f"{line},{'ab'[i % 2]},{'xyz'[i % 3]}" for i, line in enumerate(lines)]
    path = tmp_path / "posts.csv"
    path.write_text("\n".join(["text,tón,téma", *rows]) + "\n", encoding="utf-8")
    spec = TaskSpec(location=str(path), attributes=("tón", "téma"))
    targets = load_targets(spec)
    forms = [
        {text.split(" https")[0] for text in examples.texts}
        for examples in (targets[0].attributes["tón"].train, targets[0].attributes["tón"].test)
    ]
    assert forms[0] & forms[1], "the split would have to put a copy on either side"
    entry = entries_of(spec, tmp_path / "pool")["téma"]
    siblings = DerivedSources(spec, targets, KEY)
    assert siblings.matches(entry) is not None
    assert siblings.refusal(entry, "tón") is None


def test_numbers_of_texts_tell_the_same_as_the_texts(spec, tmp_path):
    for seed in (0, 1):
        drawn = spec.model_copy(update={"split": SplitSpec(seed=seed)})
        reasons = {
            DerivedSources(spec, load_targets(spec), KEY).refusal(entries["téma"], "tón")
            for entries in (
                entries_of(drawn),
                entries_of(drawn, tmp_path / "salted"),
                entries_of(drawn, tmp_path / "unsalted", keep_unsalted),
            )
        }
        assert len(reasons) == 1


def test_without_the_key_a_sibling_is_read_again_and_others_are_not_known(spec, tmp_path):
    drawn = spec.model_copy(update={"split": SplitSpec(seed=1)})
    keyless = DerivedSources(spec, load_targets(spec))
    assert "test texts" in keyless.refusal(entries_of(drawn, tmp_path)["téma"], "tón")
    other = spec.model_copy(update={"location": str(write(tmp_path / "other.csv", "iný"))})
    entry = entries_of(other, tmp_path / "others")["téma"]
    assert keyless.matches(entry) is None
    assert keyless.refusal(entry, "tón") is None


def test_sources_without_texts_of_the_target_are_never_read_again(spec, tmp_path):
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    other = write(tmp_path / "other.csv", "iný")
    options = spec.model_copy(update={"location": str(other)})
    found = [entries_of(options)["téma"], entries_of(options, tmp_path / "pool")["téma"]]
    other.unlink()
    for entry in found:
        assert not siblings.includes(entry)
        assert siblings.refusal(entry, "tón") is None


def test_damaged_numbers_of_texts_refuse_the_source(spec, tmp_path):
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    entry = entries_of(spec, tmp_path)["téma"]
    (entry.folder / FINGERPRINT_NAME).write_bytes(b"half")
    assert "cannot be told" in siblings.refusal(entry, "tón")
    assert "truncated" in siblings.refusal(entry, "tón")


def test_what_cannot_be_told_is_refused(spec, tmp_path):
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    changed, gone = entries_of(spec).values()
    record = changed.record.model_copy(update={"task_hash": "other"})
    changed = PoolEntry(record, changed.folder, changed.manifest)
    reason = siblings.refusal(changed, "tón")
    assert "cannot be told: its rows have changed since it was trained" in reason
    (tmp_path / "posts.csv").unlink()
    assert "cannot be told: nothing at" in siblings.refusal(gone, "tón")
