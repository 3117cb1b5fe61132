"""Training row by row and task by task: a text annotated for three attributes is three rows.

That is what an encoder needs that reads a text differently for each task, and what a choice of
rows needs that looks at what the model makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esm.encoder.chunks import Tokens
from esm.strategies.joint.mixing import MixedBatches, Sampling, loss_targets
from esm.strategies.joint.uncertainty import UncertainBatches, normalised_entropy
from esm.strategies.protocol import Lesson
from esm.training.heads import SharedEncoder, TaskHead
from esm.training.loop import LengthGroupedBatches, Training
from esm.training.settings import FineTuneConfig

Rows = npt.NDArray[np.int64]


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

    @classmethod
    def of(cls, names: Sequence[str], owners: Rows, updates: Rows, candidates: int) -> DataUsed:
        """Sum up how often each row was in an updating batch.

        Args:
            names: Names of the tasks.
            owners: (n,) the task of each row.
            updates: (n,) how often it was in a batch.
            candidates: How many rows were looked at.
        """
        total = int(updates.sum())
        return cls(
            annotations=len(owners),
            used=int((updates > 0).sum()),
            updates=total,
            candidates=candidates,
            used_share=float((updates > 0).mean()),
            by_task={
                name: float(updates[owners == task].sum() / max(total, 1))
                for task, name in enumerate(names)
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {"data": asdict(self)}


def learn_rows(
    model: SharedEncoder,
    lessons: Mapping[str, Lesson],
    config: FineTuneConfig,
    sampling: Sampling,
) -> DataUsed:
    """Train a shared encoder and its heads on the rows of all lessons, in place.

    A batch holds rows of several tasks, and says in ``task`` which. An epoch has as many steps as
    it takes to see every row once.

    Cost: a forward and a backward pass per row; with UNCERTAINTY a step also looks at as many
    candidates per task as a batch holds, a forward pass each.

    Args:
        model: Has a head for each lesson, in their order.
        lessons: What is learnt; UNCERTAINTY wants what
            :func:`~esm.strategies.joint.uncertainty.check_entropy` takes.
        config: The settings.
        sampling: How often each task is trained, or how rows are chosen.

    Raises:
        FitError: Training diverged, or a single row does not fit into memory.
    """
    names = list(lessons)
    targets = loss_targets(model, lessons, config)
    heads = [model.head(name) for name in names]
    sizes = [len(lesson.rows) for lesson in lessons.values()]
    owners = np.repeat(np.arange(len(names)), sizes)
    firsts = np.cumsum([0, *sizes])
    tokens = [
        text
        for lesson in lessons.values()
        for text in model.encoder.tokenize(lesson.rows.texts, lesson.rows.pairs)
    ]
    updates = np.zeros(len(owners), dtype=np.int64)
    current: list[LengthGroupedBatches] = []

    def uncertainty(rows: Rows) -> Tensor:
        size = config.batch_size
        training = model.training
        model.eval()
        with torch.no_grad():
            found = torch.cat(
                [
                    entropies(model, heads, tokens, owners, rows[start : start + size])
                    for start in range(0, len(rows), size)
                ]
            )
        model.train(training)
        return found

    def batches() -> LengthGroupedBatches:
        updates[:] = 0
        current[:] = [
            UncertainBatches(owners, config.batch_size, config.seed, uncertainty)
            if sampling is Sampling.UNCERTAINTY
            else MixedBatches(
                [len(text) for text in tokens],
                config.batch_size,
                config.seed,
                owners[:, None] == np.arange(len(names)),
                sampling,
                config.num_epochs,
            )
        ]
        return current[0]

    def loss(embeddings: Tensor, rows: Tensor) -> Tensor:
        numbers = rows.cpu().numpy()
        np.add.at(updates, numbers, 1)
        parts = []
        for task in np.unique(owners[numbers]):
            here = np.flatnonzero(owners[numbers] == task)
            own = targets[names[task]][numbers[here] - firsts[task]].to(embeddings.device)
            parts.append(heads[task].losses(heads[task](embeddings[here]), own).sum())
        return torch.stack(parts).sum() / len(numbers)

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
    looked_at = current[0].candidates if isinstance(current[0], UncertainBatches) else 0
    return DataUsed.of(names, owners, updates, looked_at or int(updates.sum()))


def entropies(
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
