"""Pfeiffer's adapters: half of Houlsby's, layer norms untouched, a sixteenth as wide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esm.strategies.pfeiffer import Pfeiffer
from esm.strategies.settings import TransferConfig
from tests.tiny_models import LAYERS, WIDTH
from tests.toy_tasks import toy_task

CONFIG = TransferConfig(num_epochs=2, batch_size=16, learning_rate=1e-2)


@pytest.mark.slow
def test_only_adapters_and_head_move(tiny_encoder):
    task = toy_task()
    transferred = Pfeiffer().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0)
    before, after = tiny_encoder.model.state_dict(), transferred.model.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    size = WIDTH // 16
    adapters = LAYERS * (2 * WIDTH * size + WIDTH + size)
    assert transferred.trained_parameters == adapters + 3 * WIDTH + 3
    ups = [tensor for name, tensor in after.items() if name.endswith("adapter.up.weight")]
    assert len(ups) == LAYERS
    assert all(up.abs().max() > 0 for up in ups)


@pytest.mark.slow
def test_the_restored_model_is_the_same_to_the_last_bit(tiny_encoder):
    task = toy_task()
    config = CONFIG.model_copy(update={"adapter_size": 5})
    model = Pfeiffer().fit_task(tiny_encoder, task, task.train, config, seed=0).model
    again = Pfeiffer().restore_task(tiny_encoder, task, model.trained_state())
    expected = model.predict(task.test.texts)
    np.testing.assert_array_equal(again.predict(task.test.texts), expected)


def test_a_width_that_is_asked_for_takes_the_place_of_the_reduction():
    assert Pfeiffer().settings(TransferConfig())["adapter_reduction"] == 16
    chosen = Pfeiffer().settings(TransferConfig(adapter_size=5))
    assert chosen["adapter_size"] == 5
    assert "adapter_reduction" not in chosen
