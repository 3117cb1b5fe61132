"""Trained models that are kept: restored exactly, removed when they lose, refused when damaged."""

from __future__ import annotations

import stat

import numpy as np
import pytest

from esm.common.errors import EncoderError, MapError, StorageError, ValidationError
from esm.common.storage import read_json, write_json
from esm.metrics.calibration import CalibratedOn
from esm.strategies.registry import STRATEGIES, strategy
from esm.tasks.task import Problem
from esm.trials.encoders import MODELS_NAME
from esm.trials.models import ModelStore
from esm.trials.results import Validation
from esm.trials.trial import Trial
from esm.trials.winners import StartEncoders, winners
from tests.toy_tasks import toy_task
from tests.trained_world import a_key, make_run

TASKS = {
    "topic": toy_task(),
    "rating": toy_task(Problem.REGRESSION),
    "labels": toy_task(Problem.MULTILABEL),
    "spans": toy_task(Problem.TAGGING),
}


@pytest.fixture
def features_run(tmp_path, tiny_encoder):
    """One attribute, two seeds, features."""
    return make_run(tmp_path / "run", tiny_encoder, {"topic": TASKS["topic"]})


def restored(run, attribute):
    validation = Validation.load(run.folder)
    (winner,) = winners(run.folder, validation, [attribute])
    encoders = StartEncoders(run.folder, validation, "cpu")
    return [trained.restore(encoders.encoder(trained.record)) for trained in winner.models]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STRATEGIES, "dapt+houlsby"])
def test_a_restored_model_predicts_what_it_predicted(tmp_path, tiny_encoder, name):
    problems = strategy(name).problems
    tasks = {each: task for each, task in TASKS.items() if task.problem in problems}
    run = make_run(tmp_path, tiny_encoder, tasks, name=name, seeds=1)
    for attribute, task in tasks.items():
        (model,), (again,) = run.models[attribute], restored(run, attribute)
        expected = model.predict(task.test.texts)
        np.testing.assert_array_equal(again.predict(task.test.texts), expected)


def test_every_kind_of_encoder_is_the_same_when_it_is_tuned_on_a_source(tmp_path, tiny_encoder):
    task = toy_task(pairs=True)
    run = make_run(tmp_path, tiny_encoder, {"topic": task}, name="houlsby", source="reviews")
    assert len(list((run.folder / MODELS_NAME).iterdir())) == 1
    for model, again in zip(run.models["topic"], restored(run, "topic"), strict=True):
        texts = (task.test.texts, task.test.pairs)
        np.testing.assert_array_equal(again.predict(*texts), model.predict(*texts))


def test_what_is_kept_is_private_and_holds_no_text(features_run):
    files = [path for path in features_run.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "joint.json",
        "model.json",
        "model.safetensors",
        "calibration.safetensors",
        "validation.json",
    }
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not any(text.encode() in path.read_bytes() for text in TASKS["topic"].test.texts)


def test_a_record_says_what_the_model_predicts_and_how_sure_it_may_be(features_run):
    first, second = ModelStore(features_run.folder).models()
    assert (first.record.key.seed, second.record.key.seed) == (0, 1)
    assert first.record.id == "posts/topic"
    assert first.record.label_names == ("a", "b", "c")
    assert first.record.text_columns == ("text",)
    calibration = first.record.calibration
    assert (calibration.calibrated_on, calibration.rows) == (CalibratedOn.TEST, 24)
    outputs, labels = first.calibration_outputs()
    assert outputs.shape == (24, 3)
    np.testing.assert_array_equal(labels, TASKS["topic"].test.labels)


def test_values_have_no_calibration(tmp_path, tiny_encoder):
    make_run(tmp_path, tiny_encoder, {"rating": TASKS["rating"]}, seeds=1)
    (trained,) = ModelStore(tmp_path).models()
    assert trained.record.calibration is None
    with pytest.raises(StorageError, match="no file"):
        trained.calibration_outputs()


def test_models_of_other_runs_are_removed(features_run, tiny_encoder):
    store = ModelStore(features_run.folder)
    first, second = (Trial((a_key("topic", tiny_encoder, seed=seed),)) for seed in (0, 1))
    store.remove_all_but([second])
    assert not store.has(first)
    assert store.has(second)
    store.remove([second])
    store.remove([second])
    assert store.models() == []


