"""What a transfer strategy is: a way to turn an encoder and a target's rows into predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from esm.settings import FineTuneConfig, TransferConfig
from esm.tasks.task import Examples, Outputs, Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from esm.encoder import Encoder
    from esm.finetune import HeadedEncoder


State = dict[str, npt.NDArray[Any]]
"""What was trained, by name: ``head.`` arrays and, where the encoder changed, ``encoder.`` ones.

``head.weight`` is (c, d), ``head.bias`` (c,), ``head.label_mean`` and ``head.label_scale`` (1,);
outputs are ``(embeddings @ weight.T + bias) * label_scale + label_mean``.
"""


def training_settings(config: FineTuneConfig) -> dict[str, Any]:
    """Return what of a training's settings counts: rows and seed are chosen run by run."""
    return config.model_dump(mode="json", exclude={"seed", "max_examples"})


class TransferModel(Protocol):
    """A model that has been trained on a target task."""

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> npt.NDArray[np.floating[Any]]:
        """Return raw outputs (n, c), as :func:`~esm.metrics.performance` takes them."""
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
        seconds: Wall-clock time of training.
    """

    model: TransferModel
    trained_parameters: int
    total_parameters: int
    seconds: float

    @classmethod
    def of(cls, model: HeadedEncoder, seconds: float) -> Transferred:
        """Describe an encoder with a head of which the parameters with gradient were trained."""
        parameters = list(model.parameters())
        return cls(
            model=model,
            trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
            total_parameters=sum(p.numel() for p in parameters),
            seconds=seconds,
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

    def check(self, architecture: PreTrainedConfig) -> None:
        """Refuse a base model that cannot be trained, before sources are fine-tuned for it.

        Args:
            architecture: Configuration of the base model.

        Raises:
            EncoderError: The strategy does not know the architecture.
        """
        ...

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """Return all that decides the training beside rows and seed, with defaults filled in."""
        ...

    def fit(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        """Train on rows of a task, starting from an encoder that is not changed.

        Args:
            encoder: The base model, or one tuned on a source task.
            task: Says what to predict; none of its rows is looked at.
            rows: The training rows.
            config: Settings.
            seed: Seed of the head, what else is added to the encoder, and the order of the rows.

        Raises:
            FitError: Training diverged, or the rows are not enough to learn from.
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
