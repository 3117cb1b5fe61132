"""One fine-tuning run: an encoder with a head, trained on a task.

The head sits on the same pooled embedding that the encoder returns, so what is learnt shows in
the tuned embeddings; the head of a tagging task on the states of words that are pooled there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.metrics.predictions import performance
from esm.tasks.splits.draw import held_out, sample
from esm.tasks.task import Examples, Outputs, Task
from esm.training.class_weights import weighs_classes
from esm.training.heads import EncoderWithHeads
from esm.training.loop import Training
from esm.training.losses import training_loss
from esm.training.schedules import Pace
from esm.training.settings import FineTuneConfig
from esm.training.units import Reading, unit_of

# Rows by which a tuned source is judged: enough for an accuracy within about two points.
MOST_JUDGED = 500


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


class HeadedEncoder(EncoderWithHeads):
    """A copy of an encoder with dropout and a linear head on its pooled embedding, or its words.

    Args:
        encoder: Copied, never changed.
        task: Says what to output and which loss to minimise: cross-entropy, squared error of
            standardised labels or ranks, binary cross-entropy for each label, or the mean
            cross-entropy of a text's words.
    """

    def __init__(self, encoder: Encoder, task: Outputs) -> None:
        super().__init__(encoder, task.id)
        self.task_id = task.id
        self.problem = task.problem
        self.unit = unit_of(task.problem)
        self.head = self.new_head(task)
        self.to(encoder.device)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return outputs (b, c), or (b, w, c): logits, or standardised values or ranks."""
        outputs: Tensor = self.head(self.dropout(self.unit.states(self.encoder, batch)))
        return outputs

    def read(self, examples: Examples) -> Reading:
        """Return examples as they are trained on."""
        return self.unit.read(self.encoder, examples.texts, examples.pairs)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over a batch, see :func:`~esm.training.losses.training_loss`."""
        head = self.head
        return training_loss(
            self.problem, outputs, targets, head.class_weights, head.label_mean, head.label_scale
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
            self.head.in_units,
            f"predicting {self.task_id}",
        )

    def head_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the head's arrays, as :class:`FineTuneResult` describes them."""
        return {
            name: tensor.detach().cpu().numpy().copy()
            for name, tensor in self.head.arrays().items()
        }

    def head_places(self) -> dict[str, Tensor]:
        """Return the tensors of the head."""
        return {f"head.{name}": tensor for name, tensor in self.head.arrays().items()}


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
    targets = model.head.prepare(reading.labels(examples.labels), weighs=weighs)
    Training(
        name=model.task_id,
        model=model,
        encoder=model.encoder,
        loss=model.loss,
        texts=reading.tokens,
        targets=targets,
        config=config,
        extra=reading.extra,
        pace=pace or Pace(),
    ).run()
