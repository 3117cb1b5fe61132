from __future__ import annotations

import json

import numpy as np
import pytest
from transformers import AutoTokenizer

from esm.common.errors import BusyError, PoolError, StorageError, TaskError
from esm.common.storage import folder_lock, save_tensors
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.fit.ridge import r_squared
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig, restore_pool_anchors
from esm.pool.pool import Pool
from esm.tasks.identity import fingerprint_form
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import held_out
from esm.training.settings import FineTuneConfig
from tests.tiny_models import save_tiny
from tests.toy_folders import write_task

pytestmark = pytest.mark.slow

WORDS = ("cat", "dog", "sun")


def spec(path):
    return TaskSpec(location=str(path))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return [write_task(folder / word, word, seed=i) for i, word in enumerate(WORDS)]


def config(tiny_bert, **changes):
    settings = {
        "encoder": EncoderConfig(model=str(tiny_bert), max_length=32),
        "fine_tune": FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        "anchors_per_task": 20,
        "lift_width": 24,
        "rank": 4,
    }
    return TrainConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def built(tiny_bert, sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "pool"
    settings = config(tiny_bert, forms=tuple(MapForm), keep_models=True, dtype="float32")
    report = train_pool([spec(path) for path in sources], folder, settings, device="cpu")
    return report, Pool.open(folder)


def test_every_task_gets_an_entry(built):
    report, pool = built
    assert report.trained == tuple(sorted(WORDS))
    assert report.present == report.skipped == ()
    entries, skipped = pool.entries(strict=True)
    assert [entry.id for entry in entries] == sorted(WORDS)
    assert skipped == []
    for entry in entries:
        assert entry.record.quality.keys() >= {"macro_f1", "accuracy"}
        assert entry.load_head()["weight"].shape == (2, 32)
        fingerprint = entry.load_fingerprint(pool.fingerprint_key())
        texts = {fingerprint_form(text) for text in load_task(entry.record.task).train.texts}
        assert fingerprint.train.tolist() == sorted(pool.fingerprint_key().numbers([*texts]))
        assert len(fingerprint.sketches) == fingerprint.population > 0
        for form in MapForm:
            assert entry.load_map(form).width == 32
            assert entry.record.maps[form].bytes < 40_000


def test_the_map_predicts_the_tuned_model_and_its_r2_is_as_stored(built):
    """The R² on the source's own texts, computed again from the kept model and the stored map."""
    _, pool = built
    entry = pool.entry("cat")
    base = Encoder.load(EncoderConfig(model=pool.manifest.base.model, max_length=32), "cpu")
    tuned = Encoder.load(EncoderConfig(model=str(entry.model_folder), max_length=32), "cpu")
    rows = held_out(load_task(entry.record.task), entry.record.fine_tune.seed)[1]
    embedded = base.embed(rows.texts, wide=True)
    lifted = pool.lift().transform(embedded.wide)
    for form in MapForm:
        mapped = entry.load_map(form).apply(embedded.last, lifted)
        r2 = r_squared(tuned.embed(rows.texts).last, mapped)
        assert entry.record.maps[form].r2_source == pytest.approx(r2, abs=1e-4)
        assert r2 > r_squared(tuned.embed(rows.texts).last, embedded.last)


def test_a_second_run_trains_nothing(built, tiny_bert, sources):
    _, pool = built
    before = {path: path.stat().st_mtime_ns for path in pool.folder.rglob("*.json")}
    settings = config(tiny_bert, forms=tuple(MapForm), keep_models=True, dtype="float32")
    report = train_pool([spec(path) for path in sources], pool.folder, settings, device="cpu")
    assert report.trained == ()
    assert report.present == tuple(sorted(WORDS))
    assert before == {path: path.stat().st_mtime_ns for path in pool.folder.rglob("*.json")}


def test_no_text_is_kept_in_the_pool(built, sources):
    _, pool = built
    text = load_task(spec(sources[0])).train.texts[0]
    kept = [path for path in pool.folder.rglob("*.json") if "model" not in path.parts]
    assert kept
    assert not any(text in path.read_text(encoding="utf-8") for path in kept)


def test_the_order_of_the_tasks_does_not_matter(tiny_bert, sources, tmp_path):
    pools = []
    for name, order in (("a", sources), ("b", sources[::-1])):
        specs = [spec(path) for path in order]
        train_pool(specs, tmp_path / name, config(tiny_bert), device="cpu")
        pools.append(Pool.open(tmp_path / name))
    maps = [pool.entry("dog").load_map(MapForm.ANCHORED).tensors() for pool in pools]
    assert pools[0].manifest == pools[1].manifest
    assert all(np.array_equal(maps[0][name], maps[1][name]) for name in maps[0])


def test_tasks_added_later_use_the_same_anchors_and_lift(tiny_bert, sources, tmp_path):
    """Whether a task comes with the others or later, given the anchors its map is the same."""
    train_pool([spec(path) for path in sources[:2]], tmp_path / "a", config(tiny_bert))
    first = Pool.open(tmp_path / "a").manifest
    report = train_pool([spec(sources[2])], tmp_path / "a", config(tiny_bert))
    assert report.trained == ("sun",)
    pool = Pool.open(tmp_path / "a")
    assert pool.manifest == first
    assert [entry.id for entry in pool.entries()[0]] == sorted(WORDS)
    assert restore_pool_anchors(pool).content_hash() == first.anchors.hash


def test_anchors_from_a_corpus_of_ones_own(tiny_bert, sources, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"the cat number {i} runs" for i in range(60)), encoding="utf-8")
    settings = config(tiny_bert, anchors_file=str(corpus))
    train_pool([spec(sources[0])], tmp_path / "pool", settings)
    pool = Pool.open(tmp_path / "pool")
    assert pool.manifest.anchors.corpus == str(corpus)
    assert pool.manifest.anchors.count == 60
    corpus.write_text("something else\nand more\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"anchor texts of pool .* have changed.*try: restore"):
        restore_pool_anchors(pool)


def test_an_anchor_task_that_changed_is_named(tiny_bert, sources, tmp_path):
    moved = write_task(tmp_path / "cat", "cat", seed=0)
    train_pool([spec(moved), spec(sources[1])], tmp_path / "pool", config(tiny_bert))
    for path in moved.iterdir():
        path.unlink()
    moved.rmdir()
    write_task(tmp_path / "cat", "cat", seed=99)
    with pytest.raises(TaskError, match="cat"):
        restore_pool_anchors(Pool.open(tmp_path / "pool"))


def test_one_bad_task_is_skipped_counted_and_named(tiny_bert, sources, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("", encoding="utf-8")
    specs = [spec(sources[0]), spec(bad), spec(tmp_path / "absent")]
    report = train_pool(specs, tmp_path / "pool", config(tiny_bert))
    assert report.trained == ("cat",)
    assert [skip.source for skip in report.skipped] == ["bad.csv", "absent"]
    assert "empty" in report.skipped[0].reason
    with pytest.raises(TaskError, match="empty"):
        train_pool(specs, tmp_path / "pool", config(tiny_bert), strict=True)


def test_two_tasks_of_one_name(tiny_bert, sources, tmp_path):
    other = write_task(tmp_path / "cat", "moon", seed=5)
    specs = [spec(sources[0]), spec(other)]
    report = train_pool(specs, tmp_path / "pool", config(tiny_bert))
    assert report.trained == ("cat",)
    assert (
        "two tasks are called cat; try: give one of them another --id" in report.skipped[0].reason
    )


def test_no_usable_task_is_an_error(tiny_bert, tmp_path):
    with pytest.raises(TaskError, match="none of 1 tasks can be used"):
        train_pool([spec(tmp_path / "absent")], tmp_path / "pool", config(tiny_bert))
    assert not Pool.exists(tmp_path / "pool")


def test_other_settings_do_not_mix_into_a_pool_unless_asked(tiny_bert, sources, tmp_path):
    train_pool([spec(sources[0])], tmp_path / "pool", config(tiny_bert))
    changed = config(tiny_bert, fine_tune=FineTuneConfig(num_epochs=2, learning_rate=1e-3))
    report = train_pool([spec(sources[0])], tmp_path / "pool", changed)
    assert report.trained == ()
    assert "with other settings or other data" in report.skipped[0].reason
    assert "--replace" in report.skipped[0].reason
    report = train_pool([spec(sources[0])], tmp_path / "pool", changed, replace=True)
    assert report.trained == ("cat",)
    record = Pool.open(tmp_path / "pool").entry("cat").record
    assert record.fine_tune.num_epochs == 2


def test_another_base_model_is_refused(built, sources, tmp_path):
    _, pool = built
    other = save_tiny("bert", tmp_path / "other", seed=1)
    with pytest.raises(PoolError, match=r"is not the one pool .* was built with \(weights"):
        train_pool([spec(sources[0])], pool.folder, config(other))


def test_a_pool_in_use_is_refused(built, tiny_bert, sources):
    _, pool = built
    with folder_lock(pool.folder), pytest.raises(BusyError, match="another process"):
        train_pool([spec(sources[0])], pool.folder, config(tiny_bert))


def test_a_manifest_with_unknown_keys(built, tmp_path):
    _, pool = built
    content = json.loads((pool.folder / "pool.json").read_text(encoding="utf-8"))
    (tmp_path / "pool.json").write_text(json.dumps({**content, "extra": 1}), encoding="utf-8")
    with pytest.raises(PoolError, match=r"pool.json: extra: Extra inputs .*expected the fields"):
        Pool.open(tmp_path)
    (tmp_path / "pool.json").write_text(json.dumps({**content, "format": 9}), encoding="utf-8")
    with pytest.raises(PoolError, match="has format 9; expected format 1"):
        Pool.open(tmp_path)


def test_there_is_no_pool_or_no_such_source(built, tmp_path):
    with pytest.raises(PoolError, match=r"no pool in .*; expected a folder with pool.json"):
        Pool.open(tmp_path)
    with pytest.raises(PoolError, match="no source 'moon'"):
        built[1].entry("moon")


def test_a_full_disk_ends_the_run_and_loses_nothing(tiny_bert, sources, tmp_path, monkeypatch):
    specs = [spec(path) for path in sources[:2]]
    written = []

    def fill_up(path, *arguments, **options):
        written.append(path)
        if len(written) > 1:
            raise StorageError("cannot write: No space left on device", expected="free space")
        save_tensors(path, *arguments, **options)

    monkeypatch.setattr("esm.pool.entry.save_tensors", fill_up)
    with pytest.raises(StorageError, match="No space left on device"):
        train_pool(specs, tmp_path / "pool", config(tiny_bert))
    entries, skipped = Pool.open(tmp_path / "pool").entries(strict=True)
    assert [entry.id for entry in entries] == ["cat"]
    assert skipped == []
    assert not list((tmp_path / "pool").rglob(".tmp-*"))
    monkeypatch.undo()
    report = train_pool(specs, tmp_path / "pool", config(tiny_bert))
    assert (report.present, report.trained) == (("cat",), ("dog",))


def test_a_source_on_which_training_fails_is_skipped(tiny_bert, sources, tmp_path):
    diverging = config(tiny_bert, fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e20))
    report = train_pool([spec(sources[0])], tmp_path / "pool", diverging)
    assert report.trained == ()
    assert [skip.source for skip in report.skipped] == ["cat"]
    assert "learning rate" in report.skipped[0].reason


def test_a_damaged_entry_is_refused_until_it_is_replaced(tiny_bert, sources, tmp_path):
    specs = [spec(path) for path in sources[:2]]
    train_pool(specs, tmp_path / "pool", config(tiny_bert))
    folder = Pool.open(tmp_path / "pool").source_folder("cat")
    whole = (folder / "source.json").read_bytes()
    for file, content in (("source.json", whole[:50]), ("anchored/model.safetensors", b"half")):
        (folder / file).write_bytes(content)
        report = train_pool(specs, tmp_path / "pool", config(tiny_bert))
        assert report.present == ("dog",)
        assert [skip.source for skip in report.skipped] == ["cat"]
        assert "--replace" in report.skipped[0].reason
        (folder / "source.json").write_bytes(whole)
    report = train_pool(specs, tmp_path / "pool", config(tiny_bert), replace=True)
    assert (report.trained, report.present) == (("cat",), ("dog",))


def test_keeping_models_later_makes_them_again(tiny_bert, sources, tmp_path):
    train_pool([spec(sources[0])], tmp_path / "pool", config(tiny_bert))
    before = Pool.open(tmp_path / "pool").entry("cat")
    tensors = before.load_map(MapForm.ANCHORED).tensors()
    report = train_pool([spec(sources[0])], tmp_path / "pool", config(tiny_bert, keep_models=True))
    assert report.trained == ("cat",)
    after = Pool.open(tmp_path / "pool").entry("cat")
    assert after.model_folder is not None
    again = after.load_map(MapForm.ANCHORED).tensors()
    assert all(np.array_equal(tensors[name], again[name]) for name in tensors)


def test_what_is_not_said_of_the_base_model_is_taken_from_the_pool(built, tiny_bert, sources):
    _, pool = built
    settings = config(tiny_bert, encoder=EncoderConfig(max_length=16), forms=tuple(MapForm))
    with pytest.raises(PoolError, match=r"built with \(max_length '16' instead of '32'\)"):
        train_pool([spec(sources[0])], pool.folder, settings)


def test_texts_that_are_cut_are_counted(tiny_bert, sources, tmp_path):
    short = config(tiny_bert, encoder=EncoderConfig(model=str(tiny_bert), max_length=8))
    train_pool([spec(sources[0])], tmp_path / "pool", short)
    record = Pool.open(tmp_path / "pool").entry("cat").record
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = held_out(load_task(record.task), record.fine_tune.seed)[0]
    longer = sum(len(tokenizer(text)["input_ids"]) > 8 for text in rows.texts)
    assert record.num_cut == longer > 0
