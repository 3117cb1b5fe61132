"""Runs that start from the base model and a delta: no data of the source are read."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

import esm.training.sources
from esm.common.storage import read_json
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.inference.export import export_run
from esm.inference.predict import predict_file
from esm.maps.delta.delta import DELTA_NAME
from esm.maps.delta.encoder import with_delta
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.strategies.settings import TransferConfig
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig
from esm.trials.encoders import MODELS_NAME, TunedModels, source_start
from esm.trials.ledger import LEDGER_NAME, Ledger, RunKey
from esm.trials.open import open_comparison
from esm.trials.run import compare_strategies, dry_run, validate_ranking
from esm.trials.settings import ComparisonConfig, ValidationConfig
from tests.toy_folders import write_target, write_task
from tests.unit.trials.test_ledger import KEY

WORDS = ("cat", "dog")
CHEAP = ValidationConfig(
    strategy="features", attributes=("cat",), top=2, controls=("none",), seeds=2
)


def test_keys_without_a_delta_are_those_of_earlier_versions():
    """The hashes are those of the version before there were deltas."""
    key = RunKey(**KEY)
    assert key.content_hash() == "6053cced4fc162c894757eeb1565f7f8e932d95d5db0522f75ee0c3a8793eb16"
    assert key.config_hash() == "00be2b4d8867ee484fb9037ee379ef06a130a7b6edd3086c7cc49c48120154cd"
    started = RunKey(**KEY, delta="d")
    assert started.content_hash() != key.content_hash()
    assert started.config_hash() == key.config_hash()


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tiny_bert, tmp_path_factory):
    """A folder with sources, a pool of maps and deltas, and a target that was ranked."""
    folder = tmp_path_factory.mktemp("world")
    specs = [
        TaskSpec(location=str(write_task(folder / word, word, seed=i)))
        for i, word in enumerate(WORDS)
    ]
    settings = TrainConfig(
        encoder=EncoderConfig(model=str(tiny_bert), max_length=32),
        fine_tune=FineTuneConfig(num_epochs=2, learning_rate=3e-3),
        anchors_per_task=20,
        lift_width=24,
        rank=4,
        delta=20_000,
    )
    train_pool(specs, folder / "pool", settings, device="cpu")
    write_target(folder / "posts")
    return folder


@pytest.fixture
def shared(made, tmp_path):
    """What a colleague gets: a packed pool, and a target; the sources' data are elsewhere."""
    pack_pool(Pool.open(made / "pool"), tmp_path / "packed", share=True)
    for word in WORDS:
        (made / word).rename(made / f"away-{word}")
    yield Pool.open(tmp_path / "packed")
    for word in WORDS:
        (made / f"away-{word}").rename(made / word)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a source was trained again")

    monkeypatch.setattr(esm.training.sources, "tune_on_source", refuse)


def ranked(made, pool):
    return rank_sources(TaskSpec(location=str(made / "posts")), pool, device="cpu")


def rows_of(out):
    with Ledger(out / LEDGER_NAME) as ledger:
        return ledger.rows()


def texts_file(tmp_path):
    path = tmp_path / "new.csv"
    pd.DataFrame({"text": ["the cat runs", "a red sun"]}).to_csv(path, index=False)
    return path


def test_a_shared_pool_is_ranked_validated_and_used_without_the_sources_data(
    made, shared, tmp_path, no_training
):
    ranking = ranked(made, shared)
    assert ranking.attributes["cat"].refined.sources == 2
    out = tmp_path / "run"
    result = validate_ranking(ranking, CHEAP, out, device="cpu")
    assert (result.planned, result.finished, result.failures) == (6, 6, ())
    for row in rows_of(out):
        told = any("with the delta of" in remark for remark in row.remarks)
        assert told == (row.source != "none")
    # What runs start from is a small file; the winner's stays, and serves without the pool.
    picked = result.model_copy(update={"winners": {"cat": "cat"}})
    kept = [path.name for path in (out / MODELS_NAME).rglob("*") if path.is_file()]
    assert kept in ([], [DELTA_NAME])
    validate_ranking(ranking, CHEAP, tmp_path / "all", device="cpu", keep_models=True)
    picked.save(tmp_path / "all")
    shutil.rmtree(shared.folder)
    predicted = predict_file(tmp_path / "all", texts_file(tmp_path), device="cpu")
    assert predicted.rows == 2
    export_run(tmp_path / "all", tmp_path / "exported", device="cpu")
    assert list((tmp_path / "exported").rglob("README.md"))


