"""The auxiliary loss: which weight goes where, and what becomes of its head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BartConfig

from esm.common.errors import EncoderError, SettingError
from esm.common.runtime import seeded
from esm.strategies.aux_lm import AuxLm
from esm.strategies.full import Full
from esm.strategies.settings import TransferConfig
from esm.training.finetune import HeadedEncoder
from esm.training.language_model import LanguageModel
from esm.training.loop import Training
from tests.toy_tasks import toy_task

CONFIG = TransferConfig(num_epochs=1, batch_size=16, learning_rate=1e-3)


def weighing(weight):
    return CONFIG.model_copy(update={"own": {"aux-lm.weight": weight}})


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_loss_is_the_tasks_and_the_weighed_one_of_tokens(tiny_encoder, monkeypatch, weight):
    task = toy_task()
    trainings = []
    monkeypatch.setattr(Training, "run", lambda self: trainings.append(self))
    AuxLm().fit_task(tiny_encoder, task, task.train, weighing(weight), seed=0)
    (training,) = trainings
    batch = tiny_encoder.collate(training.texts[:8])
    training.model.eval()
    with seeded(0):
        outputs = training.model(batch)
    headed, language = training.model.headed, training.model.language
    targets = training.targets[:8]
    with seeded(0):
        alone = headed.loss(headed(batch), targets)
        guessed = language(batch)
    assert float(guessed) > 1.0
    assert float(training.loss(outputs, targets)) == pytest.approx(
        float(alone) + weight * float(guessed), rel=1e-5
    )


def test_the_task_reads_texts_as_they_are(tiny_encoder, monkeypatch):
    task = toy_task()
    trainings = []
    monkeypatch.setattr(Training, "run", lambda self: trainings.append(self))
    AuxLm().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0)
    model = trainings[0].model.eval()
    batch = tiny_encoder.collate(trainings[0].texts[:8])
    plain = model.headed(batch)
    for seed in (0, 1):
        with seeded(seed):
            torch.testing.assert_close(model(batch)[0], plain)


@pytest.mark.slow
def test_without_weight_it_is_full_fine_tuning_but_for_the_draws(tiny_encoder):
    task = toy_task()
    tiny_encoder.model.config.hidden_dropout_prob = 0.0
    for module in tiny_encoder.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = Full().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0).model
    found = AuxLm().fit_task(tiny_encoder, task, task.train, weighing(0.0), seed=0).model
    texts = task.test.texts
    np.testing.assert_allclose(found.predict(texts), expected.predict(texts), atol=1e-4)
    other = AuxLm().fit_task(tiny_encoder, task, task.train, weighing(1.0), seed=0).model
    assert abs(other.predict(texts) - expected.predict(texts)).max() > 1e-3


@pytest.mark.slow
def test_the_head_that_guesses_is_trained_thrown_away_and_told(tiny_encoder):
    task = toy_task()
    transferred = AuxLm().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0)
    guessing = LanguageModel(tiny_encoder).head_parameters
    base = sum(p.numel() for p in tiny_encoder.model.parameters())
    head = 3 * 32 + 3
    assert transferred.trained_parameters == base + head + guessing
    assert transferred.total_parameters == base + head
    assert transferred.stored_parameters == base + head + 2
    assert "no language-model head: it began at random" in transferred.remarks[0]
    model = transferred.model
    assert isinstance(model, HeadedEncoder)
    again = AuxLm().restore_task(tiny_encoder, task, model.trained_state())
    texts = task.test.texts
    np.testing.assert_array_equal(again.predict(texts), model.predict(texts))


def test_its_settings_and_what_it_refuses():
    settings = AuxLm().settings(TransferConfig())
    assert (settings["aux-lm.weight"], settings["aux-lm.masked"]) == (0.5, 0.15)
    with pytest.raises(SettingError, match="weight = '-1'"):
        AuxLm().settings(weighing(-1))
    with pytest.raises(EncoderError, match="'bart' has no language-model head"):
        AuxLm().check(BartConfig())
