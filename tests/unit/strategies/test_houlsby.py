"""Adapter training on every architecture: adapters, layer norms and head move, nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from esm.encoder.encoder import Encoder, EncoderConfig
from esm.strategies.houlsby import Houlsby
from esm.strategies.settings import TransferConfig
from esm.training.finetune import HeadedEncoder
from esm.training.layers.bottlenecks import (
    adapter_parameters,
    insert_houlsby,
)
from tests.tiny_models import KINDS, LAYERS, save_tiny
from tests.toy_tasks import toy_task

pytestmark = pytest.mark.slow

CONFIG = TransferConfig(num_epochs=2, batch_size=16, adapter_size=4)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_moves_and_what_stays(kind, tmp_path):
    encoder = Encoder.load(EncoderConfig(model=str(save_tiny(kind, tmp_path))), device="cpu")
    task = toy_task()
    model = Houlsby().fit_task(encoder, task, task.train, CONFIG, seed=0).model
    before, after = encoder.model.state_dict(), model.backbone.state_dict()
    trained = set(adapter_parameters(model.backbone))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    norms = trained & set(before)
    assert norms
    assert moved <= norms
    assert len(norms - moved) <= 2  # a norm after the pooled layer may have no part in it
    assert len(trained - norms) == 4 * 2 * LAYERS
    ups = [after[name] for name in trained if name.endswith("adapter.up.weight")]
    assert all(up.abs().max() > 0 for up in ups)


def test_adapters_and_head_reproduce_the_predictions(tiny_encoder, tmp_path):
    task = toy_task()
    model = Houlsby().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0).model
    trained = adapter_parameters(model.backbone)
    state = {name: model.backbone.get_parameter(name) for name in trained}
    save_file(state, tmp_path / "adapters.safetensors")

    restored = HeadedEncoder(tiny_encoder, task)
    insert_houlsby(restored.backbone, size=4)
    restored.backbone.load_state_dict(load_file(tmp_path / "adapters.safetensors"), strict=False)
    restored.head.load_state_dict(copy.deepcopy(model.head.state_dict()))
    assert (restored.predict(task.test.texts) == model.predict(task.test.texts)).all()
