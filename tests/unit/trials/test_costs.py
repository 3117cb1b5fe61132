"""Time and disk of a plan, from the ledger, from the pool, or from a stated guess."""

import shutil
from dataclasses import replace

import pytest

from esm.common.errors import StorageError
from esm.common.storage import read_json, write_json
from esm.strategies.settings import TransferConfig
from esm.trials.costs import DEFAULT_SECONDS_PER_TEXT, Costs, check_disk
from esm.trials.encoders import MODELS_NAME, model_folder
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.plan import plan_validation
from esm.trials.settings import ValidationConfig
from tests.small_world import SOURCES, make_world
from tests.unit.trials.test_plan import IDENTITY
from tests.unit.trials.test_validation import row_of

SETTINGS = {
    "attributes": ("harmful",),
    "top": 2,
    "controls": ("none",),
    "seeds": 2,
    "transfer": TransferConfig(num_epochs=5),
}

# Per run: 3 passes per training step, 5 epochs, 40 training rows; they and 24 test rows are judged.
PASSES = 3 * 5 * 40 + 40 + 24


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path / "world", IDENTITY)


def plan_of(world, **settings):
    config = ValidationConfig(**(SETTINGS | settings))
    return plan_validation(world.ranking, world.pool, [world.target], config)


# Weights of the tiny BERT with 200 tokens, and of four adapters 64 wide.
MODEL = 4 * (12 * 2 * 32**2 + 200 * 32)
ADAPTERS = 4 * 2 * 2 * (2 * 32 * 64 + 32 + 64)


def estimate(plan, out, **settings):
    return Costs(plan, out).estimate(plan.trials, **settings)


def test_time_from_the_pools_fine_tuning(world, tmp_path):
    found = estimate(plan_of(world), tmp_path / "run", vocabulary=200)
    # The pool took 7.2 s for 24 rows once: 0.1 s per text and pass. Two sources are to be tuned.
    assert found.seconds == pytest.approx(6 * PASSES * 0.1 + 2 * 7.2)
    assert (found.done, found.pending, found.fine_tunings) == (0, 6, 2)
    # Two tuned encoders, and the adapters of four runs: the arm that is ahead and the next one.
    assert found.bytes == 2 * MODEL + 4 * ADAPTERS
    assert found.basis == "the fine-tuning of 2 sources of the pool"
    assert not (tmp_path / "run").exists()


def test_time_from_finished_runs_of_the_same_strategy(world, tmp_path):
    plan = plan_of(world)
    with Ledger(tmp_path / LEDGER_NAME) as ledger:
        ledger.record(row_of(plan.trials[0].key, 0.5))  # 2 s
    found = estimate(plan, tmp_path, vocabulary=200)
    assert (found.done, found.pending) == (1, 5)
    assert found.seconds == pytest.approx(5 * 2.0 + 2 * 7.2)
    assert found.basis == "1 finished runs of this folder"


def test_a_strategy_that_only_embeds_passes_each_text_once(world, tmp_path):
    found = estimate(plan_of(world, strategy="features"), tmp_path)
    assert found.seconds == pytest.approx(6 * (2 * 40 + 24) * 0.1 + 2 * 7.2)


def test_tuned_encoders_that_are_there_cost_nothing(world, tmp_path):
    plan = plan_of(world, source_seeds=2)
    assert estimate(plan, tmp_path).fine_tunings == 4
    (world.pool.source_folder("reviews") / "model").mkdir()  # kept by the pool: its own seed
    key = next(run.key for run in plan.trials if run.source == "moods")
    model_folder(tmp_path / MODELS_NAME, key).mkdir(parents=True)  # made before a kill
    assert estimate(plan, tmp_path).fine_tunings == 2


def test_a_stated_guess_where_nothing_was_measured(world, tmp_path):
    for source in SOURCES:
        path = world.pool.source_folder(source) / "source.json"
        write_json(path, read_json(path) | {"seconds": {}})
    found = estimate(plan_of(world), tmp_path)
    assert found.seconds == pytest.approx(6 * PASSES * DEFAULT_SECONDS_PER_TEXT)
    assert found.bytes == 2 * 4 * (12 * 2 * 32**2 + 30_522 * 32) + 4 * ADAPTERS
    assert found.basis == (
        "a guess of 0.01 s per text and pass; disk for a guessed vocabulary of 30,522 tokens"
    )


# ------------------------------------------------------------------------------------------ disk


def test_kept_encoders_are_counted(world, tmp_path):
    plan = plan_of(world)
    found = estimate(plan, tmp_path / "run", vocabulary=200, keep_models=True)
    assert found.kept_bytes == found.bytes == 2 * MODEL + 6 * ADAPTERS
    # Without it, what the winner needs: the adapters of its two seeds and its encoder.
    found = estimate(plan, tmp_path / "run", vocabulary=200)
    assert found.kept_bytes == MODEL + 2 * ADAPTERS


def test_all_weights_and_a_linear_model_are_counted_as_what_they_are(world, tmp_path):
    found = estimate(plan_of(world, strategy="full"), tmp_path, vocabulary=200)
    assert (found.bytes, found.kept_bytes) == ((2 + 4) * MODEL, (1 + 2) * MODEL)
    found = estimate(plan_of(world, strategy="features"), tmp_path, vocabulary=200)
    assert (found.bytes, found.kept_bytes) == (2 * MODEL, MODEL)


def test_free_disk_is_that_of_the_nearest_folder_that_exists(world, tmp_path, monkeypatch):
    asked = []

    def usage(folder):
        asked.append(folder)
        return shutil._ntuple_diskusage(100, 90, 10)

    monkeypatch.setattr("esm.trials.costs.shutil.disk_usage", usage)
    found = estimate(plan_of(world), tmp_path / "not" / "yet")
    assert (found.free_bytes, asked) == (10, [tmp_path])
    assert found.missing_bytes == found.bytes - 10


def test_a_disk_without_room_is_refused_with_what_is_missing(world, tmp_path):
    found = estimate(plan_of(world), tmp_path, vocabulary=200)
    assert found.bytes == 2 * MODEL + 4 * ADAPTERS
    full = replace(found, bytes=300_000_000, free_bytes=100_000_000)
    message = (
        r"models of 6 runs and the encoders tuned on 2 sources need about 300\.0 MB in .*, where"
        r" 100\.0 MB are free;"
        r" expected another 200\.0 MB; try: --out on another disk, or fewer sources"
    )
    with pytest.raises(StorageError, match=message):
        check_disk(full, tmp_path)
    check_disk(replace(full, free_bytes=300_000_000), tmp_path)
