"""Long texts the whole way: a pool of cut texts ranks and trains a target that is read whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esm.common.errors import PoolError
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import MapForm
from esm.pool.base_model import load_base
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import RankConfig
from esm.scorers.logme import logme
from esm.tasks.load import load_target, load_targets
from esm.tasks.spec import TaskSpec
from esm.training.class_weights import balance_weights
from esm.training.settings import FineTuneConfig
from esm.trials.encoders import TunedModels
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.plan import plan_validation
from esm.trials.run import validate_ranking
from esm.trials.settings import ValidationConfig
from tests.toy_folders import write_target, write_task

pytestmark = pytest.mark.slow

# Every text of the toy tasks is longer than this.
CUT = {"max_length": 8, "stride": 2}


def spec(path):
    return TaskSpec(location=str(path))


def settings(model, **encoder):
    return TrainConfig(
        encoder=EncoderConfig(model=str(model), **CUT, **encoder),
        fine_tune=FineTuneConfig(num_epochs=1, learning_rate=1e-3),
        anchors_per_task=20,
        lift_width=24,
        rank=4,
    )


@pytest.fixture(scope="module")
def world(tiny_bert, tmp_path_factory):
    """Two sources, a pool that reads the beginning of their texts, a target."""
    folder = tmp_path_factory.mktemp("world")
    sources = [
        write_task(folder / word, word, seed=seed) for seed, word in enumerate(("cat", "sun"))
    ]
    train_pool([spec(path) for path in sources], folder / "pool", settings(tiny_bert), device="cpu")
    return sources, Pool.open(folder / "pool"), spec(write_target(folder / "posts"))


def test_a_ranking_in_chunks_equals_mapping_every_chunk(world, tiny_bert):
    """Maps are affine: mapping the chunks and averaging them is what the ranking scores."""
    _, pool, target = world
    ranking = rank_sources(target, pool, RankConfig(max_chunks=9), device="cpu")
    encoder = Encoder.load(EncoderConfig(model=str(tiny_bert), **CUT, max_chunks=9), "cpu")
    task = load_target(target).attributes["cat"]
    texts = encoder.tokenize(task.train.texts)
    lift, ranked = pool.lift(), ranking.attributes["cat"]
    for line in ranked.ranking:
        source_map = pool.entry(line.source).load_map(MapForm.ANCHORED)
        mapped = []
        for text in texts:
            batch = encoder.reader.pad(text.chunks, encoder.device)
            with torch.no_grad():
                outputs = encoder._forward(batch, hidden_states=True)
                base = encoder._pool(outputs, batch).numpy()
                wide = encoder._wide(outputs, batch).numpy()
            each = source_map.apply(base, lift.transform(wide))
            mapped.append(np.average(each, axis=0, weights=text.weights))
        labels = task.train.labels
        expected = logme(np.array(mapped), labels, variant="full", weights=balance_weights(labels))
        assert line.score == pytest.approx(expected, abs=1e-4)
    assert ranking.cut == 0


def test_what_is_cut_is_said_with_the_option_that_helps(world, caplog):
    _, pool, target = world
    counts = {}
    for chunks in (None, 4, 9):
        config = RankConfig(max_chunks=chunks)
        cache = EmbeddingCache(None)
        counts[chunks] = rank_sources(target, pool, config, cache=cache, device="cpu").cut
    assert counts[None] > counts[4] > counts[9] == 0
    notes = [line for line in caplog.messages if "longer than" in line]
    assert len(notes) == 2
    assert "texts are longer than 8 tokens; only their beginning is read" in notes[0]
    assert "(--max-chunks N reads more)" in notes[0]
    assert "texts are longer than 4 chunks of 8 tokens" in notes[1]


def test_a_pool_goes_on_reading_as_it_began(world, tiny_bert):
    sources, pool, _ = world
    with pytest.raises(
        PoolError, match=r"max_chunks '4' instead of '1'.*leave out --base, --max-chunks and"
    ):
        train_pool([spec(sources[0])], pool.folder, settings(tiny_bert, max_chunks=4), device="cpu")


def test_a_pool_can_be_made_of_long_texts(world, tiny_bert, tmp_path):
    sources, cut, target = world
    report = train_pool(
        [spec(path) for path in sources], tmp_path / "pool", settings(tiny_bert, max_chunks=4)
    )
    assert not report.skipped
    pool = Pool.open(tmp_path / "pool")
    assert (pool.manifest.base.max_chunks, pool.manifest.base.stride) == (4, 2)
    assert pool.entry("cat").record.num_cut < cut.entry("cat").record.num_cut
    assert load_base(pool, "cpu").identity == pool.manifest.base
    ranking = rank_sources(target, pool, device="cpu")
    assert ranking.cut < rank_sources(target, cut, device="cpu").cut


def test_a_validation_reads_the_target_as_the_ranking_did(world, tmp_path):
    _, pool, target = world
    config = ValidationConfig(
        strategy="features",
        attributes=("cat",),
        top=1,
        sources=("cat", "sun"),
        seeds=1,
        controls=("none",),
    )
    values, keys = {}, {}
    for chunks in (None, 9):
        ranking = rank_sources(target, pool, RankConfig(max_chunks=chunks), device="cpu")
        plan = plan_validation(ranking, pool, load_targets(target), config)
        keys[chunks] = [run.key for run in plan.trials]
        validate_ranking(ranking, config, tmp_path / "run", device="cpu", keep_models=True)
        with Ledger(tmp_path / "run" / LEDGER_NAME) as ledger:
            rows = {row.key: row.value for row in ledger.rows()}
        values[chunks] = [rows[key.content_hash()] for key in keys[chunks]]
    assert {key.max_chunks for key in keys[None]} == {1}
    assert {key.max_chunks for key in keys[9]} == {9}
    assert values[None] != values[9]
    # Sources are fine-tuned once: they are read as the pool reads them in both.
    assert len(list((tmp_path / "run" / "models").iterdir())) == 2
    models = TunedModels(pool, load_base(pool, "cpu"), tmp_path / "run" / "models")
    for key in (*keys[None], *keys[9]):
        assert models.encoder(key).config.max_chunks == key.max_chunks
