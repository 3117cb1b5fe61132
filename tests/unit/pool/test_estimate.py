"""What ``esm train --dry-run`` says: rows and tokens counted by hand, disk beside a real pool."""

from __future__ import annotations

import pytest

from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.pool.build import train_pool
from esm.pool.complete import State
from esm.pool.entry import TrainConfig
from esm.pool.estimate import estimate_training
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import held_out
from esm.training.settings import FineTuneConfig
from tests.toy_folders import write_task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return [
        TaskSpec(location=str(write_task(folder / word, word, rows=rows)))
        for word, rows in (("cat", 60), ("sun", 90))
    ]


def config(tiny_bert, **changes):
    settings = {
        "encoder": EncoderConfig(model=str(tiny_bert), max_length=32),
        "fine_tune": FineTuneConfig(num_epochs=1, max_examples=70),
        "anchors_per_task": 20,
        "lift_width": 24,
        "rank": 4,
    }
    return TrainConfig(**{**settings, **changes})


def test_rows_and_tokens_are_those_that_training_reads_and_nothing_is_written(
    specs, tiny_bert, tmp_path
):
    settings = config(tiny_bert)
    found = estimate_training(specs, tmp_path / "pool", settings, device="cpu")
    assert not (tmp_path / "pool").exists()
    assert [task.source for task in found.tasks] == ["cat", "sun"]
    assert all(task.now is State.TRAIN and task.seconds > 0 for task in found.tasks)
    cat, sun = found.tasks
    rows, _ = held_out(load_task(specs[0]), 0)
    assert (cat.rows, sun.rows) == (len(rows), 70)
    encoder = Encoder.load(settings.encoder, "cpu")
    assert cat.tokens == sum(len(text) for text in encoder.tokenize(rows.texts))
    assert found.memory_bytes is None or found.memory_bytes > 1_000_000
    assert found.seconds > sum(task.seconds for task in found.tasks)


@pytest.mark.parametrize("keep_models", [False, True])
def test_disk_is_near_that_of_a_real_pool(specs, tiny_bert, tmp_path, keep_models):
    settings = config(tiny_bert, keep_models=keep_models)
    found = estimate_training(specs, tmp_path / "pool", settings, device="cpu")
    train_pool(specs, tmp_path / "pool", settings, device="cpu")
    for task in found.tasks:
        files = (tmp_path / "pool" / "sources" / task.source).rglob("*")
        real = sum(file.stat().st_size for file in files if file.is_file())
        assert task.bytes == pytest.approx(real, rel=0.3)


def test_what_is_in_the_pool_is_named_as_such_and_costs_nothing(specs, tiny_bert, tmp_path):
    settings = config(tiny_bert)
    train_pool(specs[:1], tmp_path / "pool", settings, device="cpu")
    before = sorted(path for path in (tmp_path / "pool").rglob("*"))
    found = estimate_training(specs, tmp_path / "pool", settings, device="cpu")
    cat, sun = found.tasks
    assert (cat.now, cat.seconds, cat.bytes) == (State.PRESENT, 0.0, 0)
    assert sun.now is State.TRAIN
    assert found.common_bytes == 0
    assert sorted(path for path in (tmp_path / "pool").rglob("*")) == before


def test_what_training_would_refuse_is_left_out_with_the_reason(specs, tiny_bert, tmp_path):
    train_pool(specs[:1], tmp_path / "pool", config(tiny_bert), device="cpu")
    other = config(tiny_bert, fine_tune=FineTuneConfig(num_epochs=2, max_examples=70))
    missing = TaskSpec(location=str(tmp_path / "missing.csv"))
    found = estimate_training([*specs, missing], tmp_path / "pool", other, device="cpu")
    assert [task.source for task in found.tasks] == ["sun"]
    assert sorted(skip.source for skip in found.skipped) == ["cat", "missing.csv"]
