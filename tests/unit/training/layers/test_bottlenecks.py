"""Adapters: the identity at first, at the right place, and nothing else is trained."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from esm.common.errors import EncoderError
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.training.layers.bottlenecks import (
    Bottleneck,
    adapter_parameters,
    bottleneck_parameters,
    freeze_all_but,
    insert_houlsby,
    insert_pfeiffer,
)
from tests.tiny_models import KINDS, LAYERS, WIDTH, save_tiny

TEXTS = ["the food was great", "a bad film , slow and cold", "vaccine"]


@pytest.fixture(scope="module", params=sorted(KINDS))
def any_encoder(request, tmp_path_factory):
    folder = save_tiny(request.param, tmp_path_factory.mktemp("model"))
    return Encoder.load(EncoderConfig(model=str(folder), max_length=32), device="cpu")


@pytest.fixture
def adapted(any_encoder):
    """An encoder with fresh adapters; the one it is made from is not changed."""
    copied = any_encoder.with_model(copy.deepcopy(any_encoder.model))
    insert_houlsby(copied.model, size=4)
    return copied


def stir(model):
    """Stand for training: change everything that adapter training would change."""
    with torch.no_grad():
        for name in adapter_parameters(model):
            parameter = model.get_parameter(name)
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_a_bottleneck_by_hand():
    adapter = Bottleneck(width=2, size=1)
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, -1.0]]))
        adapter.down.bias.fill_(0.5)
        adapter.up.weight.copy_(torch.tensor([[2.0], [0.0]]))
        adapter.up.bias.copy_(torch.tensor([0.0, 1.0]))
    # down: 3 - 2 + 0.5 = 1.5; gelu(z) = z Phi(z)
    gelu = 1.5 * 0.5 * (1 + math.erf(1.5 / math.sqrt(2)))
    expected = torch.tensor([3.0 + 2 * gelu, 2.0 + 1.0])
    torch.testing.assert_close(adapter(torch.tensor([3.0, 2.0])), expected)


def test_the_number_of_parameters():
    parameters = sum(p.numel() for p in Bottleneck(width=10, size=3).parameters())
    assert parameters == 2 * 10 * 3 + 10 + 3


def test_fresh_adapters_change_no_bit(any_encoder, adapted):
    before = any_encoder.embed(TEXTS, wide=True)
    after = adapted.embed(TEXTS, wide=True)
    assert (before.last == after.last).all()
    assert (before.wide == after.wide).all()


def test_two_adapters_per_layer_all_of_which_act(any_encoder, adapted):
    adapters = [m for m in adapted.model.modules() if isinstance(m, Bottleneck)]
    assert len(adapters) == 2 * LAYERS
    before = any_encoder.embed(TEXTS).last
    for adapter in adapters:
        with torch.no_grad():
            adapter.up.weight.normal_()
        assert abs(adapted.embed(TEXTS).last - before).max() > 1e-4
        nn.init.zeros_(adapter.up.weight)


def test_other_parameters_keep_names_and_values(any_encoder, adapted):
    before, after = any_encoder.model.state_dict(), adapted.model.state_dict()
    added = set(after) - set(before)
    assert set(before) <= set(after)
    assert all(".adapter." in name for name in added)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_adapter_comes_before_the_residual_is_added(tiny_encoder):
    model = tiny_encoder.model
    names = insert_houlsby(model, size=4)
    assert names[:2] == (
        "encoder.layer.0.attention.output.dense",
        "encoder.layer.0.output.dense",
    )
    block = model.encoder.layer[0].attention.output
    summed = []
    block.LayerNorm.register_forward_hook(lambda module, inputs, output: summed.append(inputs[0]))
    tiny_encoder.embed(TEXTS[:1])
    shift = torch.linspace(-1, 1, WIDTH)
    with torch.no_grad():
        block.dense.adapter.up.bias.copy_(shift)
    tiny_encoder.embed(TEXTS[:1])
    torch.testing.assert_close(summed[1] - summed[0], shift.expand_as(summed[0]))


def test_adapters_and_layer_norms_are_all_that_is_trained(adapted):
    freeze_all_but(adapted.model, adapter_parameters(adapted.model))
    trained = {name for name, p in adapted.model.named_parameters() if p.requires_grad}
    adapters = {name for name in trained if ".adapter." in name}
    assert len(adapters) == 4 * 2 * LAYERS
    norms = trained - adapters
    assert norms
    assert all("norm" in name.lower() or "ln_" in name for name in norms)


def test_one_adapter_per_layer_after_the_feed_forward_block(any_encoder):
    copied = any_encoder.with_model(copy.deepcopy(any_encoder.model))
    names = insert_pfeiffer(copied.model, size=4)
    assert set(names) < set(insert_houlsby(copy.deepcopy(any_encoder.model), size=4))
    assert len(names) == LAYERS
    assert not any("att" in name.lower() for name in names)
    before, after = any_encoder.embed(TEXTS, wide=True), copied.embed(TEXTS, wide=True)
    assert (before.last == after.last).all()
    assert (before.wide == after.wide).all()
    trained = bottleneck_parameters(copied.model)
    added = set(copied.model.state_dict()) - set(any_encoder.model.state_dict())
    assert set(trained) == added
    for name in names:
        up = copied.model.get_submodule(name).adapter.up.weight
        nn.init.normal_(up)
        assert abs(copied.embed(TEXTS).last - before.last).max() > 1e-4
        nn.init.zeros_(up)


def test_adapters_and_norms_are_all_that_training_changes(any_encoder, adapted):
    stir(adapted.model)
    trained = adapted.embed(TEXTS).last
    state = {name: adapted.model.get_parameter(name) for name in adapter_parameters(adapted.model)}

    restored = any_encoder.with_model(copy.deepcopy(any_encoder.model))
    insert_houlsby(restored.model, size=4)
    assert (restored.embed(TEXTS).last != trained).any()
    restored.model.load_state_dict(state, strict=False)
    assert (restored.embed(TEXTS).last == trained).all()


def test_a_deep_copy_has_its_own_adapters(tiny_encoder):
    insert_houlsby(tiny_encoder.model, size=4)
    before = tiny_encoder.embed(TEXTS).last
    other = copy.deepcopy(tiny_encoder.model)
    stir(other)
    assert (tiny_encoder.embed(TEXTS).last == before).all()
    assert (tiny_encoder.with_model(other).embed(TEXTS).last != before).any()


def test_an_architecture_that_is_not_known(tiny_encoder):
    tiny_encoder.model.config.model_type = "perceiver"
    with pytest.raises(EncoderError, match=r"'perceiver'; expected one of bart, bert.*t5"):
        insert_houlsby(tiny_encoder.model)


def test_layers_with_other_names(tiny_encoder):
    tiny_encoder.model.config.model_type = "gpt2"
    with pytest.raises(EncoderError, match=r"BertModel has no layer with attn\.c_proj"):
        insert_houlsby(tiny_encoder.model)


def test_a_second_insertion_is_refused(tiny_encoder):
    insert_houlsby(tiny_encoder.model)
    with pytest.raises(EncoderError, match="has an adapter already"):
        insert_houlsby(tiny_encoder.model)
