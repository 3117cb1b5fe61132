"""Prototypes: distances by hand, a linear head that measures them, episodes as in the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from esm.common.errors import FitError
from esm.common.runtime import seeded
from esm.encoder.cache import EmbeddingCache
from esm.strategies.joint.episodes import EpisodeShape, draw_episodes, episode_loss, train_episodes
from esm.strategies.prototype import Prototype, prototypes
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples
from esm.training.settings import FineTuneConfig
from tests.toy_tasks import toy_task

PLAIN = TransferConfig()
EPISODES = TransferConfig(
    learning_rate=1e-3,
    own={"prototype.epochs": 2, "prototype.shots": 2, "prototype.queries": 4},
)


def test_distances_by_hand():
    embedded = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]])
    weight, bias = prototypes(embedded, np.array([0, 0, 2]), 3)
    # Prototypes (1, 0) and (0, 4); from (3, 2): 4 + 4 = 8 and 9 + 4 = 13. No row of class 1.
    point = np.array([3.0, 2.0])
    outputs = point @ weight + bias - point @ point
    assert outputs[[0, 2]].tolist() == [-8.0, -13.0]
    assert outputs[1] < -1e5


def test_the_model_measures_squared_distances_to_class_means(tiny_encoder):
    task = toy_task()
    model = Prototype().fit_task(tiny_encoder, task, task.train, PLAIN, seed=0).model
    train = tiny_encoder.embed(task.train.texts).last.astype(np.float64)
    test = tiny_encoder.embed(task.test.texts).last.astype(np.float64)
    means = np.stack([train[task.train.labels == label].mean(axis=0) for label in range(3)])
    squares = np.square(test[:, None, :] - means[None, :, :]).sum(axis=2)
    found = model.predict(task.test.texts)
    # Equal up to a number per text, ||x||², which decides nothing.
    np.testing.assert_allclose(
        found - found.mean(axis=1, keepdims=True),
        -squares + squares.mean(axis=1, keepdims=True),
        atol=1e-4,
    )


def test_nothing_is_trained_and_no_seed_matters_without_episodes(tiny_encoder):
    task = toy_task()
    one, other = (
        Prototype(EmbeddingCache(None)).fit_task(tiny_encoder, task, task.train, PLAIN, seed)
        for seed in (0, 1)
    )
    assert one.trained_parameters == 0
    outputs = one.model.predict(task.test.texts)
    np.testing.assert_array_equal(outputs, other.model.predict(task.test.texts))
    assert Prototype().settings(TransferConfig(num_epochs=9)) == {"prototype.epochs": 0}


@pytest.mark.slow
@pytest.mark.parametrize("config", [PLAIN, EPISODES])
def test_the_restored_model_is_the_same_to_the_last_bit(tiny_encoder, config):
    task = toy_task(pairs=True)
    before = {name: tensor.clone() for name, tensor in tiny_encoder.model.state_dict().items()}
    model = Prototype().fit_task(tiny_encoder, task, task.train, config, seed=0).model
    again = Prototype().restore_task(tiny_encoder, task, model.trained_state())
    columns = (task.test.texts, task.test.pairs)
    np.testing.assert_array_equal(again.predict(*columns), model.predict(*columns))
    after = tiny_encoder.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# ----------------------------------------------------------------------------------- episodes


def test_an_episode_takes_disjoint_rows_of_each_class_and_halves_a_rare_one():
    labels = np.array([0] * 20 + [1] * 3 + [2])
    episodes = draw_episodes(labels, EpisodeShape(2, 5), np.random.default_rng(0))
    for _, episode in zip(range(20), episodes, strict=False):
        assert [len(rows) for rows in episode.support] == [2, 1]
        assert [len(rows) for rows in episode.queries] == [5, 2]
        drawn = np.concatenate([*episode.support, *episode.queries])
        assert len(set(drawn)) == len(drawn)
        assert {int(label) for label in labels[drawn]} == {0, 1}
        assert set(labels[episode.support[1]]) == set(labels[episode.queries[1]]) == {1}


def test_the_loss_of_an_episode_by_hand():
    embedded = torch.tensor([[0.0], [2.0], [5.0], [2.0], [4.0]])
    # Prototypes 1 (of 0 and 2) and 5; the query 2 is of class 0, the query 4 of class 1.
    first = -math.log(math.exp(-1) / (math.exp(-1) + math.exp(-9)))
    second = -math.log(math.exp(-1) / (math.exp(-9) + math.exp(-1)))
    loss = episode_loss(embedded, [2, 1], [1, 1])
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-3)


@pytest.mark.slow
def test_episodes_of_several_tasks_make_prototypes_better(tiny_encoder):
    tasks = [toy_task(seed=seed) for seed in (1, 2)]
    unseen = toy_task(seed=3)
    config = FineTuneConfig(learning_rate=3e-3)

    def right(encoder):
        fitted = Prototype(EmbeddingCache(None)).fit_task(
            encoder, unseen, unseen.train, PLAIN, seed=0
        )
        return (fitted.model.predict(unseen.test.texts).argmax(1) == unseen.test.labels).mean()

    before = right(tiny_encoder)
    with seeded(0):
        train_episodes(
            tiny_encoder,
            [task.train for task in tasks],
            config,
            EpisodeShape(3, 5),
            epochs=10,
            name="toys",
        )
    assert right(tiny_encoder) > before + 0.1


def test_no_episode_can_be_made_of_one_class(tiny_encoder):
    rows = Examples(("a", "b", "c"), None, np.array([0, 0, 1]))
    with pytest.raises(FitError, match="1 classes of the 3 training rows have two rows or more"):
        Prototype().fit_task(tiny_encoder, toy_task(), rows, EPISODES, seed=0)
