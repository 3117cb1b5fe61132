"""IA3: the identity at first; keys, values and inner activations alone; merged weights agree."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import FunnelConfig, GPT2Config, ModernBertConfig

from esm.common.errors import EncoderError
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.strategies.ia3 import Ia3
from esm.strategies.settings import TransferConfig
from esm.training.layers.lora_ia3 import insert_ia3
from tests.tiny_models import KINDS, LAYERS, WIDTH, save_tiny
from tests.toy_tasks import toy_task

TEXTS = ["the food was great", "a bad film , slow and cold", "vaccine"]
CONFIG = TransferConfig(num_epochs=2, batch_size=16, learning_rate=1e-1)
FUSED = {"gpt2", "modernbert"}

# Keys, values and the projection whose inputs are the inner activations.
PLACES = {
    "bart": {"k_proj", "v_proj", "fc2"},
    "bert": {"key", "value", "dense"},
    "distilbert": {"k_lin", "v_lin", "lin2"},
    "mpnet": {"k", "v", "dense"},
    "roberta": {"key", "value", "dense"},
    "t5": {"k", "v", "wo"},
    "xlm-roberta": {"key", "value", "dense"},
}


@pytest.fixture(scope="module", params=sorted({*KINDS} - FUSED))
def any_encoder(request, tmp_path_factory):
    folder = save_tiny(request.param, tmp_path_factory.mktemp("model"))
    return Encoder.load(EncoderConfig(model=str(folder), max_length=32), device="cpu")


def with_ia3(encoder):
    copied = encoder.with_model(copy.deepcopy(encoder.model))
    insert_ia3(copied.model)
    return copied


def test_fresh_scales_change_no_bit(any_encoder):
    assert (any_encoder.embed(TEXTS).last == with_ia3(any_encoder).embed(TEXTS).last).all()


def test_keys_values_and_inner_activations_of_every_layer_and_nothing_else(any_encoder):
    changed = with_ia3(any_encoder)
    trained = {name: p for name, p in changed.model.named_parameters() if p.requires_grad}
    assert all(name.endswith(".ia3_l.default") for name in trained)
    assert {name.split(".")[-3] for name in trained} == PLACES[any_encoder.model.config.model_type]
    assert len(trained) == 3 * LAYERS
    shapes = sorted(tuple(p.shape) for p in trained.values())
    # Outputs of keys and values are scaled, inputs of the feed-forward projection.
    assert shapes == [(1, 2 * WIDTH)] * LAYERS + [(WIDTH, 1)] * 2 * LAYERS
    assert not any("attention.output" in name for name in trained)


def test_every_scale_acts(any_encoder):
    before = any_encoder.embed(TEXTS).last
    changed = with_ia3(any_encoder)
    for name, scale in changed.model.named_parameters():
        if "ia3_l" in name:
            torch.nn.init.normal_(scale)
            assert abs(changed.embed(TEXTS).last - before).max() > 1e-4, name
            torch.nn.init.ones_(scale)


@pytest.mark.slow
def test_a_trained_model_is_restored_to_the_bit_and_exported_as_plain_weights(any_encoder):
    task = toy_task()
    before = {name: tensor.clone() for name, tensor in any_encoder.model.state_dict().items()}
    model = Ia3().fit_task(any_encoder, task, task.train, CONFIG, seed=0).model
    state, expected = model.trained_state(), model.predict(task.test.texts)
    again = Ia3().restore_task(any_encoder, task, state)
    np.testing.assert_array_equal(again.predict(task.test.texts), expected)
    after = any_encoder.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)

    exported = Ia3().export_task(any_encoder, task, state)
    weights = {
        name.removeprefix("encoder."): torch.from_numpy(array)
        for name, array in exported.items()
        if name.startswith("encoder.")
    }
    assert set(weights) < set(before)
    plain = copy.deepcopy(any_encoder.model)
    plain.load_state_dict(weights, strict=False)
    embedded = any_encoder.with_model(plain).embed(task.test.texts).last
    outputs = embedded @ exported["head.weight"].T + exported["head.bias"]
    np.testing.assert_allclose(outputs, expected, atol=1e-3)


def test_the_number_of_parameters(tiny_encoder):
    task = toy_task()
    transferred = Ia3().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0)
    assert transferred.trained_parameters == LAYERS * 4 * WIDTH + 3 * WIDTH + 3


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (GPT2Config(), "'gpt2': queries and keys share a projection"),
        (ModernBertConfig(), "'modernbert': queries and keys share a projection"),
        (FunnelConfig(), "'funnel': its layers are not known"),
    ],
)
def test_other_architectures_are_refused(config, reason):
    with pytest.raises(EncoderError, match=f"{reason}; expected one of bart, bert, .*lora"):
        Ia3().check(config)
