"""Prototypes in an encoder that was trained on episodes of related sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from typing_extensions import override

from esm.common.errors import ValidationError
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import needs_sources
from esm.strategies.joint.episodes import EpisodeShape, train_episodes
from esm.strategies.protocol import PASSES_PER_STEP, Jointly, Lesson, SourceTask, Strategy, metered
from esm.strategies.prototype import DEFAULT, PrototypeSettings, prototypes
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Outputs, Problem
from esm.training.heads import SharedEncoder, SharedHeads

_BASE = "prototype"

# Passes over the sources where the setting of the single strategy says none.
_EPOCHS = 1


class EpisodicPrototypes(SharedHeads, Strategy):
    """Train one encoder on episodes of the sources, then take each attribute's mean embeddings.

    The target's rows make prototypes and nothing else: what is learnt is to tell classes apart
    from a few rows, and it is learnt where there are many.

    Source:
        Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning"; Kumar et al.
        2021, "ProtoDA: Efficient Transfer Learning for Few-Shot Intent Classification", for
        episodes of related sources.
    """

    together = True
    wants_sources = True
    learns_sources = True
    separate = _BASE
    seed_varies = "episodes, dropout"

    def __init__(self, name: str = "prototype:sources") -> None:
        self.name = name

    def check_tasks(self, tasks: Iterable[Outputs]) -> None:
        """See :meth:`esm.strategies.protocol.Strategy.check_tasks`: classes only."""
        if wrong := [task.id for task in tasks if task.problem is not Problem.CLASSIFICATION]:
            raise ValidationError(
                f"{self.name} has prototypes of classes, and {', '.join(wrong)} has none",
                expected="classification attributes",
                hint="another strategy, or other --attribute",
            )

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        own, settings = self._own(config), config.settings(DEFAULT, 0)
        return own.model_dump() | {
            "learning_rate": settings.learning_rate,
            "weight_decay": settings.weight_decay,
        }

    def _own(self, config: TransferConfig) -> PrototypeSettings:
        own = config.own_settings(_BASE, PrototypeSettings)
        return own if own.epochs else own.model_copy(update={"epochs": _EPOCHS})

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        return PASSES_PER_STEP * int(settings["epochs"]) * num_sources * max(rows) + sum(rows)

    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        """See ``Strategy.fit``; only sources with classes are used."""
        self.check_tasks(lesson.task for lesson in lessons.values())
        needs_sources(self.name, sources)
        read = {source.id: source.lesson() for source in sources}
        fit = {
            name: lesson
            for name, lesson in read.items()
            if lesson.task.problem is Problem.CLASSIFICATION
        }
        if not fit:
            raise ValidationError(
                f"none of {', '.join(read)} has classes to make episodes of",
                expected="a classification source",
            )
        own = self._own(config)
        with metered(encoder.device) as meter:
            with seeded(0):  # heads are no part of the episodes, and replaced by prototypes
                model = SharedEncoder(encoder, {name: one.task for name, one in lessons.items()})
            with seeded(seed):
                train_episodes(
                    model.encoder,
                    [lesson.rows for lesson in fit.values()],
                    config.settings(DEFAULT, seed),
                    EpisodeShape(own.shots, own.queries),
                    epochs=own.epochs,
                    name=", ".join(fit),
                )
            for name, lesson in lessons.items():
                _take_prototypes(model, name, lesson)
        trained = model.trained_parameters()
        return Jointly(
            model=model,
            trained_parameters=trained - model.own_parameters(),
            stored_parameters=trained + 2 * len(lessons),
            shared_parameters=trained - model.own_parameters(),
            total_parameters=trained,
            seconds=meter.seconds,
            peak_memory=meter.peak_memory,
            remarks=tuple(
                f"{name} has no classes and took no part" for name in read if name not in fit
            ),
            report={"episodes_of": list(fit)},
        )


def _take_prototypes(model: SharedEncoder, name: str, lesson: Lesson) -> None:
    embedded = model.encoder.embed(lesson.rows.texts, lesson.rows.pairs).last
    weight, bias = prototypes(embedded, lesson.rows.labels, lesson.task.num_outputs)
    head = model.head(name)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight.T))
        head.bias.copy_(torch.from_numpy(bias))
