"""Gradual unfreezing: exactly the unfrozen layers move, each by its own rate and schedule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from esm.common.errors import EncoderError
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.strategies.gradual import DEFAULT, Gradual, layer_groups, model_groups
from esm.strategies.settings import TransferConfig
from esm.training import loop as training
from esm.training.finetune import HeadedEncoder
from esm.training.schedules import Pace, slanted_triangular, split_by_rate
from tests.tiny_models import KINDS, LAYERS, save_tiny
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow

GROUPS = 1 + LAYERS + 1  # head, layers, embeddings


def config(epochs):
    return TransferConfig(num_epochs=epochs, batch_size=16, learning_rate=1e-2)


@pytest.fixture
def epochs_seen(monkeypatch):
    """Weights before each epoch and after the last, and the rates of the steps."""
    seen, rates = [], []

    class Watching(training._Progress):
        def on_epoch_begin(self, args, state, control, **kwargs):
            seen.append({n: p.detach().clone() for n, p in kwargs["model"].named_parameters()})

        def on_step_begin(self, args, state, control, **kwargs):
            optimizer = kwargs["optimizer"]
            rates.append({id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]})

        def on_train_end(self, args, state, control, **kwargs):
            self.on_epoch_begin(args, state, control, **kwargs)
            names = {id(p): n for n, p in kwargs["model"].named_parameters()}
            rates[:] = [{names[i]: rate for i, rate in step.items()} for step in rates]

    monkeypatch.setattr(training, "_Progress", Watching)
    return seen, rates


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_parameter_is_in_one_group_from_the_last_layer_to_the_embeddings(kind, tmp_path):
    encoder = Encoder.load(EncoderConfig(model=str(save_tiny(kind, tmp_path))), device="cpu")
    groups = layer_groups(encoder.model)
    names = [name for name, _ in encoder.model.named_parameters()]
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert len(groups) == LAYERS + 1
    lowest = {name.split(".")[0] for name in groups[-1]}
    assert all("emb" in name or name in {"wte", "wpe", "encoder", "block"} for name in lowest)
    for number, group in zip(reversed(range(LAYERS)), groups, strict=False):
        assert any(str(number) in name.split(".") for name in group)


def test_each_epoch_moves_exactly_the_unfrozen_layers(tiny_encoder, epochs_seen):
    task = toy_task()
    model = Gradual().fit_task(tiny_encoder, task, task.train, config(GROUPS + 1), seed=0).model
    seen, _ = epochs_seen
    groups = model_groups(model)
    assert len(groups) == GROUPS
    assert len(seen) == GROUPS + 2
    for epoch, (before, after) in enumerate(itertools.pairwise(seen)):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        unfrozen = frozenset().union(*groups[: epoch + 1])
        assert moved <= unfrozen, epoch
        # All weights of a layer take part but the bias of its keys, which softmax takes out.
        assert all("key.bias" in name for name in unfrozen - moved), unfrozen - moved


def test_rates_fall_from_layer_to_layer_and_follow_the_slanted_triangle(tiny_encoder, epochs_seen):
    task = toy_task()
    Gradual().fit_task(tiny_encoder, task, task.train, config(GROUPS), seed=0)
    _, rates = epochs_seen
    steps = GROUPS * 3
    assert len(rates) == steps
    triangle = slanted_triangular()
    depths = {
        "head.weight": 0,
        "head.bias": 0,
        "backbone.encoder.layer.1.output.dense.weight": 1,
        "backbone.encoder.layer.0.output.LayerNorm.bias": 2,
        "backbone.embeddings.word_embeddings.weight": 3,
    }
    for step, found in enumerate(rates):
        for name, depth in depths.items():
            assert found[name] == pytest.approx(1e-2 * 2.6**-depth * triangle(step, steps))


def test_few_epochs_leave_the_lower_layers_alone_and_it_is_said(tiny_encoder):
    task = toy_task()
    transferred = Gradual().fit_task(tiny_encoder, task, task.train, config(2), seed=0)
    assert transferred.remarks == ("the head and 1 of 3 groups of layers were trained",)
    groups = model_groups(transferred.model)
    trained = {n for n, p in transferred.model.named_parameters() if p.requires_grad}
    assert trained == groups[0] | groups[1]
    whole = Gradual().fit_task(tiny_encoder, task, task.train, config(GROUPS), seed=0)
    assert whole.remarks == ()
    assert whole.trained_parameters == whole.total_parameters > transferred.trained_parameters


@pytest.mark.parametrize("epochs", [1, 2, GROUPS])
def test_the_restored_model_is_the_same_to_the_last_bit(tiny_encoder, epochs):
    task = toy_task()
    model = Gradual().fit_task(tiny_encoder, task, task.train, config(epochs), seed=0).model
    state = model.trained_state()
    again = Gradual().restore_task(tiny_encoder, task, state)
    expected = model.predict(task.test.texts)
    np.testing.assert_array_equal(again.predict(task.test.texts), expected)
    if epochs > 1:
        del state["encoder.encoder.layer.1.output.dense.weight"]
        with pytest.raises(EncoderError, match="are not those of its upper layers"):
            Gradual().restore_task(tiny_encoder, task, state)


def test_running_out_of_memory_begins_again_with_the_same_stages(tiny_encoder, monkeypatch):
    task = toy_task()
    tiny_encoder.model.config.hidden_dropout_prob = 0.0  # its draws would differ between sizes
    for module in tiny_encoder.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = Gradual().fit_task(tiny_encoder, task, task.train, config(GROUPS), seed=0).model
    pooled, failed = Encoder.pooled, []

    def limited(self, batch):
        # In the middle of a later stage, once.
        failed.append(len(batch["input_ids"]))
        if len(failed) == 7:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return pooled(self, batch)

    monkeypatch.setattr(Encoder, "pooled", limited)
    model = Gradual().fit_task(tiny_encoder, task, task.train, config(GROUPS), seed=0).model
    assert len(failed) > GROUPS * 3 + 7
    one, other = (each.predict(task.test.texts) for each in (model, expected))
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_groups_of_an_optimiser_are_split_by_rate_and_keep_their_weight_decay(tiny_encoder):
    model = HeadedEncoder(tiny_encoder, toy_task())
    named = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in named.values() if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in named.values() if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=1e-3,
    )
    split_by_rate(optimizer, model, {"head.weight": 10.0, "head.bias": 10.0})
    groups = optimizer.param_groups
    assert [g["lr"] for g in groups] == pytest.approx([1e-3, 1e-2, 1e-3, 1e-2])
    assert [g["weight_decay"] for g in groups] == [0.1, 0.1, 0.0, 0.0]
    assert [id(p) for p in groups[1]["params"]] == [id(named["head.weight"])]
    assert sum(len(g["params"]) for g in groups) == len(named)


def test_without_a_pace_nothing_is_different():
    assert Pace() == Pace(rates={}, schedule=None, stages=None)
    assert Gradual().settings(TransferConfig())["num_epochs"] == DEFAULT.num_epochs
