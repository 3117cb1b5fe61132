"""MT-uncertainty sampling: train on the rows of which the model is least certain.

For every step, as many candidates as a batch holds are drawn from each task; of all of them, those
with the highest normalised entropy make the batch. Easy tasks and easy rows drop out of the
training by themselves, so that only a part of the data is used for updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from esm.chunks import Tokens
from esm.errors import ValidationError
from esm.settings import FineTuneConfig
from esm.tasks.task import Problem
from esm.training import LengthGroupedBatches, Training
from esm.transfer.heads import SharedEncoder, TaskHead
from esm.transfer.joint import Lesson
from esm.transfer.mixing import loss_targets

Rows = npt.NDArray[np.int64]


def normalised_entropy(problem: Problem, logits: Tensor) -> Tensor:
    """Return how uncertain predictions are, from 0 (certain) to 1 (all classes alike), (b,).

    Shannon's entropy over its largest value, so that tasks with many classes do not count as
    harder than those with two. Of a multi-label task it is the mean over the labels.

    Args:
        problem: Classification or multi-label.
        logits: (b, c).

    Source:
        Pilault, Elhattami and Pal 2021, section 2.4: the entropy over the one of the uniform
        distribution and the largest mean of a task. The latter is the same for all candidates of
        a step and left out, since only their order counts.

    Example:
        >>> even, sure = torch.zeros(1, 4), torch.tensor([[50.0, 0.0, 0.0, 0.0]])
        >>> both = torch.cat([even, sure])
        >>> normalised_entropy(Problem.CLASSIFICATION, both).round(decimals=3).tolist()
        [1.0, 0.0]
    """
    if problem is Problem.MULTILABEL:
        chance = torch.sigmoid(logits)
        entropy = -(chance * logsigmoid(logits) + (1 - chance) * logsigmoid(-logits)).mean(dim=1)
        return entropy / math.log(2)
    log_chances = torch.log_softmax(logits, dim=1)
    return -(log_chances.exp() * log_chances).sum(dim=1) / math.log(max(logits.shape[1], 2))


def check_entropy(name: str, lessons: Mapping[str, Lesson]) -> None:
    """Refuse labels of which a model gives no probabilities.

    Raises:
        ValidationError: A lesson is a regression or ordinal.
    """
    wrong = [
        lesson.task.id
        for lesson in lessons.values()
        if lesson.task.problem not in (Problem.CLASSIFICATION, Problem.MULTILABEL)
    ]
    if wrong:
        raise ValidationError(
            f"{name} draws rows by the entropy of the classes, and {', '.join(wrong)} has none",
            expected="classification or multi-label attributes",
            hint="another sampling, for instance multitask:square-root, or other --attribute",
        )


@dataclass(frozen=True)
class DataUsed:
    """How much of the data a training made use of.

    Attributes:
        annotations: Rows of all tasks together.
        used: How many different ones were in an updating batch at least once.
        updates: Rows in updating batches, over the whole training.
        candidates: Rows that were looked at for them.
        used_share: ``used / annotations``.
        by_task: The share of updates that went to each task.
    """

    annotations: int
    used: int
    updates: int
    candidates: int
    used_share: float
    by_task: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {"data": asdict(self)}


class UncertainBatches(LengthGroupedBatches):
    """Batches of the least certain of candidates from all tasks.

    Args:
        owners: (n,) the task of each row, from 0 to t - 1; every task has rows.
        batch_size: Rows per batch, and candidates per task and step.
        seed: The same seed and the same model give the same batches.
        uncertainty: Says how uncertain the model is of rows at the moment, (n,) to (n,).

    Attributes:
        updates: (n,) how often each row was in a batch.
        candidates: How many rows were looked at.
    """

    def __init__(
        self, owners: Rows, batch_size: int, seed: int, uncertainty: Callable[[Rows], Tensor]
    ) -> None:
        super().__init__([1] * len(owners), batch_size, seed)
        self._chance = np.random.default_rng([seed, 2])
        self._rows = [np.flatnonzero(owners == task) for task in range(int(owners.max()) + 1)]
        self._waiting: list[Rows] = [rows[:0] for rows in self._rows]
        self._size = batch_size
        self._uncertainty = uncertainty
        self.updates = np.zeros(len(owners), dtype=np.int64)
        self.candidates = 0

    def __iter__(self) -> Iterator[list[int]]:
        """Choose an epoch's batches, each when the last step has been taken."""
        for _ in range(len(self)):
            drawn = np.concatenate([self._next(task) for task in range(len(self._rows))])
            self.candidates += len(drawn)
            order = torch.argsort(self._uncertainty(drawn), descending=True, stable=True)
            chosen = drawn[order[: self._size].cpu().numpy()]
            self.updates[chosen] += 1
            yield chosen.tolist()

    def _next(self, task: int) -> Rows:
        """Return the next rows of a task; when all have come up, they are shuffled again."""
        size = min(self._size, len(self._rows[task]))
        if len(self._waiting[task]) < size:
            self._waiting[task] = self._chance.permutation(self._rows[task])
        drawn = self._waiting[task][:size]
        self._waiting[task] = self._waiting[task][size:]
        return drawn


