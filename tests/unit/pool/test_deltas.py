"""Deltas in a pool: stored, completed, refused, packed."""

from __future__ import annotations

import errno
import shutil

import numpy as np
import pytest

from esm.common.errors import MapError, PoolError, SettingError, StorageError
from esm.common.storage import load_tensors, save_tensors
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.delta.delta import DELTA_NAME
from esm.maps.delta.encoder import embed_by_delta, with_delta
from esm.maps.fit.ridge import r_squared
from esm.pool.build import train_pool
from esm.pool.deltas import parse_size
from esm.pool.entry import TrainConfig
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.pool.verify import verify_pool
from esm.report.pool import build_report, pool_tables
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import held_out
from esm.training.settings import FineTuneConfig
from tests.toy_folders import write_task

pytestmark = pytest.mark.slow

WORDS = ("cat", "dog")
SIZE = 20_000


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return [TaskSpec(location=str(write_task(folder / word, word))) for word in WORDS]


def config(tiny_bert, **changes):
    settings = {
        "encoder": EncoderConfig(model=str(tiny_bert), max_length=32),
        "fine_tune": FineTuneConfig(num_epochs=2, learning_rate=3e-3),
        "anchors_per_task": 20,
        "lift_width": 24,
        "rank": 4,
        "delta": SIZE,
    }
    return TrainConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def built(tiny_bert, sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "pool"
    train_pool(sources, folder, config(tiny_bert, keep_models=True), device="cpu")
    return Pool.open(folder)


@pytest.fixture
def pool(built, tmp_path):
    """A copy, to be changed."""
    shutil.copytree(built.folder, tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("esm.training.sources.tune_on_source", refuse)


def forget_encoders(pool, *sources):
    for source in sources:
        shutil.rmtree(pool.entry(source).folder / "model")


def forget_delta(pool, source):
    """As an older version left the entry."""
    folder = pool.entry(source).folder
    (folder / DELTA_NAME).unlink()
    path = folder / "source.json"
    lines = path.read_text(encoding="utf-8")
    start = lines.index(',\n "delta": {')
    path.write_text(lines[:start] + "\n}\n", encoding="utf-8")
    assert pool.entry(source).record.delta is None


def encoders(pool, source):
    base = Encoder.load(EncoderConfig(model=pool.manifest.base.model, max_length=32), "cpu")
    model = str(pool.entry(source).model_folder)
    return base, Encoder.load(EncoderConfig(model=model, max_length=32), "cpu")


def test_r2_is_that_of_the_stored_delta_against_the_kept_encoder(built):
    entry = built.entry("cat")
    record = entry.record.delta
    base, tuned = encoders(built, "cat")
    rows = held_out(load_task(entry.record.task), entry.record.fine_tune.seed)[1]
    near = embed_by_delta(base, entry.load_delta(), rows.texts).last
    found = r_squared(tuned.embed(rows.texts).last, near)
    assert record.r2_source == pytest.approx(found, abs=1e-6)
    assert found > r_squared(tuned.embed(rows.texts).last, base.embed(rows.texts).last) + 0.1
    assert 0.3 < record.r2_anchors < 1  # tables, left out, matter in a tiny vocabulary
    assert record.bytes == (entry.folder / DELTA_NAME).stat().st_size <= record.budget == SIZE


def test_the_pool_shows_its_deltas(built):
    (table,) = pool_tables(built, *built.entries())
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    shown = {row["source"]: row["R² own"] for row in rows if row["map"] == "delta"}
    assert shown == {word: f"{built.entry(word).record.delta.r2_source:.2f}" for word in WORDS}
    assert any("deltas leave out embedding tables" in note for note in table.notes)
    assert verify_pool(built).faults == ()


def test_older_sources_are_completed_where_the_encoder_was_kept(
    pool, tiny_bert, sources, no_training
):
    wanted = {word: pool.entry(word).record.delta for word in WORDS}
    for word in WORDS:
        forget_delta(pool, word)
    forget_encoders(pool, "dog")
    report = train_pool(sources, pool.folder, config(tiny_bert), device="cpu")
    assert (report.completed, report.present) == (("cat",), ("dog",))
    assert report.without_delta == ("dog",)
    assert any(
        "their tuned encoders not being kept: dog" in n for n in build_report(report)[0].notes
    )
    assert pool.entry("cat").record.delta == wanted["cat"]
    pool.entry("cat").load_delta()
    (table,) = pool_tables(pool, *pool.entries())
    assert "1 of 2 sources have no delta" in table.notes
    again = train_pool(sources, pool.folder, config(tiny_bert), device="cpu")
    assert (again.present, again.without_delta) == (WORDS, ("dog",))


def test_replace_trains_those_again_that_cannot_be_completed(pool, tiny_bert, sources):
    forget_delta(pool, "dog")
    forget_encoders(pool, *WORDS)
    report = train_pool(sources, pool.folder, config(tiny_bert), device="cpu", replace=True)
    assert (report.trained, report.present, report.without_delta) == (("dog",), ("cat",), ())


def test_none_keeps_no_delta(tiny_bert, sources, tmp_path):
    report = train_pool(sources[:1], tmp_path / "pool", config(tiny_bert, delta="none"))
    assert report.without_delta == ()
    assert Pool.open(tmp_path / "pool").entry("cat").record.delta is None


def test_another_size_is_cut_from_what_was_kept(pool, tiny_bert, sources, no_training):
    forget_encoders(pool, "dog")
    smaller = config(tiny_bert, delta=5_000)
    before = pool.entry("cat").record.delta.r2_anchors
    report = train_pool(sources, pool.folder, smaller, device="cpu")
    assert (report.completed, report.present) == (("cat",), ("dog",))
    assert pool.entry("cat").record.delta.r2_anchors < before
    auto = train_pool(sources, pool.folder, config(tiny_bert, delta="auto"), device="cpu")
    assert auto.present == WORDS


def test_full_is_the_tuned_encoder_and_serves_for_it(pool, tiny_bert, sources, no_training):
    base, tuned = encoders(pool, "cat")
    train_pool(sources, pool.folder, config(tiny_bert, delta="full"), device="cpu")
    entry = pool.entry("cat")
    assert entry.record.delta.budget is None
    assert entry.record.delta.r2_source == 1.0
    assert with_delta(base, entry.load_delta()).identity.weights == tuned.identity.weights
    forget_encoders(pool, *WORDS)
    both = config(tiny_bert, delta="full", forms=("anchored", "published"))
    report = train_pool(sources, pool.folder, both, device="cpu")
    assert report.completed == WORDS  # a map was fitted to what it stands for
    smaller = train_pool(sources, pool.folder, config(tiny_bert), device="cpu")
    assert smaller.completed == WORDS
    assert pool.entry("cat").record.delta.budget == SIZE


def test_a_size_that_cannot_be_is_refused_before_training(
    tiny_bert, sources, tmp_path, no_training
):
    with pytest.raises(SettingError, match="a delta of 1,000 bytes, where biases and norms"):
        train_pool(sources, tmp_path / "pool", config(tiny_bert, delta="1kB"))


@pytest.mark.parametrize(
    ("text", "size"), [("0.5MB", 500_000), ("300 kB", 300_000), ("4096", 4096), ("NONE", "none")]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1MB", "many", "5MiB", "1e3", "nan"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="a size such as"):
        parse_size(text)


def damage(pool, source, how):
    path = pool.entry(source).folder / DELTA_NAME
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
        return "truncated"
    tensors = load_tensors(path)
    if how == "not finite":
        tensors["/scales"][0] = np.nan
    elif how == "another base":
        tensors["/base"] = np.zeros(32, np.uint8)
    else:
        tensors["/scales"][0] *= 2
    save_tensors(path, tensors)
    return {"not finite": "NaN", "another base": "another base model"}.get(how, "not the delta")


@pytest.mark.parametrize("how", ["truncated", "not finite", "another base", "altered"])
def test_a_damaged_delta_is_named_and_the_others_go_on(
    pool, tiny_bert, sources, tmp_path, how, no_training
):
    message = damage(pool, "cat", how)
    with pytest.raises(MapError, match=message):
        pool.entry("cat").load_delta()
    assert [(fault.source, message in fault.reason) for fault in verify_pool(pool).faults] == [
        ("cat", True)
    ]
    report = pack_pool(pool, tmp_path / "packed")
    assert [skip.source for skip in report.skipped] == ["cat"]
    # It is cut anew where the tuned encoder is there, else refused, with what to do.
    forget_delta(pool, "dog")
    shutil.copytree(pool.folder, tmp_path / "copy")
    report = train_pool(sources, pool.folder, config(tiny_bert), device="cpu")
    assert report.completed == WORDS
    assert verify_pool(pool).faults == ()
    copied = Pool.open(tmp_path / "copy")
    forget_encoders(copied, "cat")
    report = train_pool(sources, copied.folder, config(tiny_bert), device="cpu")
    assert [skip.source for skip in report.skipped] == ["cat"]
    assert message in report.skipped[0].reason
    assert "--replace to train it again" in report.skipped[0].reason
    assert report.completed == ("dog",)


def full_disk(monkeypatch):
    """Fill the disk when the first delta is written."""

    def refuse(path, *_, **__):
        assert path.name == DELTA_NAME
        reason = OSError(errno.ENOSPC, "No space left on device")
        raise StorageError(f"cannot write {path}: {reason.strerror}", hint="free space") from reason

    monkeypatch.setattr("esm.pool.deltas.save_tensors", refuse)


def test_a_full_disk_loses_nothing(pool, tiny_bert, sources, tmp_path, monkeypatch):
    forget_delta(pool, "cat")
    before = {path: path.read_bytes() for path in pool.folder.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        full_disk(patch)
        with pytest.raises(StorageError, match="No space left on device"):
            train_pool(sources, pool.folder, config(tiny_bert), device="cpu")
        with pytest.raises(StorageError, match="No space left on device"):
            train_pool(sources, tmp_path / "new", config(tiny_bert), device="cpu")
    after = {path: path.read_bytes() for path in pool.folder.rglob("*") if path.is_file()}
    assert before == after
    assert list((tmp_path / "new" / "sources").iterdir()) == []
    report = train_pool(sources, pool.folder, config(tiny_bert), device="cpu")
    assert report.completed == ("cat",)


def test_a_shared_pack_carries_deltas(pool, tmp_path):
    pack_pool(pool, tmp_path / "packed", share=True)
    packed = Pool.open(tmp_path / "packed")
    for word in WORDS:
        assert packed.entry(word).load_delta().content_hash == pool.entry(word).record.delta.hash
    assert verify_pool(packed).faults == ()


def test_an_entry_without_one_says_how_to_get_it(pool):
    forget_delta(pool, "cat")
    with pytest.raises(PoolError, match=r"source cat has no delta.*esm train"):
        pool.entry("cat").load_delta()
