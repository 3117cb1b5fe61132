"""What an entry lacks is added without training again, and equals what training would have made."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from esm.common.storage import save_tensors
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.fingerprints import FINGERPRINT_NAME
from esm.pool.pool import Pool
from esm.pool.vectors import VECTORS_NAME
from esm.tasks.identity import unsalted_numbers
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig
from tests.toy_folders import write_task

pytestmark = pytest.mark.slow

BOTH = tuple(MapForm)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return [TaskSpec(location=str(write_task(folder / word, word))) for word in ("cat", "dog")]


def config(tiny_bert, **changes):
    settings = {
        "encoder": EncoderConfig(model=str(tiny_bert), max_length=32),
        "fine_tune": FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        "anchors_per_task": 20,
        "lift_width": 24,
        "rank": 4,
        "dtype": "float32",
    }
    return TrainConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def whole(tiny_bert, sources, tmp_path_factory):
    """A pool with both maps and all sidecars, as training makes it."""
    folder = tmp_path_factory.mktemp("whole") / "pool"
    train_pool(sources, folder, config(tiny_bert, forms=BOTH, keep_models=True), device="cpu")
    return Pool.open(folder)


@pytest.fixture
def older(tiny_bert, sources, tmp_path):
    """A pool of anchored maps and tuned encoders, without vectors."""
    folder = tmp_path / "pool"
    train_pool(sources, folder, config(tiny_bert, keep_models=True), device="cpu")
    pool = Pool.open(folder)
    for entry in pool.entries()[0]:
        (entry.folder / VECTORS_NAME).unlink()
    return pool


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("esm.training.sources.tune_on_source", refuse)


def same_vectors(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("mean", "fisher", "vocabulary")
    )


def test_vectors_and_a_form_of_map_are_added(older, whole, tiny_bert, sources, no_training):
    before = {entry.id: entry.record for entry in older.entries()[0]}
    report = train_pool(
        sources, older.folder, config(tiny_bert, forms=BOTH, keep_models=True), device="cpu"
    )
    assert (report.completed, report.trained, report.present) == (("cat", "dog"), (), ())
    assert report.skipped == ()
    for entry in older.entries(strict=True)[0]:
        expected = whole.entry(entry.id)
        assert same_vectors(entry.load_vectors(), expected.load_vectors())
        for form in BOTH:
            found = entry.load_map(form).tensors()
            for name, array in expected.load_map(form).tensors().items():
                assert found[name] == pytest.approx(array, abs=1e-4)
            record, wanted = entry.record.maps[form], expected.record.maps[form]
            assert record.r2_source == pytest.approx(wanted.r2_source, abs=1e-4)
            assert record.r2_anchors == pytest.approx(wanted.r2_anchors, abs=1e-4)
        changed = {"maps", "config_hash", "seconds"}
        kept = before[entry.id].model_dump(exclude=changed)
        assert entry.record.model_dump(exclude=changed) == kept
        assert entry.record.config_hash == expected.record.config_hash
    for forms in (BOTH, (MapForm.ANCHORED,), (MapForm.PUBLISHED,)):
        again = train_pool(
            sources, older.folder, config(tiny_bert, forms=forms, keep_models=True), device="cpu"
        )
        assert again.present == ("cat", "dog")


def test_vectors_need_no_tuned_encoder(older, whole, tiny_bert, sources, no_training):
    for entry in older.entries()[0]:
        shutil.rmtree(entry.folder / "model")
    report = train_pool(sources, older.folder, config(tiny_bert), device="cpu")
    assert report.completed == ("cat", "dog")
    vectors = older.entry("cat").load_vectors()
    assert same_vectors(vectors, whole.entry("cat").load_vectors())


def test_a_map_without_a_tuned_encoder_to_fit_it_to(older, tiny_bert, sources, no_training):
    shutil.rmtree(older.entry("cat").folder / "model")
    report = train_pool(sources, older.folder, config(tiny_bert, forms=BOTH), device="cpu")
    assert report.completed == ("dog",)
    assert [skip.source for skip in report.skipped] == ["cat"]
    assert "no published map, and its tuned encoder" in report.skipped[0].reason
    assert "--replace" in report.skipped[0].reason


def test_damaged_vectors_are_made_anew(whole, tiny_bert, sources, tmp_path, no_training):
    shutil.copytree(whole.folder, tmp_path / "copy")
    pool = Pool.open(tmp_path / "copy")
    (pool.entry("dog").folder / VECTORS_NAME).write_bytes(b"half")
    settings = config(tiny_bert, forms=BOTH, keep_models=True)
    report = train_pool(sources, pool.folder, settings, device="cpu")
    assert (report.completed, report.present) == (("dog",), ("cat",))
    vectors = pool.entry("dog").load_vectors()
    assert same_vectors(vectors, whole.entry("dog").load_vectors())


def test_fingerprints_of_an_older_pool_are_made_anew(
    whole, tiny_bert, sources, tmp_path, no_training
):
    """One entry has none; the other has numbers that are the same in every pool."""
    shutil.copytree(whole.folder, tmp_path / "copy")
    pool = Pool.open(tmp_path / "copy")
    files = {source: pool.entry(source).folder / FINGERPRINT_NAME for source in ("cat", "dog")}
    before = {source: file.read_bytes() for source, file in files.items()}
    files["cat"].unlink()
    save_tensors(files["dog"], {"keys": unsalted_numbers(["a text"])})
    settings = config(tiny_bert, forms=BOTH, keep_models=True)
    report = train_pool(sources, pool.folder, settings, device="cpu")
    assert report.completed == ("cat", "dog")
    assert {source: file.read_bytes() for source, file in files.items()} == before


def test_other_settings_are_refused_whatever_is_lacking(older, tiny_bert, sources, no_training):
    other = FineTuneConfig(num_epochs=2, learning_rate=1e-3)
    settings = config(tiny_bert, fine_tune=other, forms=BOTH, keep_models=True)
    report = train_pool(sources, older.folder, settings, device="cpu")
    assert report.completed == ()
    assert all("other settings or other data" in skip.reason for skip in report.skipped)


def test_an_encoder_to_be_kept_is_no_reason_to_drop_a_map(whole, tiny_bert, sources, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "copy")
    pool = Pool.open(tmp_path / "copy")
    shutil.rmtree(pool.entry("cat").folder / "model")
    report = train_pool(sources, pool.folder, config(tiny_bert, keep_models=True), device="cpu")
    assert [skip.source for skip in report.skipped] == ["cat"]
    assert set(pool.entry("cat").record.maps) == set(BOTH)
