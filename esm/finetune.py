"""One fine-tuning run: an encoder with a head, trained by ``transformers.Trainer``.

Model, optimiser and schedule are born and die inside a run. The head sits on the same pooled
embedding that the encoder returns, so what is learnt shows in the tuned embeddings.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    PreTrainedConfig,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from esm.encoder import Encoder
from esm.errors import EncoderError, FitError
from esm.metrics import performance
from esm.runtime import Advance, Precision, progress, seeded
from esm.settings import FineTuneConfig
from esm.tasks.split import held_out, sample
from esm.tasks.task import Examples, Outputs, Problem, Task

_EVALUATION_BATCH = 64

# Rows by which a tuned source is judged: enough for an accuracy within about two points.
_MOST_JUDGED = 500

# Batches are cut from this many batches' worth of random examples, sorted by length.
_BATCHES_SORTED_TOGETHER = 16

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
class FineTuned:
    """What fine-tuning on a source task gives.

    Attributes:
        encoder: The tuned encoder; the base encoder is untouched.
        head: The head's ``weight`` (c, d) and ``bias`` (c,), and ``label_mean`` and
            ``label_scale`` (1,), by which a regression's outputs return to the label's unit.
        quality: Metrics on at most 500 held-out rows that were not trained on.
        examples: How many examples were trained on.
        seconds: Wall-clock time of training and evaluation.
    """

    encoder: Encoder
    head: dict[str, npt.NDArray[np.float32]]
    quality: dict[str, float]
    examples: int
    seconds: float


def fine_tune(encoder: Encoder, task: Task, config: FineTuneConfig) -> FineTuned:
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
    unseen = sample(unseen, task.problem, _MOST_JUDGED, config.seed)
    with seeded(config.seed):
        model = HeadedEncoder(encoder, task)
        train(model, rows, config)
    return FineTuned(
        encoder=model.encoder,
        head=model.head_state(),
        quality=performance(task, unseen.labels, model.predict(unseen.texts, unseen.pairs)),
        examples=len(rows),
        seconds=time.monotonic() - start,
    )


class HeadedEncoder(nn.Module):
    """A copy of an encoder with dropout and a linear head on its pooled embedding.

    The head's initial weights are drawn from torch's global generator, as wide as the
    architecture initialises its own; dropout is the model configuration's.

    Args:
        encoder: Copied, never changed.
        task: Says what to output and which loss to minimise: cross-entropy, squared error of
            standardised labels, or binary cross-entropy for each label.
    """

    def __init__(self, encoder: Encoder, task: Outputs) -> None:
        super().__init__()
        self.task_id = task.id
        self.problem = task.problem
        self.encoder = encoder.with_model(copy.deepcopy(encoder.model))
        self.backbone = self.encoder.model
        configuration = self.backbone.config
        self.dropout = nn.Dropout(_head_dropout(configuration))
        self.head = nn.Linear(encoder.width, task.num_outputs)
        nn.init.normal_(self.head.weight, std=getattr(configuration, "initializer_range", 0.02))
        nn.init.zeros_(self.head.bias)
        self.label_mean: Tensor
        self.label_scale: Tensor
        self.register_buffer("label_mean", torch.zeros(1))
        self.register_buffer("label_scale", torch.ones(1))
        self.to(encoder.device)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return outputs (b, c): logits, or standardised values for regression."""
        outputs: Tensor = self.head(self.dropout(self.encoder.pooled(batch)))
        return outputs.float()

    def standardise(self, labels: npt.NDArray[Any]) -> None:
        """Take the mean and spread of a regression's training labels, to be trained on z-scores.

        One learning rate then suits ratings from 1 to 5 and prices in thousands alike.
        """
        if self.problem is Problem.REGRESSION:
            self.label_mean.fill_(float(labels.mean()))
            self.label_scale.fill_(float(labels.std()) or 1.0)

    def targets(self, labels: npt.NDArray[Any]) -> Tensor:
        """Return labels as the loss wants them: classes, z-scores, or zeros and ones."""
        if self.problem is Problem.CLASSIFICATION:
            return torch.from_numpy(labels.astype(np.int64))
        values = torch.from_numpy(labels.astype(np.float32))
        if self.problem is Problem.REGRESSION:
            values = (values - self.label_mean.cpu()) / self.label_scale.cpu()
        return values

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over a batch."""
        if self.problem is Problem.CLASSIFICATION:
            return nn.functional.cross_entropy(outputs, targets)
        if self.problem is Problem.REGRESSION:
            return nn.functional.mse_loss(outputs[:, 0], targets)
        return nn.functional.binary_cross_entropy_with_logits(outputs, targets)

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return outputs (n, c) in the order given: logits, or values in the label's unit."""
        encodings = self.encoder.tokenize(texts, pairs)
        longest_first = np.argsort([-_length(encoding) for encoding in encodings], kind="stable")
        outputs = np.empty((len(encodings), self.head.out_features), dtype=np.float32)
        self.eval()
        with (
            torch.inference_mode(),
            _autocast(self.encoder),
            progress(f"predicting {self.task_id}", total=len(encodings)) as advance,
        ):
            for start in range(0, len(encodings), _EVALUATION_BATCH):
                rows = longest_first[start : start + _EVALUATION_BATCH]
                batch = self.encoder.collate([encodings[row] for row in rows])
                predicted = self(batch) * self.label_scale + self.label_mean
                outputs[rows] = predicted.cpu().numpy()
                advance(len(rows))
        return outputs

    def head_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the head's arrays, as :class:`FineTuned` describes them."""
        tensors = {
            "weight": self.head.weight,
            "bias": self.head.bias,
            "label_mean": self.label_mean,
            "label_scale": self.label_scale,
        }
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}

    def trained_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return a copy of the head and of the encoder's weights that can be trained.

        The names begin with ``head.`` and ``encoder.``.
        """
        head = {f"head.{name}": array for name, array in self.head_state().items()}
        return head | {
            f"encoder.{name}": parameter.detach().cpu().numpy().copy()
            for name, parameter in self.backbone.named_parameters()
            if parameter.requires_grad
        }

    def load_trained(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put in what :meth:`trained_state` of such a model returned.

        Raises:
            EncoderError: Names or shapes are not this model's, or a number is not finite. The
                model is then unchanged.
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
        wanted = {name: tuple(place.shape) for name, place in places.items()}
        found = {name: array.shape for name, array in state.items()}
        differing = sorted(name for name, _ in wanted.items() ^ found.items())
        differing += [name for name, array in state.items() if not np.isfinite(array).all()]
        if differing:
            raise EncoderError(
                f"the trained weights of {self.task_id} do not fit: {differing[0]} is"
                f" {found.get(differing[0], 'absent')}",
                expected=f"finite numbers, {wanted.get(differing[0], 'no such weights')}",
                hint="esm validate again, with the same base model",
            )
        with torch.no_grad():
            for name, place in places.items():
                place.copy_(torch.from_numpy(np.asarray(state[name])))


def _head_dropout(configuration: PreTrainedConfig) -> float:
    found = (getattr(configuration, name, None) for name in _DROPOUTS)
    return float(next((rate for rate in found if rate is not None), 0.0))


def _length(encoding: dict[str, list[int]]) -> int:
    return len(encoding["input_ids"])


def _uses_bfloat16(encoder: Encoder) -> bool:
    """Whether to compute in bf16: on request, and where it is faster than float32."""
    return encoder.config.precision is Precision.BFLOAT16 and encoder.device.type == "cuda"


def _autocast(encoder: Encoder) -> torch.autocast:
    return torch.autocast(
        encoder.device.type, dtype=torch.bfloat16, enabled=_uses_bfloat16(encoder)
    )


# ---------------------------------------------------------------------------------- training


def train(model: HeadedEncoder, examples: Examples, config: FineTuneConfig) -> None:
    """Train, in place, whichever of the model's parameters require a gradient.

    All examples given are used. Global random states are restored afterwards.

    Cost: about three forward passes per example and epoch.

    Raises:
        FitError: The loss or a weight stopped being a finite number.
    """
    model.standardise(examples.labels)
    encodings = model.encoder.tokenize(examples.texts, examples.pairs)
    batches = LengthGroupedBatches(
        [_length(encoding) for encoding in encodings], config.batch_size, config.seed
    )
    loader: DataLoader[int] = DataLoader(
        range(len(examples)),  # type: ignore[arg-type]  # a range is a map-style dataset
        batch_sampler=batches,
        collate_fn=_Collator(model.encoder, encodings, model.targets(examples.labels)),
    )
    steps = len(batches) * config.num_epochs
    with (
        seeded(config.seed),
        tempfile.TemporaryDirectory() as folder,
        progress(f"training {model.task_id}", total=steps) as advance,
    ):
        trainer = _Trainer(model, loader, _arguments(model.encoder, config, steps, folder), advance)
        trainer.train()
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    model.zero_grad()
    model.eval()
    model.to(model.encoder.device)
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        raise _diverged(model.task_id, steps, config.learning_rate)


def _arguments(
    encoder: Encoder, config: FineTuneConfig, steps: int, folder: str
) -> TrainingArguments:
    device = encoder.model.device
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=config.num_epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=math.ceil(config.warmup_fraction * steps),
        weight_decay=config.weight_decay,
        seed=config.seed,
        bf16=_uses_bfloat16(encoder),
        use_cpu=encoder.device.type == "cpu",
        disable_tqdm=True,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
    )
    # Trainer takes the first GPU, or splits each batch over all of them, wherever the model is.
    arguments._setup_devices = device
    arguments._n_gpu = min(arguments.n_gpu, 1)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return arguments


def _diverged(task_id: str, step: int, learning_rate: float) -> FitError:
    return FitError(
        f"training on {task_id} diverged at step {step}: the loss or a weight is not finite",
        expected="finite numbers",
        hint=f"a learning rate below {learning_rate:g}, and labels without extreme values",
    )


class LengthGroupedBatches(Sampler[list[int]]):
    """Batches of examples of similar length, in random order, new ones in every epoch.

    Unlike Trainer's own grouping, which goes from long to short again and again, the order of
    the batches is random too, and small data are grouped as well.

    Args:
        lengths: Number of tokens of each example.
        batch_size: Examples per batch; one batch of an epoch may be smaller.
        seed: The same seed gives the same epochs.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Draw the next epoch's batches."""
        order = self._generator.permutation(len(self._lengths))
        sorted_together = self._batch_size * _BATCHES_SORTED_TOGETHER
        batches: list[list[int]] = []
        for start in range(0, len(order), sorted_together):
            chunk = order[start : start + sorted_together]
            chunk = chunk[np.argsort(self._lengths[chunk], kind="stable")]
            batches.extend(
                chunk[first : first + self._batch_size].tolist()
                for first in range(0, len(chunk), self._batch_size)
            )
        for position in self._generator.permutation(len(batches)):
            yield batches[position]


@dataclass(frozen=True)
class _Collator:
    """Turn row numbers into a padded batch and its targets."""

    encoder: Encoder
    encodings: list[dict[str, list[int]]]
    targets: Tensor

    def __call__(self, rows: list[int]) -> dict[str, Any]:
        batch = self.encoder.collate([self.encodings[row] for row in rows])
        return {"batch": batch, "targets": self.targets[rows]}


class _Trainer(Trainer):
    """Trainer with our batches, our loss and our progress; it prints nothing."""

    def __init__(
        self,
        model: HeadedEncoder,
        loader: DataLoader[int],
        arguments: TrainingArguments,
        advance: Advance,
    ) -> None:
        super().__init__(model=model, args=arguments, callbacks=[_Progress(advance)])
        self.remove_callback(PrinterCallback)
        self._headed = model
        self._loader = loader

    def get_train_dataloader(self) -> DataLoader[int]:
        return self._loader

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        loss = self._headed.loss(model(inputs["batch"]), inputs["targets"])
        if not torch.isfinite(loss):
            step = self.state.global_step + 1
            raise _diverged(self._headed.task_id, step, self.args.learning_rate)
        return loss


class _Progress(TrainerCallback):
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._advance(1)
