"""LoRA: the identity at first, queries and values alone, merged weights say the same."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import FunnelConfig

from esm.common.errors import EncoderError, SettingError
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.strategies.lora import Lora
from esm.strategies.settings import TransferConfig
from esm.training.layers.lora_ia3 import insert_lora
from tests.tiny_models import KINDS, LAYERS, WIDTH, save_tiny
from tests.toy_tasks import toy_task

TEXTS = ["the food was great", "a bad film , slow and cold", "vaccine"]
CONFIG = TransferConfig(num_epochs=2, batch_size=16, learning_rate=1e-2, own={"lora.rank": 2})

# Where queries and values are computed; modules that compute keys too are changed as a whole.
PLACES = {
    "bart": {"q_proj", "v_proj"},
    "bert": {"query", "value"},
    "distilbert": {"q_lin", "v_lin"},
    "gpt2": {"c_attn"},
    "modernbert": {"Wqkv"},
    "mpnet": {"q", "v"},
    "roberta": {"query", "value"},
    "t5": {"q", "v"},
    "xlm-roberta": {"query", "value"},
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def any_encoder(request, tmp_path_factory):
    folder = save_tiny(request.param, tmp_path_factory.mktemp("model"))
    return Encoder.load(EncoderConfig(model=str(folder), max_length=32), device="cpu")


def with_lora(encoder, rank=2, alpha=4):
    copied = encoder.with_model(copy.deepcopy(encoder.model))
    insert_lora(copied.model, rank, alpha)
    return copied


def test_fresh_changes_change_no_bit(any_encoder):
    before, after = any_encoder.embed(TEXTS).last, with_lora(any_encoder).embed(TEXTS).last
    assert (before == after).all()


def test_queries_and_values_of_every_layer_and_nothing_else(any_encoder):
    changed = with_lora(any_encoder)
    downs = [name for name, _ in changed.model.named_parameters() if "lora_A" in name]
    places = {name.split(".")[-4] for name in downs}
    kind = any_encoder.model.config.model_type
    assert places == PLACES[kind]
    assert len(downs) == LAYERS * len(PLACES[kind])
    trained = [name for name, p in changed.model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(downs)
    assert all("lora_" in name for name in trained)


def test_every_change_acts(any_encoder):
    before = any_encoder.embed(TEXTS).last
    changed = with_lora(any_encoder)
    for name, up in changed.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(up)
            assert abs(changed.embed(TEXTS).last - before).max() > 1e-4, name
            torch.nn.init.zeros_(up)


@pytest.mark.slow
def test_a_trained_model_is_restored_to_the_bit_and_exported_as_plain_weights(any_encoder):
    task = toy_task()
    before = {name: tensor.clone() for name, tensor in any_encoder.model.state_dict().items()}
    transferred = Lora().fit_task(any_encoder, task, task.train, CONFIG, seed=0)
    model, state = transferred.model, transferred.model.trained_state()
    expected = model.predict(task.test.texts)
    again = Lora().restore_task(any_encoder, task, state)
    np.testing.assert_array_equal(again.predict(task.test.texts), expected)

    after = any_encoder.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    exported = Lora().export_task(any_encoder, task, state)
    plain = copy.deepcopy(any_encoder.model)
    weights = {
        name.removeprefix("encoder."): torch.from_numpy(array)
        for name, array in exported.items()
        if name.startswith("encoder.")
    }
    assert set(weights) < set(before)
    assert any((weights[name] != before[name]).any() for name in weights)
    plain.load_state_dict(weights, strict=False)
    embedded = any_encoder.with_model(plain).embed(task.test.texts).last
    outputs = embedded @ exported["head.weight"].T + exported["head.bias"]
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_the_number_of_parameters(tiny_encoder):
    task = toy_task()
    transferred = Lora().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0)
    changes = LAYERS * 2 * (2 * WIDTH * 2)
    head = 3 * WIDTH + 3
    assert transferred.trained_parameters == changes + head
    assert transferred.stored_parameters == changes + head + 3  # label scale, and alpha


def test_the_scale_of_a_change_is_alpha_over_rank(tiny_encoder):
    small, large = (with_lora(tiny_encoder, rank=2, alpha=alpha) for alpha in (2, 4))
    place = "encoder.layer.0.attention.self.query"
    hidden = torch.randn(3, WIDTH)
    outputs = []
    for encoder in (small, large):
        layer = encoder.model.get_submodule(place)
        torch.nn.init.ones_(layer.lora_A["default"].weight)
        torch.nn.init.ones_(layer.lora_B["default"].weight)
        outputs.append(layer(hidden) - layer.base_layer(hidden))
    # B A x with ones: rank times the sum of x; times alpha / rank.
    torch.testing.assert_close(outputs[0][:, 0], 2 * hidden.sum(dim=1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outputs[1], 2 * outputs[0], rtol=1e-4, atol=1e-4)


def test_settings_are_those_of_the_paper_unless_set():
    assert Lora().settings(TransferConfig())["lora.rank"] == 8
    settings = Lora().settings(TransferConfig(own={"lora.alpha": "16"}))
    assert (settings["lora.rank"], settings["lora.alpha"]) == (8, 16)
    with pytest.raises(SettingError, match="rank = '0'"):
        Lora().settings(TransferConfig(own={"lora.rank": "0"}))


def test_other_architectures_are_refused():
    with pytest.raises(EncoderError, match=r"'funnel' is not known; expected one of bart"):
        Lora().check(FunnelConfig())


def test_a_state_without_its_scale_is_refused(tiny_encoder):
    task = toy_task()
    state = Lora().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0).model.trained_state()
    del state["lora.alpha"]
    with pytest.raises(EncoderError, match=r"expected LoRA of one rank, and its scale"):
        Lora().restore_task(tiny_encoder, task, state)
