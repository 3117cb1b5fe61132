"""Pre-training on the target's texts, then another strategy: what is read, kept and restored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from transformers import BartConfig, FunnelConfig

from esm.common.errors import EncoderError, ValidationError
from esm.strategies.dapt import DaptModel, _Latest, texts_of
from esm.strategies.registry import check_name, parts, reads_unlabelled, strategy
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples, SplitName, Texts
from tests.toy_tasks import toy_task

CONFIG = TransferConfig(
    num_epochs=1,
    batch_size=16,
    adapter_size=4,
    own={"dapt.epochs": 2, "dapt.batch_size": 16, "dapt.learning_rate": 1e-2, "lora.rank": 2},
)


@pytest.fixture(autouse=True)
def nothing_adapted():
    _Latest.key = _Latest.made = None


def fit(name, encoder, task=None, seed=0, config=CONFIG):
    task = task or toy_task()
    return strategy(name).fit_task(encoder, task, task.train, config, seed)


def test_names():
    assert strategy("dapt").name == "dapt"
    assert strategy("dapt+lora").name == "dapt+lora"
    assert parts("dapt+lora") == ("dapt", "lora")
    assert reads_unlabelled("dapt+lora")
    assert not reads_unlabelled("lora")
    for name in ("dapt+", "dapt+dapt", "lora+dapt", "dapt+lora+lora"):
        with pytest.raises(ValidationError, match=r"or dapt\+ and one of the first"):
            check_name(name)
    for name in ("scratch", "tfidf"):
        with pytest.raises(ValidationError, match=f"{name} starts from no weights"):
            strategy(f"dapt+{name}")


def test_settings_are_those_of_both():
    settings = strategy("dapt+lora").settings(CONFIG)
    assert (settings["dapt.num_epochs"], settings["num_epochs"]) == (2, 1)
    assert (settings["dapt.masked"], settings["lora.rank"]) == (0.15, 2)
    default = strategy("dapt").settings(TransferConfig())
    assert (default["dapt.num_epochs"], default["dapt.learning_rate"]) == (100, 1e-4)
    assert strategy("dapt").settings(TransferConfig(num_epochs=3))["dapt.num_epochs"] == 100


def test_all_texts_of_the_training_part_but_those_that_judge():
    def rows(*texts):
        return Examples(texts, None, np.zeros(len(texts), dtype=np.int64))

    task = dataclasses.replace(
        toy_task(),
        splits={
            SplitName.TRAIN: rows("d", "b", "leak"),
            SplitName.VALIDATION: rows("seen"),
            SplitName.TEST: rows("leak"),
        },
        unlabelled=Texts(("a", "b", "seen", "c")),
    )
    assert texts_of(task, rows("d")).texts == ("a", "b", "c", "d")
    pairs = toy_task(pairs=True)
    found = texts_of(pairs, pairs.train)
    judged = set(zip(pairs.test.texts, pairs.test.pairs, strict=True))
    trained = set(zip(pairs.train.texts, pairs.train.pairs, strict=True))
    assert set(zip(found.texts, found.pairs, strict=True)) == trained - judged


def test_where_every_text_judges_there_is_nothing_to_read(tiny_encoder):
    task = toy_task()
    task = dataclasses.replace(task, splits={**task.splits, SplitName.TEST: task.train})
    with pytest.raises(ValidationError, match=r"every training text of toy-.* is a validation or"):
        fit("dapt+features", tiny_encoder, task)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dapt", "dapt+houlsby", "dapt+lora", "dapt+ia3", "dapt+features", "dapt+knn"]
)
def test_the_restored_model_is_the_same_to_the_last_bit(tiny_encoder, name):
    task = toy_task()
    before = {key: tensor.clone() for key, tensor in tiny_encoder.model.state_dict().items()}
    model = fit(name, tiny_encoder, task).model
    state = model.trained_state()
    again = strategy(name).restore_task(tiny_encoder, task, state)
    expected = model.predict(task.test.texts)
    np.testing.assert_array_equal(again.predict(task.test.texts), expected)
    resaved = again.trained_state()
    assert set(resaved) == set(state)
    assert all((resaved[key] == state[key]).all() for key in state)
    after = tiny_encoder.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_what_is_trained_and_what_is_kept(tiny_encoder):
    base = sum(p.numel() for p in tiny_encoder.model.parameters())
    head, guessing = 3 * 32 + 3, 32 * 32 + 32 + 2 * 32 + tiny_encoder.model.config.vocab_size
    whole, linear = (fit(name, tiny_encoder) for name in ("dapt", "dapt+features"))
    for transferred in (whole, linear):
        assert transferred.trained_parameters == base + head + guessing
        assert transferred.stored_parameters == base + head + 2  # nothing is kept twice
        assert "no language-model head" in transferred.remarks[0]
    assert isinstance(whole.model, DaptModel)
    assert not any(name.startswith("dapt.") for name in whole.model.trained_state())


@pytest.mark.slow
def test_pre_training_matters_and_is_the_same_for_all_seeds(tiny_encoder, monkeypatch):
    task = toy_task()
    first = fit("dapt+features", tiny_encoder, task)
    plain = strategy("features").fit_task(tiny_encoder, task, task.train, CONFIG, 0)
    texts = task.test.texts
    assert (first.model.predict(texts) != plain.model.predict(texts)).any()
    monkeypatch.setattr("esm.strategies.dapt.pretrain", None)  # the next seed does not need it
    second = fit("dapt+features", tiny_encoder, task, seed=1)
    kept = "dapt.encoder.layer.0.output.dense.weight"
    one, other = (each.model.trained_state()[kept] for each in (first, second))
    np.testing.assert_array_equal(one, other)
    assert second.seconds >= 0.5 * first.seconds  # it is counted for every seed


@pytest.mark.slow
def test_texts_without_labels_are_read_too(tiny_encoder):
    task = toy_task()
    more = dataclasses.replace(task, unlabelled=Texts(("the vaccine was a cure",) * 3))
    kept = "dapt.encoder.layer.0.output.dense.weight"
    one, other = (
        fit("dapt+features", tiny_encoder, each).model.trained_state()[kept]
        for each in (task, more)
    )
    assert (one != other).any()


@pytest.mark.slow
def test_exported_weights_are_plain_and_merged(tiny_encoder):
    task = toy_task()
    model = fit("dapt+lora", tiny_encoder, task).model
    exported = strategy("dapt+lora").export_task(tiny_encoder, task, model.trained_state())
    names = {f"encoder.{name}" for name, _ in tiny_encoder.model.named_parameters()}
    assert names < set(exported)
    assert all(name in names or name.startswith("head.") for name in exported)
    tiny_encoder.model.load_state_dict(
        {
            name.removeprefix("encoder."): torch.from_numpy(array)
            for name, array in exported.items()
            if name in names
        },
        strict=False,
    )
    embedded = tiny_encoder.embed(task.test.texts).last
    outputs = embedded @ exported["head.weight"].T + exported["head.bias"]
    np.testing.assert_allclose(outputs, model.predict(task.test.texts), atol=1e-4)


@pytest.mark.slow
def test_a_damaged_state_is_refused(tiny_encoder):
    task = toy_task()
    state = fit("dapt+features", tiny_encoder, task).model.trained_state()
    name = "dapt.encoder.layer.0.output.dense.weight"
    missing = {key: array for key, array in state.items() if key != name}
    for damaged in (
        missing,
        state | {name: state[name][:4]},
        state | {name: state[name] * np.nan},
        state | {"dapt.other": np.ones(2)},
    ):
        with pytest.raises(EncoderError, match="is not that of the encoder"):
            strategy("dapt+features").restore_task(tiny_encoder, task, damaged)


def test_both_have_to_know_the_architecture():
    with pytest.raises(EncoderError, match="'bart' has no language-model head"):
        strategy("dapt+houlsby").check(BartConfig())
    with pytest.raises(EncoderError, match="'funnel' has no language-model head"):
        strategy("dapt+features").check(FunnelConfig())
    assert strategy("dapt+prototype").problems == strategy("prototype").problems
