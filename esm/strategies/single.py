"""Strategies that train every attribute for itself: a model per attribute, one after another."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from esm.common.arrays import Array
from esm.common.memory import peak_memory
from esm.common.runtime import seeded
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import check_kind
from esm.strategies.protocol import (
    Jointly,
    JointModel,
    Lesson,
    SourceTask,
    Strategy,
    TransferModel,
    most,
    part_of,
)
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples, Outputs, Task
from esm.training.class_weights import weighs_classes
from esm.training.state import State

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache
    from esm.encoder.encoder import Encoder
    from esm.training.finetune import HeadedEncoder

# The passes of a training do not hang on it, but an effort is told of it.
_VOCABULARY = 30_522


@dataclass(frozen=True)
class Transferred:
    """What a strategy gives.

    Attributes:
        model: Predicts for new texts.
        trained_parameters: How many numbers were trained on the target.
        total_parameters: How many numbers the model has, the encoder's included.
        stored_parameters: How many numbers are kept of it, beside the encoder it started from.
        seconds: Wall-clock time of training.
        peak_memory: Bytes in use at most while training, see :func:`esm.common.memory.peak_memory`;
            None where the system does not tell.
        remarks: What has to be known of this training to judge its result.
    """

    model: TransferModel
    trained_parameters: int
    total_parameters: int
    stored_parameters: int
    seconds: float
    peak_memory: int | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        model: HeadedEncoder,
        seconds: float,
        peak_memory: int | None = None,
        remarks: tuple[str, ...] = (),
    ) -> Transferred:
        """Describe an encoder with a head of which the parameters with gradient were trained."""
        parameters = list(model.parameters())
        return cls(
            model=model,
            trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
            total_parameters=sum(p.numel() for p in parameters),
            stored_parameters=sum(array.size for array in model.trained_state().values()),
            seconds=seconds,
            peak_memory=peak_memory,
            remarks=remarks,
        )


@dataclass(frozen=True)
class Effort:
    """What a run costs, as far as it can be told beforehand.

    Attributes:
        passes: Forward passes through the encoder per training row; a training step counts as
            three.
        stored: Numbers that are kept of the trained model, beside the encoder it started from.
    """

    passes: float
    stored: int


@dataclass(frozen=True)
class SeparateModels:
    """A model per attribute."""

    models: Mapping[str, TransferModel]

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> Array:
        """Return raw outputs of the attribute's own model."""
        return np.asarray(self.models[attribute].predict(texts, pairs))

    def trained_state(self) -> State:
        """See :meth:`JointModel.trained_state`; each model's names stand behind its number."""
        return {
            f"{number}.{name}": array
            for number, model in enumerate(self.models.values())
            for name, array in model.trained_state().items()
        }


class Single(Strategy):
    """A strategy that trains every attribute for itself: a subclass says how one is trained."""

    @abstractmethod
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """Return what a run on one attribute will cost.

        Args:
            settings: What :meth:`settings` returned.
            base: The base model.
            vocabulary: How many tokens it knows.
        """

    @abstractmethod
    def fit_task(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        """Train on rows of a task, starting from an encoder that is not changed.

        Args:
            encoder: The base model, or one tuned on a source task.
            task: Says what to predict. Of its own rows only the texts of the training part may be
                read, by a strategy that learns from texts without labels.
            rows: The training rows.
            config: Settings.
            seed: Seed of the head, what else is added to the encoder, and the order of the rows.

        Raises:
            FitError: Training diverged, or the rows are not enough to learn from.
            ValidationError: The task is of a kind that it cannot learn.
        """

    @abstractmethod
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> TransferModel:
        """Return the model of which a state was taken.

        Args:
            encoder: The encoder that training started from; it is not changed.
            task: What the model predicts.
            state: What :meth:`TransferModel.trained_state` returned.

        Raises:
            EncoderError: The state is not of this encoder, task and strategy.
        """

    def export_task(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """Return a state as :meth:`exported` does; where nothing is said it is plain already.

        Raises:
            ValidationError: No plain model does what this one does.
        """
        return state

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        return self.effort(settings, base, _VOCABULARY).passes * sum(rows)

    @override
    def stored(
        self, settings: Mapping[str, Any], attributes: int, base: BaseIdentity, vocabulary: int
    ) -> int:
        return attributes * self.effort(settings, base, vocabulary).stored

    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        """See :meth:`Strategy.fit`; sources are not used."""
        fitted = {
            name: self.fit_task(encoder, lesson.task, lesson.rows, config, seed)
            for name, lesson in lessons.items()
        }
        model = SeparateModels({name: part.model for name, part in fitted.items()})
        return added_up(model, list(fitted.values()))

    @override
    def restore(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State
    ) -> SeparateModels:
        return SeparateModels(
            {
                name: self.restore_task(encoder, task, part_of(state, f"{number}."))
                for number, (name, task) in enumerate(tasks.items())
            }
        )

    @override
    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        own = part_of(state, f"{list(tasks).index(attribute)}.")
        return self.export_task(encoder, tasks[attribute], own)


def added_up(model: JointModel, parts: Sequence[Transferred], **more: Any) -> Jointly:
    """Return separate trainings as one.

    Args:
        model: The model of all of them.
        parts: What each gave.
        more: Fields that are not sums of theirs.
    """
    sums = {
        "trained_parameters": sum(part.trained_parameters for part in parts),
        "stored_parameters": sum(part.stored_parameters for part in parts),
        "shared_parameters": 0,
        "total_parameters": sum(part.total_parameters for part in parts),
        "seconds": sum(part.seconds for part in parts),
        "peak_memory": most([part.peak_memory for part in parts]),
        "remarks": tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
    }
    return Jointly(model=model, **(sums | more))


@dataclass(frozen=True)
class Learnt:
    """What was learnt on a frozen encoder.

    Attributes:
        model: The model.
        trained: How many numbers were trained.
        added: How many numbers the model has beside the encoder's.
        remarks: What has to be known of the training to judge its result.
    """

    model: TransferModel
    trained: int
    added: int
    remarks: tuple[str, ...] = ()


class Frozen(Single):
    """A strategy that leaves the encoder as it is: a subclass learns on its embeddings.

    Args:
        cache: Cache of embeddings; None for the default one.
    """

    def __init__(self, cache: EmbeddingCache | None = None) -> None:
        from esm.encoder.cache import EmbeddingCache

        self._cache = EmbeddingCache.default() if cache is None else cache

    @abstractmethod
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
        """Learn from rows of a task, of a kind that can be learnt.

        Args:
            encoder: Gives embeddings.
            task: Says what to predict.
            rows: The training rows.
            config: Settings.
            seed: Torch's generator has been seeded by it.
            weighs: Whether rare classes count more.

        Raises:
            FitError: The rows are not enough to learn from.
        """

    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """See :meth:`Single.effort`: each text is embedded once."""
        return Effort(passes=1, stored=0)

    @override
    def fit_task(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        check_kind(self.name, task, self.problems)
        start = time.monotonic()
        weighs = weighs_classes(config.class_weights, task)
        with peak_memory(encoder.device) as peak, seeded(seed):
            learnt = self.learn(encoder, task, rows, config, seed, weighs=weighs)
        frozen = 0
        if self.uses_source:
            frozen = sum(weight.numel() for weight in encoder.model.parameters())
        return Transferred(
            model=learnt.model,
            trained_parameters=learnt.trained,
            total_parameters=frozen + learnt.added,
            stored_parameters=sum(array.size for array in learnt.model.trained_state().values()),
            seconds=time.monotonic() - start,
            peak_memory=peak.bytes,
            remarks=learnt.remarks,
        )