def learn_the_least_certain(
    model: SharedEncoder, lessons: Mapping[str, Lesson], config: FineTuneConfig
) -> DataUsed:
    """Train a shared encoder and its heads on the least certain rows, in place.

    A row is one annotation: a text that is annotated for three attributes is three rows. An epoch
    has as many steps as it would take to see every row once.

    Cost: a step looks at as many candidates per task as a batch holds, a forward pass each.

    Args:
        model: Has a head for each lesson; its batches may hold the number of the task, ``task``.
        lessons: Classification or multi-label, see :func:`check_entropy`.
        config: The settings.

    Raises:
        FitError: Training diverged, or a single row does not fit into memory.
    """
    names = list(lessons)
    targets = loss_targets(model, lessons, config)
    sizes = [len(lesson.rows) for lesson in lessons.values()]
    owners = np.repeat(np.arange(len(names)), sizes)
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    tokens: list[Tokens] = [
        text
        for lesson in lessons.values()
        for text in model.encoder.tokenize(lesson.rows.texts, lesson.rows.pairs)
    ]
    heads = [model.head(name) for name in names]

    def uncertainty(rows: Rows) -> Tensor:
        size = config.batch_size
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        training = model.training
        model.eval()
        with torch.no_grad():
            found = torch.cat([_entropies(model, heads, tokens, owners, part) for part in parts])
        model.train(training)
        return found

    def loss(embeddings: Tensor, rows: Tensor) -> Tensor:
        numbers = rows.cpu().numpy()
        parts = []
        for task in np.unique(owners[numbers]):
            here = np.flatnonzero(owners[numbers] == task)
            own = targets[names[task]][numbers[here] - firsts[task]].to(embeddings.device)
            parts.append(heads[task].losses(heads[task](embeddings[here]), own).sum())
        return torch.stack(parts).sum() / len(numbers)

    current: list[UncertainBatches] = []

    def batches() -> UncertainBatches:
        current[:] = [UncertainBatches(owners, config.batch_size, config.seed, uncertainty)]
        return current[0]

    Training(
        name=", ".join(names),
        model=model,
        encoder=model.encoder,
        loss=loss,
        texts=tokens,
        targets=torch.arange(len(tokens)),
        config=config,
        batches=batches,
        extra={"task": torch.from_numpy(owners)},
    ).run()
    return data_used(names, owners, current[0])


def _entropies(
    model: SharedEncoder,
    heads: Sequence[TaskHead],
    tokens: Sequence[Tokens],
    owners: Rows,
    rows: Rows,
) -> Tensor:
    """Return the normalised entropy of each row under the model as it is, (b,)."""
    batch = model.encoder.collate([tokens[row] for row in rows])
    embeddings = model(batch | {"task": torch.from_numpy(owners[rows]).to(model.encoder.device)})
    found = torch.empty(len(rows))
    for task in np.unique(owners[rows]):
        here = np.flatnonzero(owners[rows] == task)
        outputs = heads[task](embeddings[here])
        found[here] = normalised_entropy(heads[task].problem, outputs).float().cpu()
    return found


def data_used(names: Sequence[str], owners: Rows, batches: UncertainBatches) -> DataUsed:
    """Sum up which rows were used for updates."""
    updates = batches.updates
    total = int(updates.sum())
    return DataUsed(
        annotations=len(owners),
        used=int((updates > 0).sum()),
        updates=total,
        candidates=batches.candidates,
        used_share=float((updates > 0).mean()),
        by_task={
            name: float(updates[owners == task].sum() / max(total, 1))
            for task, name in enumerate(names)
        },
    )
