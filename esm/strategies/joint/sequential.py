"""Sequential training: one model through a chain of tasks, and what it forgets on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from typing_extensions import override

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.metrics.predictions import performance
from esm.strategies.checks import source_lessons
from esm.strategies.full import DEFAULT
from esm.strategies.joint.mixing import learn
from esm.strategies.protocol import (
    Jointly,
    Lesson,
    SourceTask,
    Strategy,
    metered,
    training_passes,
    training_settings,
)
from esm.strategies.settings import TransferConfig
from esm.tasks.splits.draw import held_out
from esm.tasks.task import Outputs, SplitName
from esm.training.heads import SharedEncoder, SharedHeads
from esm.training.layers.bottlenecks import freeze_all_but
from esm.training.settings import FineTuneConfig
from esm.training.state import State

_LOGGER = logging.getLogger(__name__)


class Sequential(SharedHeads, Strategy):
    """Train one encoder on one task after another; each has a head, which then stays as it is.

    After every step all tasks learnt so far are judged again, with their own heads on the encoder
    as it is then: what an earlier task has lost since it was learnt is its forgetting.

    Args:
        name: The name by which it was chosen.
        sources: Begin the chain with the source tasks, the most promising one last.
        searched: Look for an order of the attributes, instead of taking the one given.
        trains_encoder: Whether a step changes the encoder; if not, nothing can be forgotten.

    Source:
        Phang, Févry and Bowman 2018, "Sentence Encoders on STILTs" for sources before targets;
        McCloskey and Cohen 1989 for what happens to what was learnt before.
    """

    together = True
    separate = "full"
    learns_sources = True
    seed_varies = "order of the rows, dropout, heads"

    def __init__(
        self,
        name: str = "sequential",
        *,
        sources: bool = False,
        searched: bool = False,
        trains_encoder: bool = True,
    ) -> None:
        self.name = name
        self.wants_sources = sources
        self._searched = searched
        self._trains_encoder = trains_encoder

    @override
    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> Sequential:
        return cls(
            name,
            sources="sources" in words,
            searched="searched" in words,
            trains_encoder="heads-only" not in words,
        )

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        return {
            **training_settings(config.settings(DEFAULT, 0)),
            "searched": self._searched,
            "trains_encoder": self._trains_encoder,
        }

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        each = training_passes(settings)
        chain = num_sources * max(rows)
        searched = (len(rows) + 1) / 2 * sum(rows) + chain if self._searched else 0
        return each * (sum(rows) + chain + searched)

    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        """See :meth:`esm.strategies.protocol.Strategy.fit`.

        Cost of a searched order: with t attributes, t (t + 1) / 2 steps more.
        """
        chain = {}
        if self.wants_sources:
            chain = dict(source_lessons(self.name, sources[::-1]))
        settings = config.settings(DEFAULT, seed)
        report: dict[str, Any] = {}
        with metered(encoder.device) as meter, seeded(seed):
            order = list(lessons)
            if self._searched:
                order, report["search"] = self._search(encoder, chain, lessons, settings)
            steps = chain | {name: lessons[name] for name in order}
            # The heads of the target in the order given, whatever the order of the steps.
            model = self._model(encoder, chain | dict(lessons))
            trained = model.trained_parameters()
            judged = self._walk(model, steps, settings)
            model.keep_heads(list(lessons))
        stored = model.trained_parameters()
        return Jointly(
            model=model,
            trained_parameters=trained,
            stored_parameters=stored + 2 * len(lessons),
            shared_parameters=stored - model.own_parameters(),
            total_parameters=sum(weight.numel() for weight in model.parameters()),
            seconds=meter.seconds,
            peak_memory=meter.peak_memory,
            report=report | {"order": list(steps)} | forgetting(judged),
        )

    def _model(self, encoder: Encoder, lessons: Mapping[str, Lesson]) -> SharedEncoder:
        return self.build(encoder, {name: lesson.task for name, lesson in lessons.items()})

    def build(self, encoder: Encoder, tasks: Mapping[str, Outputs]) -> SharedEncoder:
        """See :meth:`~esm.training.heads.SharedHeads.build`; frozen where only heads train."""
        model = SharedEncoder(encoder, tasks)
        if not self._trains_encoder:
            freeze_all_but(model.backbone, ())
        return model

    def _walk(
        self, model: SharedEncoder, steps: Mapping[str, Lesson], settings: FineTuneConfig
    ) -> list[dict[str, float]]:
        """Train step by step; return, after each, how well every task so far does."""
        judged: list[dict[str, float]] = []
        learnt: dict[str, Lesson] = {}
        for name, lesson in steps.items():
            learn(model, {name: lesson}, settings)
            learnt[name] = lesson
            judged.append(
                {earlier: quality(model, earlier, one) for earlier, one in learnt.items()}
            )
        return judged

    def _search(
        self,
        encoder: Encoder,
        chain: Mapping[str, Lesson],
        lessons: Mapping[str, Lesson],
        settings: FineTuneConfig,
    ) -> tuple[list[str], dict[str, Any]]:
        """Choose the next attribute again and again, the one after which all so far do best.

        They are judged by a tenth of their training rows, which the search does not train on.
        """
        halves = {name: _divided(lesson, settings.seed) for name, lesson in lessons.items()}
        order: list[str] = []
        means: list[float] = []
        with seeded(settings.seed):
            model = self._model(encoder, dict(chain) | dict(lessons))
            for name, lesson in chain.items():
                learn(model, {name: lesson}, settings)
            state = model.trained_state()
            while len(order) < len(lessons):
                found: dict[str, tuple[float, State]] = {}
                for name in lessons:
                    if name not in order:
                        model.load_trained(state)
                        learn(model, {name: halves[name]}, settings)
                        so_far = [quality(model, one, halves[one]) for one in (*order, name)]
                        found[name] = float(np.mean(so_far)), model.trained_state()
                best = max(found, key=lambda name: found[name][0])
                _LOGGER.info(f"searched order: {best} is number {len(order) + 1}")
                order.append(best)
                means.append(found[best][0])
                state = found[best][1]
        return order, {"order": order, "mean_held_out": means}


def _divided(lesson: Lesson, seed: int) -> Lesson:
    """Return a lesson of nine tenths of the rows, judged by the last one."""
    task = replace(lesson.task, splits={SplitName.TRAIN: lesson.rows})
    rows, unseen = held_out(task, seed)
    return Lesson(lesson.task, rows, unseen)


def quality(model: SharedEncoder, name: str, lesson: Lesson) -> float:
    """Return the primary metric of a task on the rows it is judged by, else on its own ones."""
    rows = lesson.rows if lesson.judged is None else lesson.judged
    outputs = model.predict(name, rows.texts, rows.pairs)
    return performance(lesson.task, rows.labels, outputs)[lesson.task.metric]


def forgetting(judged: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return what each task lost between the step that taught it and the last one.

    Args:
        judged: After each step, the performance of every task learnt so far.

    Returns:
        ``after_step``, as it was given; ``forgetting`` by task, positive where something was lost,
        without the last task; ``mean_forgetting`` over these, 0 with a single task.

    Source:
        Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory", whose backward transfer is the
        mean of what earlier tasks gain by the end: its negative.

    Example:
        >>> forgetting([{"a": 0.75}, {"a": 0.5, "b": 1.0}])["forgetting"]
        {'a': 0.25}
    """
    learnt: dict[str, float] = {}
    for step in judged:
        for name, value in step.items():
            learnt.setdefault(name, value)
    last = judged[-1]
    newest = list(learnt)[-1]
    lost = {name: learnt[name] - last[name] for name in learnt if name != newest}
    return {
        "after_step": [dict(step) for step in judged],
        "forgetting": lost,
        "mean_forgetting": float(np.mean(list(lost.values()))) if lost else 0.0,
    }
