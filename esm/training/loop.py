"""The training loop: ``transformers.Trainer`` with our batches, our loss and bounded memory.

Model, optimiser and schedule are born and die inside a run.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from esm.common.errors import FitError
from esm.common.memory import SMALLER, is_out_of_memory, release_memory
from esm.common.runtime import Advance, has_bfloat16, progress, seeded
from esm.encoder.chunks import Tokens
from esm.encoder.encoder import Encoder
from esm.training.schedules import Pace, Unfreezing, split_by_rate
from esm.training.settings import FineTuneConfig

_LOGGER = logging.getLogger(__name__)

# Batches are cut from this many batches' worth of random examples, sorted by length.
_BATCHES_SORTED_TOGETHER = 16


@dataclass(frozen=True)
class Training:
    """A model, what it is to learn, and how.

    Attributes:
        name: What it is trained on, for progress and errors.
        model: Takes a collated batch; its parameters that require a gradient are trained.
        encoder: The encoder inside the model.
        loss: The mean loss over a batch of the model's outputs and targets.
        texts: The examples.
        targets: What the loss wants, one row per example.
        config: The settings.
        batches: Makes the batches, drawn anew for every epoch and step by step: they may follow
            what the model has learnt so far; None for :class:`LengthGroupedBatches`. Called again
            where training begins again.
        extra: Further tensors with a row per example; each batch holds its rows of them.
        pace: Where rates differ between weights, or a schedule or stages are other than usual.
    """

    name: str
    model: nn.Module
    encoder: Encoder
    loss: Callable[[Any, Tensor], Tensor]
    texts: Sequence[Tokens]
    targets: Tensor
    config: FineTuneConfig
    batches: Callable[[], LengthGroupedBatches] | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)

    def run(self) -> None:
        """Train the model in place; global random states are restored afterwards.

        With stages, only the parameters of some stage require a gradient afterwards.

        At most ``config.batch_size`` chunks go through the model at once: batches of long texts
        are taken in parts whose gradients are added up, so that a step is that of the whole batch.
        When memory runs out, training begins again from the initial weights with parts of half
        the size: what comes out is what this size alone would have given.

        Cost: about three forward passes per chunk and epoch, and a copy of the trained weights.

        Raises:
            FitError: The loss or a weight stopped being a finite number, or a single example does
                not fit into memory.
        """
        initial = self._trained_weights()
        capacity = self.config.batch_size
        while not self._fits(capacity):
            # Here, where no exception holds on to the tensors of the batch that failed.
            self._let_train(initial, initial)
            self.model.load_state_dict(initial, strict=False)
            release_memory()
            capacity //= 2
            _LOGGER.warning(
                f"out of memory: training on {self.name} again, {capacity} texts at a time"
            )
        if self.pace.stages is not None:
            epochs = range(self.config.num_epochs)
            self._let_train({name for n in epochs for name in self.pace.stages(n)}, initial)

    def _let_train(self, names: Collection[str], among: Collection[str]) -> None:
        """Let only the named ones of some parameters require a gradient."""
        for name, parameter in self.model.named_parameters():
            if name in among:
                parameter.requires_grad_(name in names)

    def _trained_weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights that training changes, in the machine's memory."""
        trained = {name for name, weight in self.model.named_parameters() if weight.requires_grad}
        return {
            name: weight.detach().to("cpu", copy=True)
            for name, weight in self.model.state_dict().items()
            if name in trained
        }

    def _fits(self, capacity: int) -> bool:
        """Train with so many chunks at once; return whether memory sufficed."""
        try:
            self._train(capacity)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if capacity == 1:
                raise FitError(
                    f"training on {self.name} runs out of memory with one text at a time",
                    expected="memory for one text, the weights, their gradients and moments",
                    hint=f"{SMALLER}; --device cpu",
                ) from error
            return False
        finally:
            self.model.zero_grad()
        return True

    def _train(self, capacity: int) -> None:
        config = self.config
        if self.batches is None:
            lengths = [len(text) for text in self.texts]
            batches = LengthGroupedBatches(lengths, config.batch_size, config.seed)
        else:
            batches = self.batches()
        loader: DataLoader[int] = DataLoader(
            _RowNumbers(len(self.texts)),
            batch_sampler=batches,
            collate_fn=_Collator(self.encoder, self.texts, self.targets, capacity, self.extra),
        )
        steps = len(batches) * config.num_epochs
        with (
            seeded(config.seed),
            tempfile.TemporaryDirectory() as folder,
            progress(f"training {self.name}", total=steps) as advance,
        ):
            arguments = _arguments(self.encoder, config, steps, folder)
            trainer = _Trainer(self, loader, arguments, advance)
            try:
                trainer.train()
            finally:
                trainer.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.model.eval()
        self.model.to(self.encoder.device)
        if not all(torch.isfinite(parameter).all() for parameter in self.model.parameters()):
            raise _diverged(self.name, steps, config.learning_rate)


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
        bf16=config.bf16 and has_bfloat16(device),
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


