"""Multi-task learning: one encoder for all attributes, a head for each, trained at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from typing_extensions import override

from esm.common.errors import ValidationError
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import source_lessons
from esm.strategies.full import DEFAULT
from esm.strategies.joint.annotations import learn_rows
from esm.strategies.joint.mixing import Sampling, learn
from esm.strategies.joint.uncertainty import check_entropy
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
from esm.tasks.task import Outputs
from esm.training.heads import SharedEncoder, SharedHeads
from esm.training.settings import FineTuneConfig


class Multitask(SharedHeads, Strategy):
    """Train all weights on the weighted sum of the losses of all attributes.

    Args:
        sampling: How often each attribute is trained; it decides the weights of the sum.
        sources: Train the source tasks along; their heads are dropped in the end.
        then_alone: Afterwards train on the target alone, for as long again.

    Source:
        Caruana 1997, "Multitask Learning"; Liu et al. 2019, "Multi-Task Deep Neural Networks for
        Natural Language Understanding", whose last step is tuning on the target.
    """

    together = True
    retrains = True
    separate = "full"
    learns_sources = True
    seed_varies = "order of the rows, dropout, heads"

    def __init__(
        self,
        name: str = "multitask",
        sampling: Sampling = Sampling.PROPORTIONAL,
        *,
        sources: bool = False,
        then_alone: bool = False,
    ) -> None:
        self.name = name
        self.wants_sources = sources
        self._sampling = sampling
        self._then_alone = then_alone

    @override
    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> Multitask:
        if "then-alone" in words and "sources" not in words:
            raise ValidationError(
                f"{name} trains on the target alone from the beginning",
                expected="sources before then-alone",
                hint="multitask:sources:then-alone",
            )
        return cls(
            name,
            Sampling.among(words, Sampling.PROPORTIONAL),
            sources="sources" in words,
            then_alone="then-alone" in words,
        )

    def check_tasks(self, tasks: Iterable[Outputs]) -> None:
        """See ``Strategy.check_tasks``; labels of texts only."""
        tasks = tuple(tasks)
        super().check_tasks(tasks)
        if self._sampling is Sampling.UNCERTAINTY:
            check_entropy(self.name, tasks)

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        return {
            **training_settings(config.settings(DEFAULT, 0)),
            "sampling": self._sampling.value,
            "then_alone": self._then_alone,
        }

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        sources = num_sources * max(rows)
        if self._sampling is Sampling.UNCERTAINTY:
            looked_at = len(rows) + num_sources
            return (training_passes(settings) + looked_at) * (sum(rows) + sources)
        # Attributes are taken to be annotated on the same texts.
        again = max(rows) if self._then_alone else 0
        return training_passes(settings) * (max(rows) + sources + again)

    @override
    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        taught = dict(lessons)
        if self.wants_sources:
            taught |= source_lessons(self.name, sources)
        self.check_tasks(lesson.task for lesson in taught.values())
        settings = config.settings(DEFAULT, seed)
        report: dict[str, Any] = {
            "rows": {name: len(lesson.rows) for name, lesson in taught.items()}
        }
        with metered(encoder.device) as meter, seeded(seed):
            model = SharedEncoder(encoder, {name: lesson.task for name, lesson in taught.items()})
            trained = model.trained_parameters()
            report |= self._learn(model, taught, settings)
            model.keep_heads(list(lessons))
            if self._then_alone:
                self._learn(model, lessons, settings)
        stored = model.trained_parameters()
        return Jointly(
            model=model,
            trained_parameters=trained,
            stored_parameters=stored + 2 * len(lessons),
            shared_parameters=stored - model.own_parameters(),
            total_parameters=stored,
            seconds=meter.seconds,
            peak_memory=meter.peak_memory,
            report=report,
        )

    def _learn(
        self, model: SharedEncoder, lessons: Mapping[str, Lesson], settings: FineTuneConfig
    ) -> dict[str, Any]:
        """Train in place; return what is to be told of it."""
        if self._sampling is Sampling.UNCERTAINTY:
            return learn_rows(model, lessons, settings, self._sampling).as_dict()
        learn(model, lessons, settings, self._sampling)
        return {}
