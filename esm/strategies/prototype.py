"""Prototypes (Snell et al. 2017): a text belongs to the class whose mean embedding is nearest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from typing_extensions import override

from esm.common.arrays import Array
from esm.common.records import Record
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.joint.episodes import EpisodeShape, train_episodes
from esm.strategies.linear import NEVER, LinearModel
from esm.strategies.protocol import PASSES_PER_STEP, Strategy, TransferModel, encoder_size
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort, Frozen, Learnt
from esm.tasks.task import Examples, Outputs, Problem, Task
from esm.training.finetune import HeadedEncoder
from esm.training.settings import FineTuneConfig
from esm.training.state import State

DEFAULT = FineTuneConfig(num_epochs=1, learning_rate=2e-5)


class PrototypeSettings(Record):
    """What prototypes alone can be told.

    Attributes:
        epochs: How often the training rows go through episodes first; 0 leaves the encoder alone.
        shots: Rows of a class that make its prototype in an episode.
        queries: Rows of a class that are to be recognised in an episode.
    """

    epochs: int = Field(default=0, ge=0)
    shots: int = Field(default=5, ge=1)
    queries: int = Field(default=15, ge=1)


class Prototype(Frozen):
    """Take the mean embedding of each class; outputs are negative squared Euclidean distances.

    With ``prototype.epochs`` the encoder is first trained on episodes of the training rows. For
    related sources, see :func:`esm.strategies.joint.episodes.train_episodes`.

    Source:
        Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning": equation 1
        and, for the linear form, equation 8; 5 shots and 15 queries. The learning rate of episodes
        is one for pre-trained Transformers.
    """

    name = "prototype"
    seed_varies = "episodes, where the encoder is trained on some; else nothing"
    problems = frozenset({Problem.CLASSIFICATION})

    @override
    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> Strategy:
        from esm.strategies.joint.episodic import EpisodicPrototypes

        return EpisodicPrototypes(name) if words else cls()

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See ``Strategy.settings``; without episodes there are none."""
        own = config.own_settings(self.name, PrototypeSettings)
        if not own.epochs:
            return {"prototype.epochs": 0}
        settings = config.settings(DEFAULT, 0)
        return {f"{self.name}.{name}": value for name, value in own.model_dump().items()} | {
            "learning_rate": settings.learning_rate,
            "weight_decay": settings.weight_decay,
        }

    @override
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        epochs = int(settings["prototype.epochs"])
        stored = encoder_size(base, vocabulary) if epochs else 0
        return Effort(passes=1 + PASSES_PER_STEP * epochs, stored=stored)

    def learn(
        self,
        encoder: Encoder,
        task: Task,
        rows: Examples,
        config: TransferConfig,
        seed: int,
        *,
        weighs: bool,
    ) -> Learnt:
        """See :meth:`esm.strategies.single.Frozen.learn`; classes always weigh the same."""
        own = config.own_settings(self.name, PrototypeSettings)
        head = task.num_outputs * (encoder.width + 1)
        if own.epochs:
            model = _trained(encoder, task, rows, config.settings(DEFAULT, seed), own)
            return Learnt(model, sum(p.numel() for p in encoder.model.parameters()), head)
        embedded = self._cache.embed(encoder, rows.texts, rows.pairs).last
        weight, bias = prototypes(embedded, rows.labels, task.num_outputs)
        return Learnt(LinearModel(encoder, weight, bias, self._cache), 0, head)

    @override
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> TransferModel:
        if not any(name.startswith("encoder.") for name in state):
            return LinearModel.of_state(encoder, task, state, self._cache)
        with seeded(0):
            model = HeadedEncoder(encoder, task)
        model.load_trained(state)
        return model


def prototypes(embedded: Array, labels: Array, num_classes: int) -> tuple[Array, Array]:
    """Return the linear head that measures the distance to each class's mean embedding.

    ``-||x - m||² = 2 m x - ||m||² - ||x||²``, and what all classes share decides nothing. A class
    without a row is never predicted.

    Args:
        embedded: (n, d) embeddings.
        labels: (n,) classes.
        num_classes: c.

    Returns:
        (d, c) float64 weight and (c,) bias.
    """
    exact = embedded.astype(np.float64)
    weight = np.zeros((exact.shape[1], num_classes))
    bias = np.full(num_classes, NEVER)
    for label in np.unique(labels):
        mean = exact[labels == label].mean(axis=0)
        weight[:, label], bias[label] = 2 * mean, -(mean @ mean)
    return weight, bias


def _trained(
    encoder: Encoder, task: Task, rows: Examples, config: FineTuneConfig, own: PrototypeSettings
) -> HeadedEncoder:
    """Train a copy of the encoder on episodes; its head are the prototypes of all rows."""
    with seeded(config.seed):
        model = HeadedEncoder(encoder, task)
        shape = EpisodeShape(own.shots, own.queries)
        train_episodes(model.encoder, [rows], config, shape, epochs=own.epochs, name=task.id)
    embedded = model.encoder.embed(rows.texts, rows.pairs).last
    weight, bias = prototypes(embedded, rows.labels, task.num_outputs)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight.T))
        model.head.bias.copy_(torch.from_numpy(bias))
    return model