# --------------------------------------------------------------------------------------- damage


def the_model(run):
    return ModelStore(run.folder).models()[0].whole


def test_truncated_weights(features_run):
    path = the_model(features_run) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MapError, match="truncated"):
        restored(features_run, "topic")


@pytest.mark.parametrize("name", ["features", "houlsby", "full"])
def test_weights_of_another_task_do_not_fit(tmp_path, tiny_encoder, name):
    two = toy_task(num_classes=2)
    run = make_run(tmp_path, tiny_encoder, {"topic": TASKS["topic"]}, name=name, seeds=1)
    other = make_run(tmp_path / "other", tiny_encoder, {"topic": two}, name=name, seeds=1)
    (the_model(other) / "model.safetensors").replace(the_model(run) / "model.safetensors")
    with pytest.raises(EncoderError, match=r"trained weights of .* do not fit"):
        restored(run, "topic")


def test_weights_without_adapters(tmp_path, tiny_encoder):
    task = {"topic": TASKS["topic"]}
    run = make_run(tmp_path, tiny_encoder, task, name="houlsby", seeds=1)
    other = make_run(tmp_path / "other", tiny_encoder, task, seeds=1)
    (the_model(other) / "model.safetensors").replace(the_model(run) / "model.safetensors")
    with pytest.raises(EncoderError, match="hold adapters of 0 sizes"):
        restored(run, "topic")


def test_a_base_model_that_changed_is_refused(features_run):
    for trained in ModelStore(features_run.folder).models():
        path = trained.folder / "model.json"
        record = read_json(path)
        record["start"]["weights"] = "0" * 64
        write_json(path, record)
    with pytest.raises(EncoderError, match="has changed since posts/topic was trained on it"):
        restored(features_run, "topic")


def test_a_tuned_encoder_that_is_gone(tmp_path, tiny_encoder):
    task = {"topic": TASKS["topic"]}
    run = make_run(tmp_path, tiny_encoder, task, source="reviews", seeds=1)
    for folder in (run.folder / MODELS_NAME).iterdir():
        folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ValidationError, match=r"encoder tuned on reviews is gone .* no pool in"):
        restored(run, "topic")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99"),
        ({"problem": "riddle"}, r"model\.json: problem: Input should be"),
        ({"more": 1}, r"model\.json: more: Extra inputs"),
    ],
)
def test_a_record_that_was_altered_is_refused(features_run, change, message):
    path = the_model(features_run) / "0" / "model.json"
    write_json(path, read_json(path) | change)
    with pytest.raises(ValidationError, match=message):
        ModelStore(features_run.folder).models()


# -------------------------------------------------------------------------------------- winners


def altered(run, **changes):
    validation = Validation.load(run.folder).model_copy(update=changes)
    return lambda *attributes: winners(run.folder, validation, attributes)


def test_the_winner_of_an_attribute_is_all_its_models(features_run):
    (winner,) = altered(features_run)()
    assert (winner.attribute, winner.source, len(winner.models)) == ("topic", "none", 2)


def test_an_unknown_attribute(features_run):
    with pytest.raises(ValidationError, match=r"attribute mood is not in .*; expected some of top"):
        altered(features_run)("mood")


@pytest.mark.parametrize("attributes", [(), ("topic",)])
def test_an_attribute_without_a_winner(features_run, attributes):
    with pytest.raises(ValidationError, match=r"has no winner for .*the same command"):
        altered(features_run, winners={})(*attributes)


def test_models_that_are_gone(features_run, tiny_encoder):
    ModelStore(features_run.folder).remove([Trial((a_key("topic", tiny_encoder),))])
    with pytest.raises(ValidationError, match="1 of the 2 trained models of topic with none"):
        altered(features_run)()


def test_models_of_another_command_in_the_same_folder_do_not_vote(features_run):
    keys = Validation.load(features_run.folder).keys[:1]
    with pytest.raises(ValidationError, match="1 of the 2 trained models"):
        altered(features_run, keys=keys)()