def test_the_encoder_is_the_base_with_the_delta(made):
    pool = Pool.open(made / "pool")
    base = Encoder.load(EncoderConfig(model=pool.manifest.base.model, max_length=32), "cpu")
    entry = pool.entry("cat")
    key = RunKey(**(KEY | {"source": "cat"}), delta=source_start(entry, retrain=False))
    models = TunedModels(pool, base, made / "models")
    wanted = with_delta(base, entry.load_delta()).identity.weights
    assert models.encoder(key).identity.weights == wanted
    again = TunedModels(pool, base, made / "models")  # from the folder of the run
    assert again.encoder(key).identity.weights == wanted


def test_retrain_is_another_run_and_never_pooled(made, tmp_path):
    pool = Pool.open(made / "pool")
    ranking, out = ranked(made, pool), tmp_path / "run"
    first = validate_ranking(ranking, CHEAP, out, device="cpu")
    assert dry_run(ranking, CHEAP, tmp_path / "dry")[1].fine_tunings == 0
    again = CHEAP.model_copy(update={"retrain": True})
    assert dry_run(ranking, again, tmp_path / "dry")[1].fine_tunings == 2
    second = validate_ranking(ranking, again, out, device="cpu")
    assert len(rows_of(out)) == 6 + 4  # no transfer is the same run
    assert len(set(first.keys) & set(second.keys)) == 2
    with Ledger(out / LEDGER_NAME) as ledger:
        for result in (first, second):
            values = ledger.to_truth(result.keys)
            for arm in result.attributes["cat"].arms:
                own = values[values.source == arm.source].performance
                assert arm.mean == pytest.approx(own.mean())
    varied = CHEAP.model_copy(update={"source_seeds": 2})
    assert dry_run(ranking, varied, tmp_path / "dry")[1].fine_tunings == 4


def test_a_kept_encoder_goes_before_a_delta(made, tmp_path):
    shutil.copytree(made / "pool", tmp_path / "pool")
    entry = Pool.open(tmp_path / "pool").entry("cat")
    assert source_start(entry, retrain=False) == entry.record.delta.hash
    assert source_start(entry, retrain=True) is None
    (entry.folder / "model").mkdir()
    assert source_start(entry, retrain=False) is None


def test_a_damaged_delta_fails_its_arms_alone(made, tmp_path, no_training):
    shutil.copytree(made / "pool", tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    ranking = ranked(made, pool)
    path = pool.entry("cat").folder / DELTA_NAME
    path.write_bytes(path.read_bytes()[:-9])
    result = validate_ranking(ranking, CHEAP, tmp_path / "run", device="cpu", pool=pool)
    assert {failure.source for failure in result.failures} == {"cat"}
    assert all("truncated" in failure.reason for failure in result.failures)
    assert {row.source for row in rows_of(tmp_path / "run")} == {"none", "dog"}


def test_strategies_are_compared_from_a_delta(made, shared, tmp_path, no_training):
    config = ComparisonConfig(
        strategies=("features",),
        attributes=("cat",),
        sources=("cat",),
        seeds=1,
        transfer=TransferConfig(num_epochs=1),
    )
    spec = TaskSpec(location=str(made / "posts"))
    opened = open_comparison(spec, config, pool=shared, device="cpu")
    compare_strategies(opened, tmp_path / "run")
    (row,) = rows_of(tmp_path / "run")
    assert row.source == "cat"
    assert any("with the delta of cat" in remark for remark in row.remarks)
    kept = read_json(next((tmp_path / "run").rglob("model.json")))
    assert kept["key"]["delta"] == shared.entry("cat").record.delta.hash
    predicted = predict_file(tmp_path / "run", texts_file(tmp_path), device="cpu")
    assert predicted.rows == 2
