"""What a transfer strategy is: a way to train an encoder on attributes of a target, or on one.

A strategy takes a lesson per attribute, and source tasks where it makes use of some, and gives a
model that answers for each attribute. One that trains every attribute for itself is a
:class:`~esm.strategies.single.Single`.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from esm.common.arrays import Array
from esm.common.memory import peak_memory
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import TEXT_PROBLEMS, check_kind
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples, Outputs, Problem, Task
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from esm.encoder.encoder import Encoder

_LOGGER = logging.getLogger(__name__)


PASSES_PER_STEP = 3
"""A training step costs about as much as three forward passes."""


def training_settings(config: FineTuneConfig) -> dict[str, Any]:
    """Return what of a training's settings counts: rows and seed are chosen run by run."""
    return config.model_dump(mode="json", exclude={"seed", "max_examples"})


@dataclass(frozen=True)
class Lesson:
    """What is to be learnt of one attribute.

    Attributes:
        task: Says what to predict; none of its rows is looked at.
        rows: The training rows: those that are annotated for this attribute.
        judged: Rows by which a strategy may report how well the attribute does along the way;
            nothing is ever chosen by them.
    """

    task: Task
    rows: Examples
    judged: Examples | None = None


@dataclass(frozen=True)
class SourceTask:
    """A source task that can be trained together with a target, or lend what it was tuned to.

    Both are made when they are asked for: reading the data, and a fine-tuning where none is kept.

    Attributes:
        id: Id of the source.
        lesson: Returns its training rows, and held-out ones to judge by.
        encoder: Returns the base model tuned on it.
    """

    id: str
    lesson: Callable[[], Lesson]
    encoder: Callable[[], Encoder]


class JointModel(Protocol):
    """A model that predicts several attributes."""

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> Array:
        """Return raw outputs (n, c), of tags (n, w, c), see ``performance``."""
        ...

    def trained_state(self) -> State:
        """Return a copy of all that training changed; the strategy restores the model from it."""
        ...


class TransferModel(Protocol):
    """A model that has been trained on a target task."""

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Array:
        """Return raw outputs (n, c), of tags (n, w, c), see ``performance``."""
        ...

    def trained_state(self) -> State:
        """Return a copy of all that training changed; the strategy restores the model from it."""
        ...


@dataclass(frozen=True)
class AttributeModel:
    """One attribute of a joint model, as a model of its own."""

    joint: JointModel
    attribute: str

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Array:
        """Return raw outputs (n, c) of the attribute's model."""
        return self.joint.predict(self.attribute, texts, pairs)

    def trained_state(self) -> State:
        """See ``TransferModel.trained_state``: that of all attributes."""
        return self.joint.trained_state()


@dataclass(frozen=True)
class Jointly:
    """What a joint strategy gives.

    Attributes:
        model: Predicts every attribute for new texts.
        trained_parameters: How many numbers were trained, for all attributes together.
        stored_parameters: How many numbers have to be kept beside the base model.
        shared_parameters: How many of these a further attribute would use as they are, so that it
            would add only its own part.
        total_parameters: How many numbers the whole model has, the encoder's included.
        seconds: Wall-clock time of training.
        peak_memory: Bytes in use at most while training, see :func:`esm.common.memory.peak_memory`.
        remarks: What has to be known of this training to judge its result.
        report: What the strategy measured of itself, JSON-ready.
    """

    model: JointModel
    trained_parameters: int
    stored_parameters: int
    shared_parameters: int
    total_parameters: int
    seconds: float
    peak_memory: int | None = None
    remarks: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)


