"""Target and base model are opened once, whatever a comparison makes of them."""

from __future__ import annotations

import pytest

import esm.ranking.rank
import esm.trials.open
from esm.common.errors import SettingError
from esm.common.records import build_settings
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.tasks.load import load_targets
from esm.training.settings import FineTuneConfig
from esm.trials.open import open_comparison
from esm.trials.settings import ComparisonConfig
from tests.toy_folders import write_target, write_task
from tests.unit.ranking.test_rank import spec


@pytest.fixture(scope="module")
def folders(tiny_bert, tmp_path_factory):
    """A pool of two sources with maps, and a target."""
    folder = tmp_path_factory.mktemp("world")
    tasks = [write_task(folder / word, word, seed=i) for i, word in enumerate(("cat", "dog"))]
    settings = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        anchors_per_task=20,
        lift_width=24,
        rank=4,
    )
    train_pool([spec(path) for path in tasks], folder / "pool", settings, device="cpu")
    return folder / "pool", write_target(folder / "posts")


@pytest.mark.slow
def test_compare_source_auto_loads_the_base_model_and_reads_the_target_once(folders, monkeypatch):
    counted = {"models": 0, "hashes": 0, "targets": 0}
    load = Encoder.load.__func__
    hashed = Encoder.identity.func

    def counting_load(cls, *arguments):
        counted["models"] += 1
        return load(cls, *arguments)

    def counting_targets(where):
        counted["targets"] += 1
        return load_targets(where)

    def counting_identity(encoder):
        counted["hashes"] += 1
        return hashed(encoder)

    monkeypatch.setattr(Encoder, "load", classmethod(counting_load))
    monkeypatch.setattr(Encoder.identity, "func", counting_identity)
    for module in (esm.ranking.rank, esm.trials.open):
        monkeypatch.setattr(module, "load_targets", counting_targets)
    config = ComparisonConfig(strategies=("features",), sources=("auto",), seeds=1)
    found = open_comparison(
        spec(folders[1]),
        config,
        pool=Pool.open(folders[0]),
        cache=EmbeddingCache(None),
        device="cpu",
    )
    assert {trial.source for trial in found.plan.trials} <= {"cat", "dog"}
    assert counted == {"models": 1, "hashes": 1, "targets": 1}


def test_an_attribute_twice_is_refused():
    with pytest.raises(SettingError, match="attribute topic twice; each once"):
        build_settings(ComparisonConfig, {"attributes": ("topic", "mood", "topic")})