def _diverged(name: str, step: int, learning_rate: float) -> FitError:
    return FitError(
        f"training on {name} diverged at step {step}: the loss or a weight is not finite",
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

    def draw(self) -> npt.NDArray[np.int64]:
        """Return the rows of the next epoch, each as often as it is to come, in any order."""
        return np.arange(len(self._lengths))

    def __iter__(self) -> Iterator[list[int]]:
        """Draw the next epoch's batches."""
        order = self._generator.permutation(self.draw())
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
class _RowNumbers(Dataset[int]):
    """The dataset that the loader draws from: row i is the number i, looked up by the collator."""

    rows: int

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> int:
        return row


@dataclass(frozen=True)
class _Collator:
    """Turn row numbers into padded batches and their targets.

    A batch is taken in parts of at most ``capacity`` chunks, or of one text that has more.
    """

    encoder: Encoder
    texts: Sequence[Tokens]
    targets: Tensor
    capacity: int
    extra: Mapping[str, Tensor]

    def __call__(self, rows: list[int]) -> dict[str, Any]:
        parts = _parts(rows, [len(self.texts[row].chunks) for row in rows], self.capacity)
        return {
            "parts": [
                {
                    "batch": self.encoder.collate([self.texts[row] for row in part])
                    | {name: rows[part] for name, rows in self.extra.items()},
                    "targets": self.targets[part],
                    "share": len(part) / len(rows),
                }
                for part in parts
            ]
        }


def _parts(rows: Sequence[int], sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Cut rows into consecutive parts whose sizes add up to at most the capacity each."""
    parts: list[list[int]] = []
    filled = capacity
    for row, size in zip(rows, sizes, strict=True):
        if filled + size > capacity:
            parts.append([])
            filled = 0
        parts[-1].append(row)
        filled += size
    return parts


class _Trainer(Trainer):
    """Trainer with our batches, our loss and our progress; it prints nothing."""

    def __init__(
        self,
        training: Training,
        loader: DataLoader[int],
        arguments: TrainingArguments,
        advance: Advance,
    ) -> None:
        super().__init__(model=training.model, args=arguments, callbacks=[_Progress(advance)])
        self.remove_callback(PrinterCallback)
        if training.pace.stages is not None:
            self.add_callback(Unfreezing(training.model, training.pace.stages))
        self._training = training
        self._loader = loader

    def get_train_dataloader(self) -> DataLoader[int]:
        return self._loader

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make groups of parameters where their rates differ."""
        # Without an argument where there is none: not every version of Trainer takes one.
        made = super().create_optimizer
        optimizer = made() if model is None else made(model)
        if self._training.pace.rates:
            split_by_rate(optimizer, self._training.model, self._training.pace.rates)
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LRScheduler:
        """Make the schedule that was asked for."""
        schedule, made = self._training.pace.schedule, optimizer or self.optimizer
        if schedule is None or made is None:
            return super().create_scheduler(num_training_steps, optimizer)
        self.lr_scheduler = LambdaLR(made, lambda step: schedule(step, num_training_steps))
        return self.lr_scheduler

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Add up the gradients of a batch's parts."""
        losses = [
            super(_Trainer, self).training_step(model, part, num_items_in_batch)
            for part in inputs["parts"]
        ]
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        mean = self._training.loss(model(inputs["batch"]), inputs["targets"])
        loss: Tensor = mean * inputs["share"]
        if not torch.isfinite(loss):
            step = self.state.global_step + 1
            raise _diverged(self._training.name, step, self.args.learning_rate)
        return loss


class _Progress(TrainerCallback):
    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._advance(1)
