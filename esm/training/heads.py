"""An encoder under one or several heads: what fine-tuning and the strategies train."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from esm.common.arrays import Array
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.tasks.task import Outputs
from esm.training.losses import label_scale, loss_targets, loss_weights, row_losses
from esm.training.state import State
from esm.training.units import WholeText
from esm.training.weights import load_weights

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

if TYPE_CHECKING:
    pass


# Where architectures keep the dropout for a head, most specific first.
_DROPOUTS = (
    "classifier_dropout",
    "seq_classif_dropout",
    "hidden_dropout_prob",
    "resid_pdrop",
    "dropout_rate",
    "dropout",
)


def head_dropout(configuration: PreTrainedConfig) -> float:
    """Return the dropout before a head, as the model's configuration states it."""
    found = (getattr(configuration, name, None) for name in _DROPOUTS)
    return float(next((rate for rate in found if rate is not None), 0.0))


class TaskHead(nn.Linear):
    """The linear head of one task, and what it takes to train it.

    Its initial weights are drawn from torch's global generator.

    Args:
        width: d, of the embeddings.
        task: Says what to output and which loss to minimise.
        std: Standard deviation of the initial weights.
    """

    def __init__(self, width: int, task: Outputs, std: float) -> None:
        super().__init__(width, task.num_outputs)
        self.problem = task.problem
        nn.init.normal_(self.weight, std=std)
        nn.init.zeros_(self.bias)
        self.label_mean: Tensor
        self.label_scale: Tensor
        self.register_buffer("label_mean", torch.zeros(1))
        self.register_buffer("label_scale", torch.ones(1))
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None, persistent=False)

    def prepare(self, labels: Array, *, weighs: bool) -> Tensor:
        """Take mean and spread, or class weights, from training labels; return loss targets."""
        mean, scale = label_scale(self.problem, labels)
        self.label_mean.fill_(mean)
        self.label_scale.fill_(scale)
        if weighs:
            self.class_weights = loss_weights(self.problem, labels).to(self.label_mean)
        return loss_targets(self.problem, labels)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row (b,)."""
        return row_losses(
            self.problem, outputs, targets, self.class_weights, self.label_mean, self.label_scale
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return outputs (b, c): logits, or standardised values or ranks."""
        return super().forward(embeddings).float()

    def in_units(self, embeddings: Tensor) -> Tensor:
        """Return logits, or values or ranks in the label's unit."""
        return super().forward(embeddings) * self.label_scale + self.label_mean

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors to keep, named as ``State`` names them."""
        return {
            "weight": self.weight,
            "bias": self.bias,
            "label_mean": self.label_mean,
            "label_scale": self.label_scale,
        }


class EncoderWithHeads(nn.Module, ABC):
    """A copy of an encoder with dropout before what a subclass puts on it.

    Args:
        encoder: Copied, never changed.
        name: What it predicts, for a person.
    """

    def __init__(self, encoder: Encoder, name: str) -> None:
        super().__init__()
        self.encoder = encoder.with_model(copy.deepcopy(encoder.model))
        self.backbone = self.encoder.model
        self._name = name
        self.dropout = nn.Dropout(head_dropout(self.backbone.config))

    def new_head(self, task: Outputs) -> TaskHead:
        """Return a head with weights as wide as the architecture initialises its own."""
        std = float(getattr(self.backbone.config, "initializer_range", 0.02))
        return TaskHead(self.encoder.width, task, std)

    @abstractmethod
    def head_places(self) -> dict[str, Tensor]:
        """Return the tensors of the heads, by the names under which they are kept."""

    def places(self) -> dict[str, Tensor]:
        """Return the tensors to keep: the heads, and the encoder's weights that can be trained."""
        return self.head_places() | {
            f"encoder.{name}": weight
            for name, weight in self.backbone.named_parameters()
            if weight.requires_grad
        }

    def trained_state(self) -> State:
        """Return a copy of the heads and of the encoder's weights that can be trained."""
        return {
            name: tensor.detach().cpu().numpy().copy() for name, tensor in self.places().items()
        }

    def load_trained(self, state: State) -> None:
        """Put in what :meth:`trained_state` of such a model returned.

        Raises:
            EncoderError: See :func:`~esm.training.weights.load_weights`.
        """
        load_weights(self.places(), state, self._name)


class SharedEncoder(EncoderWithHeads):
    """A copy of an encoder with dropout and a linear head for every task.

    Args:
        encoder: Copied, never changed.
        tasks: What to predict, by name; heads are made in this order.
    """

    def __init__(self, encoder: Encoder, tasks: Mapping[str, Outputs]) -> None:
        super().__init__(encoder, ", ".join(tasks))
        self.names = tuple(tasks)
        # Names of attributes may hold dots, which names of modules may not.
        self.heads = nn.ModuleList(self.new_head(task) for task in tasks.values())
        self.to(encoder.device)

    def head(self, name: str) -> TaskHead:
        """Return the head of a task."""
        return cast(TaskHead, self.heads[self.names.index(name)])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the embeddings (b, d) that heads sit on, after dropout."""
        embeddings: Tensor = self.dropout(self.encoder.pooled(batch))
        return embeddings

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return outputs (n, c) in the order given: logits, or values in the label's unit."""
        head = self.head(attribute)
        doing = f"predicting {attribute}"
        return WholeText().outputs(self.encoder, texts, pairs, head.in_units, doing)

    def trained_parameters(self) -> int:
        """Return how many numbers are trained."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    def own_parameters(self) -> int:
        """Return how many numbers belong to single tasks: their heads."""
        return sum(weight.numel() for head in self.heads for weight in head.parameters())

    def keep_heads(self, names: Sequence[str]) -> None:
        """Drop the heads of all other tasks."""
        self.heads = nn.ModuleList(self.head(name) for name in names)
        self.names = tuple(names)
        self._name = ", ".join(names)

    def head_places(self) -> dict[str, Tensor]:
        """Return the tensors of the heads, each behind its number."""
        return {
            f"heads.{number}.{name}": tensor
            for number, task in enumerate(self.names)
            for name, tensor in self.head(task).arrays().items()
        }


def one_head(state: State, number: int) -> State:
    """Return the state of a model with one of the heads: names as a single task's model has them.

    Args:
        state: What :meth:`SharedEncoder.trained_state` returned.
        number: Number of the head.
    """
    prefix = f"heads.{number}."
    head = {
        f"head.{name.removeprefix(prefix)}": array
        for name, array in state.items()
        if name.startswith(prefix)
    }
    encoder = {name: array for name, array in state.items() if name.startswith("encoder.")}
    return head | encoder


class SharedHeads:
    """What joint strategies have in common whose model is a :class:`SharedEncoder`."""

    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        """See ``Strategy.exported``: the encoder and one head."""
        return one_head(state, list(tasks).index(attribute))

    def restore(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State
    ) -> SharedEncoder:
        """Return a model of the tasks with the tensors of a state put in."""
        with seeded(0):
            model = self.build(encoder, tasks)
        model.load_trained(state)
        return model

    def build(self, encoder: Encoder, tasks: Mapping[str, Outputs]) -> SharedEncoder:
        """Return a model that knows nothing yet; heads are drawn from torch's generator."""
        return SharedEncoder(encoder, tasks)