class Strategy(ABC):
    """One way to train attributes.

    Attributes:
        name: The name by which it is chosen, its variant included.
        seed_varies: What differs between runs of different seeds, so what their standard error is
            of.
        problems: Which kinds of output it can learn; of every kind, from single texts and from
            pairs.
        uses_source: Whether the weights it starts from matter; if not, a source task cannot help.
        together: Whether attributes influence each other, so that all of them are one training.
        retrains: Whether a further attribute means training all of them again.
        wants_sources: Whether it makes use of source tasks beside the encoder that it starts from.
        learns_sources: Whether it learns the labels of source tasks itself, so that a corpus
            cannot be one.
        separate: The strategy that a separate model per attribute would be; None where it is one.
    """

    name: str
    seed_varies: str
    problems: frozenset[Problem] = TEXT_PROBLEMS
    uses_source: bool = True
    together: bool = False
    retrains: bool = False
    wants_sources: bool = False
    learns_sources: bool = False
    separate: str | None = None

    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> Strategy:
        """Return the strategy as the words behind its name say.

        Args:
            name: The whole name, words included.
            words: Those of :mod:`esm.strategies.registry`, checked.

        Raises:
            ValidationError: They make no sense together.
        """
        return cls()

    def check(self, architecture: PreTrainedConfig) -> None:  # noqa: B027 (any base model will do)
        """Refuse a base model that cannot be trained, before sources are fine-tuned for it.

        Args:
            architecture: Configuration of the base model.

        Raises:
            EncoderError: The strategy does not know the architecture.
        """

    def check_tasks(self, tasks: Iterable[Outputs]) -> None:
        """Refuse tasks of a kind that cannot be learnt.

        Raises:
            ValidationError: One cannot.
        """
        for task in tasks:
            check_kind(self.name, task, self.problems)

    @abstractmethod
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """Return all that decides the training beside rows, sources and seed, defaults filled in.

        Raises:
            SettingError: The strategy has no such setting, or not of this value.
        """

    @abstractmethod
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        """Return about how many texts a training sends forward, a training step counting as three.

        Args:
            settings: What :meth:`settings` returned.
            rows: Training rows of each attribute.
            num_sources: How many source tasks there are; each counts as the largest attribute.
            base: The base model.
        """

    def stored(
        self, settings: Mapping[str, Any], attributes: int, base: BaseIdentity, vocabulary: int
    ) -> int:
        """Return about how many numbers are kept of a model, beside the encoder it started from.

        Where a strategy does not know better it is a whole encoder, which is the most but for those
        that keep an encoder per source.

        Args:
            settings: What :meth:`settings` returned.
            attributes: How many attributes the model predicts.
            base: The base model.
            vocabulary: How many tokens it knows.
        """
        return encoder_size(base, vocabulary)

    @abstractmethod
    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        """Train on all lessons, starting from an encoder that is not changed.

        Args:
            encoder: The base model, or one tuned on a source task.
            lessons: By attribute; rows that are annotated for some attributes only are in the
                lessons of these.
            config: Settings.
            seed: Seed of the heads, of what else is added to the encoder, and of the order of the
                rows.
            sources: Source tasks, the most promising first.

        Raises:
            FitError: Training diverged, or the rows are not enough to learn from.
            ValidationError: The strategy cannot do this kind of label, or wants sources.
        """

    @abstractmethod
    def restore(self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State) -> JointModel:
        """Return the model of which a state was taken.

        Args:
            encoder: The encoder that training started from; it is not changed.
            tasks: What the model predicts, by attribute, in the order of the lessons.
            state: What :meth:`JointModel.trained_state` returned.

        Raises:
            EncoderError: The state is not of this encoder, these tasks and this strategy.
        """

    @abstractmethod
    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        """Return one attribute's part of a state as :mod:`esm.inference.export` takes it.

        Args:
            encoder: The encoder that training started from; it is not changed.
            tasks: What the model predicts, by attribute, in the order of the lessons.
            attribute: The attribute.
            state: What :meth:`JointModel.trained_state` returned.

        Returns:
            ``encoder.`` arrays by the encoder's own names, adapters, and ``head.`` arrays.

        Raises:
            ValidationError: No plain encoder with a head does what the model does.
        """


def split_state(state: State) -> tuple[State, State]:
    """Return the arrays of the head, and those of the encoder without ``encoder.``."""
    prefix = "encoder."
    head = {name: array for name, array in state.items() if name.startswith("head.")}
    encoder = {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }
    return head, encoder


def training_passes(settings: Mapping[str, Any]) -> int:
    """Return the forward passes per row of a training with these settings."""
    return PASSES_PER_STEP * int(settings["num_epochs"])


def encoder_size(base: BaseIdentity, vocabulary: int) -> int:
    """Return about how many weights an encoder has: 12 d² per layer, and its vocabulary."""
    return 12 * base.num_layers * base.width**2 + vocabulary * base.width


@dataclass
class Meter:
    """Time and memory of a training, known when the block has ended."""

    seconds: float = 0.0
    peak_memory: int | None = None


@contextmanager
def metered(device: torch.device) -> Iterator[Meter]:
    """Measure the time and the most memory of a block; blocks must not nest."""
    meter = Meter()
    start = time.monotonic()
    with peak_memory(device) as peak:
        yield meter
    meter.seconds, meter.peak_memory = time.monotonic() - start, peak.bytes


def most(peaks: Sequence[int | None]) -> int | None:
    """Return the largest peak of several trainings; None where one is not known."""
    known = [peak for peak in peaks if peak is not None]
    return max(known) if known and len(known) == len(peaks) else None


def part_of(state: State, prefix: str) -> State:
    """Return the arrays whose names begin with a prefix, under the rest of their names."""
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }
