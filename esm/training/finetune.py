"""One fine-tuning run: an encoder with a head, trained on a task.

The head sits on the same pooled embedding that the encoder returns, so what is learnt shows in
the tuned embeddings; the head of a tagging task on the states of words that are pooled there.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.metrics.predictions import performance
from esm.tasks.splits.draw import held_out, sample
from esm.tasks.task import Examples, Outputs, Task
from esm.training.class_weights import weighs_classes
from esm.training.loop import Training
from esm.training.losses import label_scale, loss_targets, loss_weights, training_loss
from esm.training.schedules import Pace
from esm.training.settings import FineTuneConfig
from esm.training.units import Reading, unit_of
from esm.training.weights import load_weights

# Rows by which a tuned source is judged: enough for an accuracy within about two points.
MOST_JUDGED = 500

# Where architectures keep the dropout for a head, most specific first.
_DROPOUTS = (
    "classifier_dropout",
    "seq_classif_dropout",
    "hidden_dropout_prob",
    "resid_pdrop",
    "dropout_rate",
    "dropout",
)


@dataclass(frozen=True)
class FineTuneResult:
    """What fine-tuning on a source task gives.

    Attributes:
        encoder: The tuned encoder; the base encoder is untouched.
        head: The head's ``weight`` (c, d) and ``bias`` (c,), and ``label_mean`` and
            ``label_scale`` (1,), by which outputs of a regression or an ordinal task return to
            the label's unit. Empty for a corpus, which has no labels.
        quality: Metrics on at most 500 held-out rows that were not trained on.
        examples: How many examples were trained on.
        seconds: Wall-clock time of training and evaluation.
    """

    encoder: Encoder
    head: dict[str, npt.NDArray[np.float32]]
    quality: dict[str, float]
    examples: int
    seconds: float


def fine_tune(encoder: Encoder, task: Task, config: FineTuneConfig) -> FineTuneResult:
    """Fine-tune a copy of the encoder on a source task.

    The same encoder, task, settings and seed give the same weights, bit by bit, on the CPU of one
    machine with one number of threads; some CUDA kernels add in an order that varies.

    Args:
        encoder: The base model; it is not changed.
        task: The source task; its test rows are not looked at.
        config: The settings.

    Raises:
        FitError: Training diverged.
    """
    start = time.monotonic()
    rows, unseen = held_out(task, config.seed)
    rows = sample(rows, task.problem, config.max_examples, config.seed)
    unseen = sample(unseen, task.problem, MOST_JUDGED, config.seed)
    with seeded(config.seed):
        model = HeadedEncoder(encoder, task)
        train(model, rows, config, weighs=weighs_classes(config.class_weights, task))
    return FineTuneResult(
        encoder=model.encoder,
        head=model.head_state(),
        quality=performance(task, unseen.labels, model.predict(unseen.texts, unseen.pairs)),
        examples=len(rows),
        seconds=time.monotonic() - start,
    )


class HeadedEncoder(nn.Module):
    """A copy of an encoder with dropout and a linear head on its pooled embedding, or its words.

    The head's initial weights are drawn from torch's global generator, as wide as the
    architecture initialises its own; dropout is the model configuration's.

    Args:
        encoder: Copied, never changed.
        task: Says what to output and which loss to minimise: cross-entropy, squared error of
            standardised labels or ranks, binary cross-entropy for each label, or the mean
            cross-entropy of a text's words.
    """

    def __init__(self, encoder: Encoder, task: Outputs) -> None:
        super().__init__()
        self.task_id = task.id
        self.problem = task.problem
        self.unit = unit_of(task.problem)
        self.encoder = encoder.with_model(copy.deepcopy(encoder.model))
        self.backbone = self.encoder.model
        configuration = self.backbone.config
        self.dropout = nn.Dropout(head_dropout(configuration))
        self.head = nn.Linear(encoder.width, task.num_outputs)
        nn.init.normal_(self.head.weight, std=getattr(configuration, "initializer_range", 0.02))
        nn.init.zeros_(self.head.bias)
        self.label_mean: Tensor
        self.label_scale: Tensor
        self.register_buffer("label_mean", torch.zeros(1))
        self.register_buffer("label_scale", torch.ones(1))
        # They decide the loss alone: no part of what is kept of a model.
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None, persistent=False)
        self.to(encoder.device)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return outputs (b, c), or (b, w, c): logits, or standardised values or ranks."""
        outputs: Tensor = self.head(self.dropout(self.unit.states(self.encoder, batch)))
        return outputs.float()

    def read(self, examples: Examples) -> Reading:
        """Return examples as they are trained on."""
        return self.unit.read(self.encoder, examples.texts, examples.pairs)

    def standardise(self, labels: npt.NDArray[Any]) -> None:
        """Take the mean and spread of the training amounts or ranks, to be trained on z-scores."""
        mean, scale = label_scale(self.problem, labels)
        self.label_mean.fill_(mean)
        self.label_scale.fill_(scale)

    def weigh_classes(self, labels: npt.NDArray[Any]) -> None:
        """Take class weights from training labels: from here on rare classes count more."""
        self.class_weights = loss_weights(self.problem, labels).to(self.label_mean)

    def targets(self, labels: npt.NDArray[Any]) -> Tensor:
        """Return labels as the loss wants them: see :func:`~esm.training.losses.loss_targets`."""
        return loss_targets(self.problem, labels)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over a batch, see :func:`~esm.training.losses.training_loss`."""
        return training_loss(
            self.problem, outputs, targets, self.class_weights, self.label_mean, self.label_scale
        )

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return outputs in the order given: logits, or values in the label's unit.

        They are computed from the embeddings that :meth:`~esm.encoder.encoder.Encoder.embed`
        returns, whatever the number format of the training was.

        Returns:
            (n, c), or (n, w, c) of a tagging task, w being the most words of a text.
        """
        return self.unit.outputs(
            self.encoder,
            texts,
            pairs,
            lambda states: self.head(states) * self.label_scale + self.label_mean,
            f"predicting {self.task_id}",
        )

    def head_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the head's arrays, as :class:`FineTuneResult` describes them."""
        tensors = {
            "weight": self.head.weight,
            "bias": self.head.bias,
            "label_mean": self.label_mean,
            "label_scale": self.label_scale,
        }
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}

    def trained_state(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of the head and of the encoder's weights that can be trained.

        The names begin with ``head.`` and ``encoder.``.
        """
        head: dict[str, npt.NDArray[Any]] = {
            f"head.{name}": array for name, array in self.head_state().items()
        }
        return head | {
            f"encoder.{name}": parameter.detach().cpu().numpy().copy()
            for name, parameter in self.backbone.named_parameters()
            if parameter.requires_grad
        }

    def load_trained(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put in what :meth:`trained_state` of such a model returned.

        Raises:
            EncoderError: See :func:`~esm.training.weights.load_weights`.
        """
        places = {
            "head.weight": self.head.weight,
            "head.bias": self.head.bias,
            "head.label_mean": self.label_mean,
            "head.label_scale": self.label_scale,
        }
        for name, parameter in self.backbone.named_parameters():
            if parameter.requires_grad:
                places[f"encoder.{name}"] = parameter
        load_weights(places, state, self.task_id)


def head_dropout(configuration: PreTrainedConfig) -> float:
    """Return the dropout before a head, as the model's configuration states it."""
    found = (getattr(configuration, name, None) for name in _DROPOUTS)
    return float(next((rate for rate in found if rate is not None), 0.0))


def train(
    model: HeadedEncoder,
    examples: Examples,
    config: FineTuneConfig,
    *,
    weighs: bool = False,
    pace: Pace | None = None,
) -> None:
    """Train, in place, whichever of the model's parameters require a gradient.

    All examples given are used, rare classes with more weight where ``weighs`` says so (what the
    settings choose for a task: :func:`~esm.training.class_weights.weighs_classes`). A pace is for
    rates that differ, another schedule, or stages. See :meth:`esm.training.loop.Training.run` for
    memory and cost.

    Raises:
        FitError: The loss or a weight stopped being a finite number, or a single example does not
            fit into memory.
    """
    reading = model.read(examples)
    labels = reading.labels(examples.labels)
    model.standardise(labels)
    if weighs:
        model.weigh_classes(labels)
    Training(
        name=model.task_id,
        model=model,
        encoder=model.encoder,
        loss=model.loss,
        texts=reading.tokens,
        targets=model.targets(labels),
        config=config,
        extra=reading.extra,
        pace=pace or Pace(),
    ).run()
