"""MT-uncertainty sampling: train on the rows of which the model is least certain.

For every step, as many candidates as a batch holds are drawn from each task; of all of them, those
with the highest normalised entropy make the batch. Easy tasks and easy rows drop out of the
training by themselves, so that only a part of the data is used for updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from esm.common.errors import ValidationError
from esm.tasks.task import Outputs, Problem
from esm.training.loop import LengthGroupedBatches

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


def check_entropy(name: str, tasks: Iterable[Outputs]) -> None:
    """Refuse labels of which a model gives no probabilities.

    Raises:
        ValidationError: A task is a regression or ordinal.
    """
    wrong = [
        task.id
        for task in tasks
        if task.problem not in (Problem.CLASSIFICATION, Problem.MULTILABEL)
    ]
    if wrong:
        raise ValidationError(
            f"{name} draws rows by the entropy of the classes, and {', '.join(wrong)} has none",
            expected="classification or multi-label attributes",
            hint="another sampling, for instance multitask:square-root, or other --attribute",
        )


class UncertainBatches(LengthGroupedBatches):
    """Batches of the least certain of candidates from all tasks.

    Args:
        owners: (n,) the task of each row, from 0 to t - 1; every task has rows.
        batch_size: Rows per batch, and candidates per task and step.
        seed: The same seed and the same model give the same batches.
        uncertainty: Says how uncertain the model is of rows at the moment, (n,) to (n,).

    Attributes:
        candidates: How many rows were looked at so far.
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
        self.candidates = 0

    def __iter__(self) -> Iterator[list[int]]:
        """Choose an epoch's batches, each when the last step has been taken."""
        for _ in range(len(self)):
            drawn = np.concatenate([self._next(task) for task in range(len(self._rows))])
            self.candidates += len(drawn)
            order = torch.argsort(self._uncertainty(drawn), descending=True, stable=True)
            chosen = drawn[order[: self._size].cpu().numpy()]
            yield chosen.tolist()

    def _next(self, task: int) -> Rows:
        """Return the next rows of a task; when all have come up, they are shuffled again."""
        size = min(self._size, len(self._rows[task]))
        if len(self._waiting[task]) < size:
            self._waiting[task] = self._chance.permutation(self._rows[task])
        drawn = self._waiting[task][:size]
        self._waiting[task] = self._waiting[task][size:]
        return drawn
