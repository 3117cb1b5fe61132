"""Architectures that share names with others: everything inserted finds its place."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as hf

from esm.common.runtime import seeded
from esm.training.layers.bottlenecks import insert_houlsby, insert_pfeiffer
from esm.training.layers.lora_ia3 import insert_ia3, insert_lora
from esm.training.layers.prompts import insert_prompt

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
MODELS = {
    "camembert": lambda: hf.CamembertModel(hf.CamembertConfig(**SIZES)),
    "deberta-v2": lambda: hf.DebertaV2Model(hf.DebertaV2Config(**SIZES)),
    "electra": lambda: hf.ElectraModel(hf.ElectraConfig(**SIZES, embedding_size=8)),
}
IDS = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 8, 9]])


@pytest.fixture(params=sorted(MODELS))
def model(request):
    with seeded(0):
        return MODELS[request.param]().eval()


def outputs(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).last_hidden_state


@pytest.mark.parametrize(
    ("insert", "count"),
    [
        (lambda model: insert_lora(model, 2, 2), 2 * 2 * 2),
        (insert_ia3, 3 * 2),
        (lambda model: insert_houlsby(model, 4), None),
        (lambda model: insert_pfeiffer(model, 4), None),
    ],
)
def test_what_is_inserted_begins_as_the_identity(model, insert, count):
    before = outputs(model)
    changed = copy.deepcopy(model)
    insert(changed)
    assert torch.equal(outputs(changed), before)
    if count is not None:
        assert sum(p.requires_grad for p in changed.parameters()) == count
    with torch.no_grad():
        for name, parameter in changed.named_parameters():
            if any(part in name for part in ("lora_B", "ia3_l", "adapter.up")):
                parameter.normal_()
    assert not torch.allclose(outputs(changed), before, atol=1e-4)


@pytest.mark.parametrize("name", ["camembert", "electra"])
def test_a_prompt_leaves_as_many_hidden_states_as_there_are_tokens(name):
    with seeded(0):
        model = MODELS[name]().eval()
    changed = copy.deepcopy(model)
    insert_prompt(changed, 3)
    before = outputs(changed)
    assert before.shape == (*IDS.shape, 16)
    with torch.no_grad():
        changed.prompt.embedding.weight.normal_()
    assert not torch.allclose(outputs(changed), before, atol=1e-4)
