"""What both kinds of trials get, where trials are run, and folders that cannot be read."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pandas as pd
import pytest

from esm.common.errors import EsmError, ValidationError
from esm.common.storage import read_json, write_json
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.report.table import plain
from esm.report.trials import result_tables
from esm.strategies.settings import TransferConfig
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.open import open_comparison, open_validation
from esm.trials.results import COMPARISON_NAME, RESULT_NAME, is_run, load_result
from esm.trials.run import compare_strategies, estimate, run_trials, validate_ranking
from esm.trials.settings import Arm, ComparisonConfig, ValidationConfig
from esm.trials.worker import Worker
from tests.small_world import make_world

TRANSFER = TransferConfig(num_epochs=1, batch_size=8)
SOURCES = ValidationConfig(
    strategy="features", attributes=("harmful",), top=1, controls=(Arm.NONE,), seeds=2
)
STRATEGIES = ComparisonConfig(
    strategies=("features", "head"), attributes=("harmful",), seeds=1, transfer=TRANSFER
)


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_bert):
    base = EncoderConfig(model=str(tiny_bert), max_length=32)
    identity = Encoder.load(base, device="cpu").identity
    return make_world(tmp_path_factory.mktemp("world"), identity)


@pytest.fixture
def oracle(world, tmp_path):
    """Predictions of a system that is always right."""
    task = world.target.attributes["harmful"]
    names = [task.label_names[label] for label in task.test.labels]
    table = pd.DataFrame({"text": task.test.texts, "harmful": names}).drop_duplicates("text")
    table.to_csv(tmp_path / "oracle.csv", index=False)
    return {"oracle": tmp_path / "oracle.csv"}


def opened(world, tiny_bert, config=STRATEGIES):
    base = EncoderConfig(model=str(tiny_bert), max_length=32)
    return open_comparison(world.ranking.target_spec, config, base=base, device="cpu")


def values_of(out):
    with Ledger(out / LEDGER_NAME) as ledger:
        return {row.key: row.metrics for row in ledger.rows()}


class Elsewhere:
    """An executor whose worker knows only what was pickled, and opens everything itself."""

    def __init__(self, shared):
        self._shared = pickle.dumps(shared)

    def run(self, trials):
        for trial in trials:
            worker = Worker(pickle.loads(self._shared))
            sent = pickle.loads(pickle.dumps(trial))
            try:
                found = worker.run(sent)
            except EsmError as error:
                found = error
            yield trial, pickle.loads(pickle.dumps(found))


@pytest.mark.slow
def test_trials_that_are_run_elsewhere_find_the_same(world, tmp_path):
    here = validate_ranking(world.ranking, SOURCES, tmp_path / "here", device="cpu")
    ready = open_validation(world.ranking, SOURCES, device="cpu")
    executor = Elsewhere(ready.shared(tmp_path / "there"))
    there = run_trials(ready, tmp_path / "there", executor=executor)
    assert values_of(tmp_path / "there") == values_of(tmp_path / "here")
    assert there.models == here.models
    assert there.finished == there.planned == 4


@pytest.mark.slow
def test_a_validation_has_curves_outside_systems_and_a_paired_test(world, oracle, tmp_path):
    config = SOURCES.model_copy(update={"examples": (12, None)})
    out = tmp_path / "run"
    found = validate_ranking(world.ranking, config, out, predictions=oracle, device="cpu")
    harmful = found.attributes["harmful"]
    assert found.planned == found.finished == 2 * 2 * 2  # sources, seeds, sizes
    assert [(point.source, point.examples) for point in harmful.curve] == [
        ("none", 12),
        ("none", 40),
        ("reviews", 12),
        ("reviews", 40),
    ]
    none, pick, outside = harmful.arms
    assert harmful.curve[1].mean == none.mean
    assert (outside.source, outside.outside, outside.arm) == ("oracle", True, None)
    assert outside.is_best
    assert 0 < none.p_against_best <= 1
    assert 0 < pick.p_against_best <= 1
    assert found.winners["harmful"] in ("none", "reviews")  # the best that has models
    assert "Holm" in found.test
    assert none.gap == pytest.approx(none.train - none.unseen)
    shown = "\n".join(map(plain, result_tables(found, classes=True)))
    assert "oracle" in shown
    assert "harmful: macro_f1 by training rows" in shown


@pytest.mark.slow
def test_a_comparison_has_a_budget_regret_and_classes(world, tiny_bert, tmp_path):
    ready = opened(world, tiny_bert)
    whole, cost = estimate(ready, tmp_path)
    assert (cost.pending, len(whole.trials)) == (2, 2)
    assert cost.bytes >= cost.kept_bytes > 0
    # features passes 40 rows once to learn, and 64 to judge: it fits where head does not.
    short = cost.by_strategy["features"] + 0.1
    plan, _ = estimate(ready, tmp_path, budget=short)
    assert plan.strategies == ("features",)
    (left,) = plan.left_out
    assert (left.strategy, left.arm, left.runs) == ("head", None, 1)
    found = compare_strategies(ready, tmp_path)
    results = found.attributes["harmful"].strategies
    best = max(one.mean for one in results)
    for one in results:
        assert one.regret == pytest.approx(100 * (best - one.mean) / best)
        assert [of_class.name for of_class in one.classes] == ["no", "yes"]
        hits = one.confusion[0][0] + one.confusion[1][1]
        assert hits / 24 == pytest.approx(one.metrics["accuracy"])
    assert "classes" in "\n".join(map(plain, result_tables(found, classes=True)))
    again = compare_strategies(ready, tmp_path, budget=3600.0)
    assert again.left_out == ()


def test_a_budget_too_short_for_any_strategy_names_the_first(world, tiny_bert, tmp_path):
    message = r"budget of 1s is too short .*; expected at least .* for features on harmful \(1 runs"
    with pytest.raises(ValidationError, match=message):
        slow = replace(opened(world, tiny_bert))
        estimate(slow, tmp_path, budget=0.01)


# ------------------------------------------------------------------- folders that cannot be read


@pytest.fixture
def folder(tmp_path):
    Ledger(tmp_path / LEDGER_NAME).close()
    return tmp_path


def test_a_folder_that_is_half_written_says_how_to_go_on(folder):
    assert is_run(folder)
    with pytest.raises(EsmError, match=r"no result of a run in .*the same command goes on with it"):
        load_result(folder)


@pytest.mark.parametrize("name", [RESULT_NAME, COMPARISON_NAME])
def test_a_result_of_a_later_version_is_named(folder, name):
    write_json(folder / name, {"format": 99, "news": True})
    with pytest.raises(ValidationError, match=r"has format 99; expected format \d or an earlier"):
        load_result(folder)
    assert read_json(folder / name)["format"] == 99  # as it was


@pytest.mark.parametrize("name", [RESULT_NAME, COMPARISON_NAME])
def test_a_result_that_is_none_is_named(folder, name):
    write_json(folder / name, {"colour": "red"})
    with pytest.raises(ValidationError, match=r"expected a file written by esm validate or esm"):
        load_result(folder)
