"""The training loop: bounded memory, long texts in parts, bfloat16 where a GPU has it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

from esm.cli.verbs.train import FineTuneOptions
from esm.common.errors import FitError
from esm.common.runtime import has_bfloat16, seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.strategies.settings import TransferConfig
from esm.tasks.task import LABELLED, Examples, Metric, Problem, SplitName, Task
from esm.training.finetune import HeadedEncoder, fine_tune
from esm.training.loop import Training, _arguments, _Collator, _parts, _Trainer
from esm.training.settings import FineTuneConfig
from tests.toy_tasks import toy_task

ONE_EPOCH = FineTuneConfig(num_epochs=1, batch_size=8, learning_rate=1e-3)
WORDS = ("the", "film", "food", "was", "said", "very", "home", "team")


def chunked(folder, max_chunks=4, **settings):
    config = {"max_length": 12, "max_chunks": max_chunks, "stride": 0} | settings
    return Encoder.load(EncoderConfig(model=str(folder), **config), device="cpu")


def long_task(num_train=48, num_test=24, length=30):
    """Texts of 30 words, three windows; the one word that tells is among the last ten."""
    rng = np.random.default_rng(0)

    def rows(count):
        labels = np.arange(count) % 2
        texts = []
        for label in labels:
            words = list(rng.choice(WORDS, length))
            words[rng.integers(length - 10, length)] = ("happy", "awful")[label]
            texts.append(" ".join(words))
        return Examples(tuple(texts), None, labels)

    return Task(
        id="long",
        problem=Problem.CLASSIFICATION,
        metric=Metric.MACRO_F1,
        label_names=("good", "bad"),
        splits={SplitName.TRAIN: rows(num_train), SplitName.TEST: rows(num_test)},
    )


def training_of(model, task, config):
    reading = model.read(task.train)
    return Training(
        name=task.id,
        model=model,
        encoder=model.encoder,
        loss=model.loss,
        texts=reading.tokens,
        targets=model.head.prepare(reading.labels(task.train.labels), weighs=False),
        config=config,
        extra=reading.extra,
    )


def headed(encoder, task, dropout=None):
    with seeded(0):
        model = HeadedEncoder(encoder, task)
    for module in model.modules():
        if isinstance(module, nn.Dropout) and dropout is not None:
            module.p = dropout
    return model


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# ------------------------------------------------------------------------------------------ parts


def test_parts_by_hand():
    assert _parts([5, 6, 7, 8], [1, 1, 1, 1], 4) == [[5, 6, 7, 8]]
    assert _parts([5, 6, 7, 8], [2, 2, 1, 4], 4) == [[5, 6], [7], [8]]
    assert _parts([5, 6, 7], [1, 9, 1], 4) == [[5], [6], [7]]  # a text is never taken apart


@given(sizes=st.lists(st.integers(1, 9), min_size=1), capacity=st.integers(1, 12))
def test_parts_hold_every_row_once_and_are_within_capacity(sizes, capacity):
    parts = _parts(range(len(sizes)), sizes, capacity)
    assert [row for part in parts for row in part] == list(range(len(sizes)))
    assert all(len(part) == 1 or sum(sizes[row] for row in part) <= capacity for part in parts)


def gradients(training, capacity, rows, folder):
    """The gradients of one batch, taken in parts."""
    collator = _Collator(
        training.encoder, training.texts, training.targets, capacity, training.extra
    )
    arguments = _arguments(training.encoder, training.config, 1, str(folder))
    trainer = _Trainer(training, DataLoader([0]), arguments, lambda steps: None)
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.training_step(training.model, collator(rows))
    found = {name: weight.grad.clone() for name, weight in training.model.named_parameters()}
    training.model.zero_grad()
    return loss, found


@pytest.mark.parametrize("problem", LABELLED)
def test_the_gradient_of_parts_is_that_of_the_whole_batch(tiny_encoder, tmp_path, problem):
    task = toy_task(problem, num_train=16)
    training = training_of(headed(tiny_encoder, task, dropout=0.0), task, ONE_EPOCH)
    rows = [3, 1, 8, 12, 15, 0, 9, 2]
    loss, whole = gradients(training, 8, rows, tmp_path)
    batch = training.encoder.collate([training.texts[row] for row in rows])
    batch |= {name: extra[rows] for name, extra in training.extra.items()}
    by_hand = training.loss(training.model(batch), training.targets[rows])
    torch.testing.assert_close(loss, by_hand.detach())
    for capacity in (3, 1):
        again, parted = gradients(training, capacity, rows, tmp_path)
        torch.testing.assert_close(again, loss)
        for name, gradient in whole.items():
            torch.testing.assert_close(parted[name], gradient, rtol=1e-4, atol=1e-5)


def test_no_more_chunks_than_a_batch_go_through_the_model_at_once(tiny_bert, monkeypatch):
    task = long_task(num_train=20)
    model = headed(chunked(tiny_bert), task)
    sizes = []
    forward = model.backbone.forward
    monkeypatch.setattr(
        model.backbone, "forward", lambda **kw: sizes.append(len(kw["input_ids"])) or forward(**kw)
    )
    training_of(model, task, ONE_EPOCH).run()
    assert max(sizes) <= 8 < sum(sizes)  # three windows each: two texts at a time
    assert sum(sizes) == 60


# ------------------------------------------------------------------------------------ out of memory


def run_out_of_memory(monkeypatch, model, most, after=0):
    """Let the model run out of memory with more than so many inputs, after some good passes."""
    passes = []
    forward = model.backbone.forward

    def limited(**inputs):
        passes.append(len(inputs["input_ids"]))
        if passes[-1] > most and len(passes) > after:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(**inputs)

    monkeypatch.setattr(model.backbone, "forward", limited)
    return passes


@pytest.mark.slow
def test_training_begins_again_smaller_when_memory_runs_out(tiny_encoder, monkeypatch, caplog):
    task = toy_task(num_train=24)
    config = ONE_EPOCH.model_copy(update={"batch_size": 4})
    expected = headed(tiny_encoder, task)
    training_of(expected, task, config)._train(2)
    model = headed(tiny_encoder, task)
    # Two steps go well before the first one fails: nothing of them may be left.
    passes = run_out_of_memory(monkeypatch, model, most=3, after=2)
    training_of(model, task, config).run()
    assert passes == [4, 4, 4] + [2] * 12
    found = weights(model)
    assert all(torch.equal(found[name], value) for name, value in weights(expected).items())
    assert caplog.messages == [f"out of memory: training on {task.id} again, 2 texts at a time"]


@pytest.mark.slow
def test_one_text_that_does_not_fit_is_an_error_with_advice(tiny_encoder, monkeypatch):
    task = toy_task(num_train=8)
    model = headed(tiny_encoder, task)
    run_out_of_memory(monkeypatch, model, most=0)
    config = ONE_EPOCH.model_copy(update={"batch_size": 2})
    with pytest.raises(
        FitError, match=r"out of memory with one text at a time.*try: a shorter --max-length, "
    ):
        training_of(model, task, config).run()


def test_other_errors_end_a_training_at_once(tiny_encoder, monkeypatch):
    task = toy_task(num_train=8)
    model = headed(tiny_encoder, task)
    calls = []

    def broken(**inputs):
        calls.append(1)
        raise RuntimeError("bug")

    monkeypatch.setattr(model.backbone, "forward", broken)
    with pytest.raises(RuntimeError, match="bug"):
        training_of(model, task, ONE_EPOCH).run()
    assert len(calls) == 1


# --------------------------------------------------------------------------------------- long texts


@pytest.mark.slow
def test_what_only_a_later_chunk_tells_is_learnt(tiny_bert):
    settings = FineTuneConfig(num_epochs=6, batch_size=16, learning_rate=5e-3)
    task = long_task(num_train=96)
    quality = {
        chunks: fine_tune(chunked(tiny_bert, chunks), task, settings).quality["macro_f1"]
        for chunks in (1, 3)
    }
    assert quality[3] == 1.0
    assert quality[1] < 0.8  # a beginning that tells nothing


# ----------------------------------------------------------------------------------------- bfloat16


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_that_only_emulates_bfloat16_does_not_count(monkeypatch, native):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: asked.append(including_emulation) or native,
    )
    assert has_bfloat16(torch.device("cuda:1")) is native
    assert asked == [False]


@pytest.mark.parametrize("tiles", [True, False])
def test_a_processor_trains_in_bfloat16_where_it_has_tiles_for_it(monkeypatch, tiles):
    vectors_alone = {"avx512_bf16": True, "amx_bf16": tiles}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: vectors_alone, raising=False)
    assert has_bfloat16(torch.device("cpu")) is tiles


def test_a_processor_of_which_nothing_is_known_trains_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16(torch.device("cpu"))


@pytest.mark.parametrize("has_it", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_training_is_in_bfloat16_where_the_device_has_it(
    tiny_encoder, tmp_path, monkeypatch, has_it, wanted
):
    monkeypatch.setattr("esm.training.loop.has_bfloat16", lambda device: has_it)
    config = FineTuneConfig(bf16=wanted)
    assert _arguments(tiny_encoder, config, 1, str(tmp_path)).bf16 is (has_it and wanted)


def test_bfloat16_can_be_turned_off_for_sources_and_targets():
    assert FineTuneOptions().config().bf16
    assert not FineTuneOptions(bf16=False).config().bf16
    assert TransferConfig().settings(ONE_EPOCH, 0).bf16
    assert not TransferConfig(bf16=False).settings(ONE_EPOCH, 0).bf16


def test_a_training_in_bfloat16_leaves_float32_weights_and_embeddings(tiny_encoder, monkeypatch):
    monkeypatch.setattr("esm.training.loop.has_bfloat16", lambda device: True)
    formats = set()
    task = toy_task(num_train=16)
    model = headed(tiny_encoder, task)
    loss = model.loss
    forward = torch.nn.Linear.forward

    def watched(layer, hidden):  # what the head computes, before it is made float32 for the loss
        outputs = forward(layer, hidden)
        if layer is model.head:
            formats.add(outputs.dtype)
        return outputs

    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.Linear, "forward", watched)
        training_of(model, task, ONE_EPOCH).run()
    assert formats == {torch.bfloat16}
    assert model.loss == loss
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    embeddings = model.encoder.embed(task.test.texts).last
    head = model.head_state()
    expected = embeddings @ head["weight"].T + head["bias"]
    np.testing.assert_allclose(model.predict(task.test.texts), expected, atol=1e-5)
