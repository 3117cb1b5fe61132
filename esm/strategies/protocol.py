"""What a transfer strategy is: a way to turn an encoder and a target's rows into predictions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from esm.common.errors import ValidationError
from esm.encoder.settings import BaseIdentity
from esm.strategies.settings import TransferConfig
from esm.tasks.task import LABELLED, Examples, Outputs, Problem, Task
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from esm.encoder.encoder import Encoder
    from esm.training.finetune import HeadedEncoder


EVERY_PROBLEM = frozenset(LABELLED)

TEXT_PROBLEMS = EVERY_PROBLEM - {Problem.TAGGING}
"""The kinds of output of which a text has one, from its embedding."""

_LABELS = {
    Problem.CLASSIFICATION: "classes",
    Problem.ORDINAL: "ranks",
    Problem.REGRESSION: "amounts",
    Problem.MULTILABEL: "sets",
    Problem.TAGGING: "tags of words",
    Problem.CORPUS: "none, since it is a corpus",
}

PASSES_PER_STEP = 3
"""A training step costs about as much as three forward passes."""


def training_settings(config: FineTuneConfig) -> dict[str, Any]:
    """Return what of a training's settings counts: rows and seed are chosen run by run."""
    return config.model_dump(mode="json", exclude={"seed", "max_examples"})


class TransferModel(Protocol):
    """A model that has been trained on a target task."""

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> npt.NDArray[np.floating[Any]]:
        """Return raw outputs (n, c), of tags (n, w, c), see ``performance``."""
        ...

    def trained_state(self) -> State:
        """Return a copy of all that training changed; the strategy restores the model from it."""
        ...


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


def split_state(state: State) -> tuple[State, State]:
    """Return the arrays of the head, and those of the encoder without ``encoder.``."""
    prefix = "encoder."
    head = {name: array for name, array in state.items() if name.startswith("head.")}
    encoder = {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }
    return head, encoder


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


def training_passes(settings: Mapping[str, Any]) -> int:
    """Return the forward passes per row of a training with these settings."""
    return PASSES_PER_STEP * int(settings["num_epochs"])


def encoder_size(base: BaseIdentity, vocabulary: int) -> int:
    """Return about how many weights an encoder has: 12 d² per layer, and its vocabulary."""
    return 12 * base.num_layers * base.width**2 + vocabulary * base.width


def check_problem(strategy: Strategy, task: Outputs) -> None:
    """Refuse a task of a kind that a strategy cannot learn.

    Raises:
        ValidationError: It cannot.
    """
    check_kind(strategy.name, task, strategy.problems)


def check_kind(name: str, task: Outputs, problems: Collection[Problem]) -> None:
    """Refuse a task of which the kind is not among those that a strategy can learn.

    Raises:
        ValidationError: It is not.
    """
    if task.problem not in problems:
        raise ValidationError(
            f"the strategy {name} cannot learn {task.id}, whose labels are {_LABELS[task.problem]}",
            expected=" or ".join(_LABELS[kind] for kind in Problem if kind in problems),
            hint="another --strategy, for instance head, houlsby or full",
        )


def no_plain_model(name: str, reason: str) -> ValidationError:
    """Return the refusal to export what a plain Transformers model cannot hold."""
    return ValidationError(
        f"a model of the strategy {name} cannot be exported: {reason}",
        expected="an encoder and a head",
        hint="esm predict labels texts with it",
    )


class Strategy(Protocol):
    """One way to train on a target task."""

    @property
    def name(self) -> str:
        """The name by which the strategy is chosen."""
        ...

    @property
    def seed_varies(self) -> str:
        """What differs between runs of different seeds, so what their standard error is of."""
        ...

    @property
    def problems(self) -> frozenset[Problem]:
        """Which kinds of output it can learn; of every kind, from single texts and from pairs."""
        ...

    @property
    def uses_source(self) -> bool:
        """Whether the weights it starts from matter; if not, a source task cannot help."""
        ...

    def check(self, architecture: PreTrainedConfig) -> None:
        """Refuse a base model that cannot be trained, before sources are fine-tuned for it.

        Args:
            architecture: Configuration of the base model.

        Raises:
            EncoderError: The strategy does not know the architecture.
        """
        ...

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """Return all that decides the training beside rows and seed, with defaults filled in.

        Raises:
            SettingError: The strategy has no such setting, or not of this value.
        """
        ...

    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """Return what a run will cost.

        Args:
            settings: What :meth:`settings` returned.
            base: The base model.
            vocabulary: How many tokens it knows.
        """
        ...

    def fit(
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
        ...

    def restore(self, encoder: Encoder, task: Outputs, state: State) -> TransferModel:
        """Return the model of which a state was taken.

        Args:
            encoder: The encoder that training started from; it is not changed.
            task: What the model predicts.
            state: What :meth:`TransferModel.trained_state` returned.

        Raises:
            EncoderError: The state is not of this encoder, task and strategy.
        """
        ...

    def exported(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """Return a state as the plain encoder and the code of :mod:`esm.inference.export` take it.

        Args:
            encoder: The encoder that training started from; it is not changed.
            task: What the model predicts.
            state: What :meth:`TransferModel.trained_state` returned.

        Returns:
            ``encoder.`` arrays by the encoder's own names, adapters, and ``head.`` arrays.

        Raises:
            ValidationError: No such model does what this one does.
        """
        ...
