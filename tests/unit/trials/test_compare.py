"""Real comparisons on tiny models: results, resumption, failures, sources, predictions."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import esm.trials.worker
from esm.common.errors import BusyError, SettingError, StorageError, TaskError, ValidationError
from esm.common.storage import folder_lock
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.inference.export import export_run
from esm.inference.predict import predict_file
from esm.ranking.diverse import DiverseSet, Pick
from esm.strategies.settings import TransferConfig
from esm.tasks.spec import SplitSpec, TaskSpec
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.models import ModelStore
from esm.trials.open import open_comparison
from esm.trials.results import Comparison, is_run
from esm.trials.run import compare_strategies, estimate
from esm.trials.settings import ComparisonConfig
from esm.trials.winners import winners
from tests.small_world import make_world
from tests.unit.inference.test_export import run_here

pytestmark = pytest.mark.slow

TRANSFER = TransferConfig(num_epochs=1, batch_size=8, learning_rate=5e-3, adapter_size=4)
CHEAP = ComparisonConfig(strategies=("features", "multitask"), seeds=2, transfer=TRANSFER)


@pytest.fixture(scope="module")
def base(tiny_bert):
    return EncoderConfig(model=str(tiny_bert), max_length=32)


@pytest.fixture(scope="module")
def world(tmp_path_factory, base):
    identity = Encoder.load(base, device="cpu").identity
    return make_world(tmp_path_factory.mktemp("world"), identity)


@pytest.fixture(scope="module")
def spec(world):
    return world.ranking.target_spec


def opened(spec, config, base, **more):
    return open_comparison(spec, config, base=base, device="cpu", **more)


@pytest.fixture(scope="module")
def reference(spec, base, tmp_path_factory):
    """An uninterrupted comparison, and its folder."""
    out = tmp_path_factory.mktemp("reference")
    return out, compare_strategies(opened(spec, CHEAP, base), out)


def values_of(out):
    with Ledger(out / LEDGER_NAME) as ledger:
        return {
            row.key: (row.strategy, row.attribute, row.seed, row.metrics) for row in ledger.rows()
        }


def one(found, attribute, strategy):
    (result,) = (r for r in found.attributes[attribute].strategies if r.strategy == strategy)
    return result


# ----------------------------------------------------------------------------------- results


def test_every_strategy_has_a_mean_on_every_attribute(reference):
    out, found = reference
    assert found.strategies == ("features", "multitask")
    # features: two attributes x two seeds; multitask: both attributes at once.
    assert (found.planned, found.finished) == (6, 6)
    rows = values_of(out).values()
    for attribute in ("harmful", "topic"):
        assert found.attributes[attribute].num_test == 24
        for strategy in found.strategies:
            values = [m["macro_f1"] for s, a, _, m in rows if (s, a) == (strategy, attribute)]
            result = one(found, attribute, strategy)
            assert result.mean == pytest.approx(np.mean(values))
            assert result.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(2))
            assert (result.runs, result.planned) == (2, 2)
            assert result.gap == pytest.approx(result.train - result.unseen)
            assert result.unseen_rows == "test rows"


def test_the_best_is_marked_and_what_cannot_be_told_from_it(reference):
    _, found = reference
    assert "Holm" in found.test
    for compared in found.attributes.values():
        best = max(compared.strategies, key=lambda result: result.mean)
        assert compared.best == best.strategy
        assert [result.is_best for result in compared.strategies].count(True) == 1
        for result in compared.strategies:
            if not result.is_best:
                assert 0 < result.p_against_best <= 1
                assert result.is_tied == (result.p_against_best >= 0.05)


def test_costs_are_those_of_all_attributes(reference):
    _, found = reference
    linear, joint = found.totals
    assert linear.stored_parameters == 2 * (2 * 32 + 2 + 2)  # a head and its scale each
    assert linear.next_megabytes == pytest.approx(linear.megabytes / 2)
    assert not linear.together
    assert joint.together
    # One more attribute adds a head, and all are trained again.
    assert joint.next_megabytes == pytest.approx((2 * 32 + 2 + 2) * 4 / 1e6)
    assert joint.next_seconds == pytest.approx(joint.seconds * 3 / 2)
    assert joint.megabytes_per_attribute == pytest.approx(joint.megabytes / 2)
    assert joint.stored_parameters > 10_000
    assert joint.reports[0]["rows"] == {"harmful": 40, "topic": 40}


def test_what_derives_from_the_target_is_private_and_holds_no_text(reference, world):
    out, found = reference
    text = world.target.attributes["harmful"].test.texts[0].encode()
    for path in out.rglob("*"):
        if path.is_file() and path.name != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert text not in path.read_bytes()
    assert Comparison.load(out) == found
    assert is_run(out)
    records = found.records()
    assert {(row["attribute"], row["strategy"]) for row in records} == {
        (a, s) for a in ("harmful", "topic") for s in found.strategies
    }


def test_only_the_models_of_the_best_are_kept(reference):
    out, found = reference
    kept = {one for ids in found.models.values() for one in ids}
    assert {path.name for path in ModelStore(out).folder.iterdir()} == kept
    for name, ids in found.models.items():
        assert len(ids) == 2
        (winner,) = winners(out, found, [name])
        assert [trained.record.key.seed for trained in winner.models] == [0, 1]


@pytest.mark.parametrize("strategy", ["features", "houlsby", "multitask", "ca-mtl"])
def test_the_best_labels_new_texts_as_it_labelled_the_test_rows(
    spec, base, world, tmp_path, strategy
):
    config = ComparisonConfig(strategies=(strategy,), seeds=1, transfer=TRANSFER)
    found = compare_strategies(opened(spec, config, base), tmp_path / "run")
    task = world.target.attributes["topic"]
    pd.DataFrame({"text": task.test.texts}).to_csv(tmp_path / "new.csv", index=False)
    predicted = predict_file(tmp_path / "run", tmp_path / "new.csv", device="cpu")
    assert set(predicted.attributes) == {"harmful", "topic"}
    truth = [task.label_names[label] for label in task.test.labels]
    labels = predicted.attributes["topic"].labels
    right = np.mean([a == b for a, b in zip(labels, truth, strict=True)])
    assert right == pytest.approx(one(found, "topic", strategy).metrics["accuracy"])


def test_a_learning_curve_compares_at_the_largest_size(spec, base, tmp_path):
    config = ComparisonConfig(
        strategies=("features",), seeds=1, examples=(12, None, 500), transfer=TRANSFER
    )
    found = compare_strategies(opened(spec, config, base), tmp_path)
    harmful = found.attributes["harmful"]
    assert harmful.num_train == 40
    # All 40 rows and at most 500 of them are the same training.
    assert [point.examples for point in harmful.curve] == [12, 40, 40]
    assert harmful.curve[1].mean == harmful.curve[2].mean == harmful.strategies[0].mean
    assert found.planned == 4
    assert [row["examples"] for row in found.records() if row["attribute"] == "topic"] == [40, 12]


def test_predictions_of_an_outside_system_are_a_column(spec, base, world, tmp_path):
    task = world.target.attributes["harmful"]
    names = [task.label_names[label] for label in task.test.labels]
    table = pd.DataFrame({"text": task.test.texts, "harmful": names}).drop_duplicates("text")
    table.to_csv(tmp_path / "oracle.csv", index=False)
    config = CHEAP.model_copy(update={"strategies": ("features",)})
    found = compare_strategies(
        opened(spec, config, base, predictions={"oracle": tmp_path / "oracle.csv"}),
        tmp_path / "run",
    )
    result = one(found, "harmful", "oracle")
    assert result.outside
    assert result.mean > 0.9
    assert found.attributes["harmful"].best == "oracle"
    assert set(found.models) == {"harmful", "topic"}  # the best of our own
    assert [skip.source for skip in found.skipped] == ["oracle on posts/topic"]
    with pytest.raises(SettingError, match="called 'features', like a strategy"):
        opened(spec, config, base, predictions={"features": tmp_path / "oracle.csv"})


def test_folds(spec, base, tmp_path):
    folded = spec.model_copy(update={"test": None, "split": SplitSpec(method="k-fold", folds=3)})
    config = CHEAP.model_copy(update={"seeds": 1})
    found = compare_strategies(opened(folded, config, base), tmp_path)
    assert found.folds == 3
    assert found.planned == 3 * 3
    result = one(found, "harmful", "multitask")
    assert (result.runs, result.planned) == (3, 3)
    assert "Nadeau" in found.standard_error
    assert result.standard_error is not None


# --------------------------------------------------------------------------------- resumption


def test_the_same_command_again_trains_nothing(reference, spec, base, monkeypatch):
    out, found = reference
    monkeypatch.setattr(esm.trials.worker.Worker, "run", None)
    assert compare_strategies(opened(spec, CHEAP, base), out) == found


def test_an_interrupted_comparison_goes_on_where_it_stopped(
    reference, spec, base, tmp_path, monkeypatch
):
    measure, measured = esm.trials.worker.Worker.run, []

    def interrupted(lab, cell):
        measured.append(cell)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(lab, cell)

    monkeypatch.setattr(esm.trials.worker.Worker, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare_strategies(opened(spec, CHEAP, base), tmp_path)
    half = Comparison.load(tmp_path)
    assert (half.finished, half.test) == (3, "")
    _, effort = estimate(opened(spec, CHEAP, base), tmp_path)
    assert (effort.done, effort.pending) == (3, 3)
    assert effort.basis == "3 finished runs of this folder"
    again = compare_strategies(opened(spec, CHEAP, base), tmp_path)
    assert len(measured) == 4 + 3
    assert values_of(tmp_path) == values_of(reference[0])
    assert again.keys == reference[1].keys


def test_models_of_the_best_that_are_gone_are_trained_again(reference, spec, base, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(reference[0], out)
    shutil.rmtree(ModelStore(out).folder)
    with pytest.raises(
        ValidationError, match=r"holds 0 of the 2 trained models.*it trains what is missing"
    ):
        winners(out, reference[1])
    again = compare_strategies(opened(spec, CHEAP, base), out)
    assert again.attributes == reference[1].attributes
    assert winners(out, again)


def test_further_strategies_join_the_folder(reference, spec, base, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(reference[0], out)
    more = CHEAP.model_copy(update={"strategies": ("features", "multitask", "sequential")})
    ready = opened(spec, more, base)
    assert estimate(ready, out)[1].done == 6
    found = compare_strategies(ready, out)
    assert found.finished == 8
    reports = {total.strategy: total.reports for total in found.totals}
    assert {"forgetting", "after_step", "order"} <= set(reports["sequential"][0])
    gained = one(found, "topic", "multitask")
    assert gained.gain is None  # full is not in the table


# ------------------------------------------------------------------------------------ sources


def test_sources_of_a_ranking(world, spec, base, tmp_path):
    config = ComparisonConfig(
        strategies=("features", "ensemble:features", "multitask", "multitask:sources"),
        sources=("auto",),
        top=2,
        seeds=1,
        transfer=TRANSFER,
    )
    found = compare_strategies(
        opened(spec, config, None, ranking=world.ranking, pool=world.pool), tmp_path
    )
    assert found.finished == found.planned == 6
    # The world's ranking puts reviews first and moods second.
    assert one(found, "topic", "features").source == "reviews"
    assert one(found, "topic", "multitask").source == "reviews"
    for name in ("ensemble:features", "multitask:sources"):
        result = one(found, "topic", name)
        assert (result.source, result.sources) == ("none", ("reviews", "moods"))
    rows = {total.strategy: total.reports for total in found.totals}
    assert set(rows["multitask:sources"][0]["rows"]) == {
        "harmful",
        "topic",
        "source reviews",
        "source moods",
    }


def test_sources_of_a_ranking_begin_with_the_diverse_set(world, spec):
    config = ComparisonConfig(
        strategies=("ensemble:features",), sources=("auto",), top=2, seeds=1, transfer=TRANSFER
    )
    topic = world.ranking.attributes["topic"]
    picks = (Pick(source="claims", adds=0.5), Pick(source="reviews", adds=0.1))
    chosen = topic.model_copy(update={"diverse": DiverseSet(picks=picks, passed_over=())})
    update = {"attributes": {**world.ranking.attributes, "topic": chosen}}
    ranking = world.ranking.model_copy(update=update)
    plan = opened(spec, config, None, ranking=ranking, pool=world.pool).plan
    sources = {run.attributes: run.sources for run in plan.trials}
    assert sources["topic",] == ("claims", "reviews")
    assert sources["harmful",] == ("reviews", "moods")


def test_named_sources(world, spec, base, tmp_path):
    config = ComparisonConfig(
        strategies=("features",), sources=("weather",), seeds=1, transfer=TRANSFER
    )
    found = compare_strategies(opened(spec, config, None, pool=world.pool), tmp_path)
    assert one(found, "harmful", "features").source == "weather"
    with pytest.raises(ValidationError, match="source sports cannot be used"):
        opened(spec, config.model_copy(update={"sources": ("sports",)}), None, pool=world.pool)
    with pytest.raises(ValidationError, match="source weather without a pool"):
        opened(spec, config, base)


def test_strategies_that_want_sources_are_left_out_without_any(spec, base):
    config = ComparisonConfig(strategies=("features", "ensemble"), seeds=1)
    plan = opened(spec, config, base).plan
    assert plan.strategies == ("features",)
    assert plan.skipped[0].source == "ensemble"
    with pytest.raises(ValidationError, match=r"nothing to compare for posts \(ensemble: it makes"):
        opened(spec, config.model_copy(update={"strategies": ("ensemble",)}), base)


def test_a_ranking_of_other_rows_is_refused(world, spec, base):
    config = ComparisonConfig(strategies=("features",), sources=("auto",), seeds=1)
    other = world.ranking.model_copy(update={"target_hash": "0" * 64})
    with pytest.raises(ValidationError, match="have changed since it was ranked"):
        opened(spec, config, None, ranking=other, pool=world.pool)
    named = spec.model_copy(update={"test": None})
    with pytest.raises(ValidationError, match="are not those that posts was ranked by"):
        opened(named, config, None, ranking=world.ranking, pool=world.pool)


# ----------------------------------------------------------------------------------- failures


def test_a_training_that_fails_is_named_and_the_rest_goes_on(spec, base, tmp_path, monkeypatch):
    from esm.common.errors import FitError
    from esm.strategies.joint.multitask import Multitask

    def diverges(self, *arguments):
        raise FitError("the loss is not finite")

    monkeypatch.setattr(Multitask, "fit", diverges)
    found = compare_strategies(opened(spec, CHEAP, base), tmp_path / "run")
    assert found.finished == 4
    (failure,) = found.failures
    assert (failure.strategy, failure.runs) == ("multitask", 2)
    assert failure.attributes == ("harmful", "topic")
    with pytest.raises(FitError):
        compare_strategies(opened(spec, CHEAP, base), tmp_path / "strict", strict=True)
    alone = CHEAP.model_copy(update={"strategies": ("multitask",)})
    with pytest.raises(ValidationError, match="all 2 runs failed; the first: the loss"):
        compare_strategies(opened(spec, alone, base), tmp_path / "none")


def test_another_process_in_the_folder(spec, base, tmp_path):
    with folder_lock(tmp_path), pytest.raises(BusyError):
        compare_strategies(opened(spec, CHEAP, base), tmp_path)


def test_attributes_that_are_not_there_or_cannot_be_judged(spec, base):
    with pytest.raises(TaskError, match=r"posts has no attribute mood; expected some of harmful"):
        opened(spec, CHEAP.model_copy(update={"attributes": ("mood",)}), base)


def test_no_comparison_here(tmp_path):
    with pytest.raises(StorageError, match="no result of a run"):
        Comparison.load(tmp_path)
    assert not is_run(Path(tmp_path))


# ------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("strategy", ["houlsby", "multitask", "sequential"])
def test_the_best_is_exported_as_a_plain_model(spec, base, tmp_path, strategy):
    config = ComparisonConfig(strategies=(strategy,), seeds=1, transfer=TRANSFER)
    compare_strategies(opened(spec, config, base), tmp_path / "run")
    exported = export_run(tmp_path / "run", tmp_path / "out", attributes=["topic"])
    (folder,) = (one.folder for one in exported)
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert f"by the strategy `{strategy}`" in page
    assert "The strategy was chosen by the test rows" in page
    texts = ["the film was good", "the vaccine was awful"]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "new.csv", index=False)
    expected = predict_file(tmp_path / "run", tmp_path / "new.csv", attributes=["topic"])
    np.testing.assert_allclose(
        run_here(folder, texts), expected.attributes["topic"].probabilities, rtol=1e-4
    )


def test_what_no_plain_model_does_is_not_exported(spec, base, tmp_path):
    config = ComparisonConfig(strategies=("ca-mtl",), seeds=1, transfer=TRANSFER)
    compare_strategies(opened(spec, config, base), tmp_path / "run")
    with pytest.raises(ValidationError, match="ca-mtl cannot be exported: its encoder reads texts"):
        export_run(tmp_path / "run", tmp_path / "out")


def test_a_test_that_lost_a_class_is_named(base, tmp_path):
    train = {"text": [f"row number {i} is here" for i in range(60)], "x": ["a", "b", "c"] * 20}
    test = {"text": [f"test number {i} is here" for i in range(20)], "x": ["A", "b"] * 10}
    for name, table in (("train", train), ("test", test)):
        pd.DataFrame(table).to_csv(tmp_path / f"{name}.csv", index=False)
    spec = TaskSpec(location=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    config = CHEAP.model_copy(update={"strategies": ("features",), "seeds": 1})
    found = compare_strategies(opened(spec, config, base), tmp_path / "run").attributes["x"]
    assert found.num_test == 20
    assert found.untested == ("c",)
    assert found.data_notes == (
        "classes without a test row: 1 of 3; in train: c 20; scores say nothing of them",
        "rows whose label is another spelling of a class: 10; read A as a 10",
    )
