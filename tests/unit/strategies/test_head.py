"""A neural head: training on cached embeddings is training through the frozen encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from esm.common.errors import EncoderError, FitError
from esm.common.runtime import seeded
from esm.encoder.cache import EmbeddingCache
from esm.strategies.head import DEFAULT, Head, new_layers, train_layers
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Problem
from esm.training.settings import FineTuneConfig
from tests.toy_tasks import TEXT_KINDS, toy_task

CONFIG = TransferConfig(num_epochs=3, batch_size=16, learning_rate=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("problem", TEXT_KINDS)
def test_cached_embeddings_give_what_training_through_the_encoder_gives(tiny_encoder, problem):
    task = toy_task(problem)
    rows = task.train
    model = Head(EmbeddingCache(None)).fit_task(tiny_encoder, task, rows, CONFIG, seed=3).model

    scaler = StandardScaler().fit(tiny_encoder.embed(rows.texts).last.astype(np.float64))
    mean, scale = (torch.from_numpy(array) for array in (scaler.mean_, scaler.scale_))
    passes = []

    def embed(batch):
        passes.append(batch)
        tokens = tiny_encoder.tokenize([rows.texts[row] for row in batch])
        pooled = tiny_encoder.pooled(tiny_encoder.collate(tokens))
        return ((pooled - mean) / scale).float()

    with seeded(3):
        layers = new_layers(tiny_encoder.width, task)
        settings = CONFIG.settings(DEFAULT, 3)
        train_layers(
            layers, task, rows.labels, embed, settings, weighs=problem is not Problem.REGRESSION
        )
    assert len(passes) == 3 * 3  # every epoch passes every row through the encoder
    inputs = torch.from_numpy(scaler.transform(tiny_encoder.embed(task.test.texts).last)).float()
    outputs = layers(inputs).detach().numpy()
    if problem in (Problem.REGRESSION, Problem.ORDINAL):
        outputs = outputs * rows.labels.std() + rows.labels.mean()
    np.testing.assert_allclose(model.predict(task.test.texts), outputs, rtol=1e-3, atol=1e-3)


def test_only_the_head_is_trained_and_kept(tiny_encoder):
    task = toy_task()
    transferred = Head().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0)
    state = transferred.model.trained_state()
    assert all(name.startswith("head.") for name in state)
    assert transferred.trained_parameters == 32 * 32 + 32 + 32 * 3 + 3
    assert transferred.model.encoder is tiny_encoder


def test_the_restored_head_is_the_same_to_the_last_bit(tiny_encoder):
    task = toy_task(Problem.REGRESSION)
    model = Head().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0).model
    again = Head().restore_task(tiny_encoder, task, model.trained_state())
    expected = model.predict(task.test.texts)
    np.testing.assert_array_equal(again.predict(task.test.texts), expected)


def test_a_state_of_another_width_is_refused(tiny_encoder):
    task = toy_task()
    state = Head().fit_task(tiny_encoder, task, task.train, CONFIG, seed=0).model.trained_state()
    with pytest.raises(EncoderError, match=r"trained weights of toy-.* do not fit"):
        Head().restore_task(tiny_encoder, toy_task(num_classes=2), state)


def test_another_seed_gives_another_head(tiny_encoder):
    task = toy_task()
    one, other = (
        Head().fit_task(tiny_encoder, task, task.train, CONFIG, seed).model.predict(task.test.texts)
        for seed in (0, 1)
    )
    assert (one != other).any()


def test_numbers_that_are_not_finite_are_no_model():
    task = toy_task()
    layers = new_layers(4, task)
    broken = torch.full((48, 4), torch.nan)
    with pytest.raises(FitError, match=r"training on toy-classification diverged"):
        train_layers(
            layers,
            task,
            task.train.labels,
            lambda batch: broken[batch],
            FineTuneConfig(num_epochs=1),
            weighs=False,
        )
