"""Full fine-tuning: every weight moves, by the settings given or by its own."""

from __future__ import annotations

import torch

from esm.strategies.full import DEFAULT, Full
from esm.strategies.houlsby import DEFAULT as HOULSBY
from esm.strategies.settings import TransferConfig
from tests.toy_tasks import toy_task


def test_every_weight_that_has_a_part_in_the_output_moves(tiny_encoder):
    task = toy_task()
    config = TransferConfig(num_epochs=1, learning_rate=1e-3)
    model = Full().fit_task(tiny_encoder, task, task.train, config, seed=0).model
    after = model.backbone.state_dict()
    stayed = [
        name
        for name, tensor in tiny_encoder.model.state_dict().items()
        if torch.equal(tensor, after[name])
    ]
    # Mean pooling leaves BERT's pooler out.
    assert all(name.startswith("pooler.") for name in stayed)


def test_settings_take_the_place_of_the_defaults():
    config = TransferConfig(num_epochs=3, learning_rate=7e-4)
    settings = config.settings(DEFAULT, seed=5)
    expected = {"num_epochs": 3, "learning_rate": 7e-4, "class_weights": "auto", "seed": 5}
    assert settings == DEFAULT.model_copy(update=expected)
    untouched = DEFAULT.model_copy(update={"class_weights": "auto"})
    assert TransferConfig().settings(DEFAULT, seed=0) == untouched


def test_all_weights_are_trained_more_carefully_than_adapters():
    assert DEFAULT.learning_rate < HOULSBY.learning_rate
