"""Episodes: an encoder learns to recognise classes from a few rows each, of one or more tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from esm.common.arrays import Array
from esm.common.errors import FitError
from esm.common.memory import SMALLER, is_out_of_memory
from esm.common.runtime import progress
from esm.encoder.encoder import Encoder
from esm.tasks.task import Examples
from esm.training.schedules import linear
from esm.training.settings import FineTuneConfig

_LARGEST_NORM = 1.0
_MOST_CLASSES = 20


@dataclass(frozen=True)
class EpisodeShape:
    """What an episode is made of.

    Attributes:
        shots: Rows of a class that make its prototype.
        queries: Rows of a class that are to be recognised.
    """

    shots: int
    queries: int

    @property
    def rows(self) -> int:
        """Rows of a class in an episode."""
        return self.shots + self.queries


@dataclass(frozen=True)
class Episode:
    """Rows of one task: some that make prototypes, others to be recognised by them.

    Attributes:
        support: Positions of rows, one array per class.
        queries: Positions of other rows of the same classes.
    """

    support: tuple[Array, ...]
    queries: tuple[Array, ...]


def draw_episodes(
    labels: Array, shape: EpisodeShape, generator: np.random.Generator
) -> Iterator[Episode]:
    """Draw episodes without end: at most 20 classes, of a rare one half its rows as support.

    A class with a single row takes no part.

    Raises:
        FitError: Fewer than two classes have two rows.
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    members = [rows for rows in members if len(rows) > 1]
    if len(members) < 2:
        raise FitError(
            f"{len(members)} classes of the {len(labels)} training rows have two rows or more",
            expected="at least two such classes to make episodes of",
            hint="more training rows, or prototype.epochs=0",
        )
    while True:
        places = generator.permutation(len(members))[:_MOST_CLASSES]
        drawn = [generator.permutation(members[place])[: shape.rows] for place in np.sort(places)]
        shots = [min(shape.shots, len(rows) // 2) for rows in drawn]
        yield Episode(
            support=tuple(rows[:count] for rows, count in zip(drawn, shots, strict=True)),
            queries=tuple(rows[count:] for rows, count in zip(drawn, shots, strict=True)),
        )


def episode_loss(embedded: Tensor, support: Sequence[int], queries: Sequence[int]) -> Tensor:
    """Return the mean loss of recognising the queries by the nearest prototype.

    Args:
        embedded: (s + q, d), the support of all classes, class by class, then the queries.
        support: How many rows make the prototype of each class.
        queries: How many are to be recognised, by class.

    Source:
        Snell, Swersky and Zemel 2017, algorithm 1.
    """
    parts = torch.split(embedded, [*support, *queries])
    means = torch.stack([part.mean(dim=0) for part in parts[: len(support)]])
    asked = torch.cat(parts[len(support) :])
    distances = (asked[:, None, :] - means[None, :, :]).square().sum(dim=2)
    counts = torch.tensor(queries, device=embedded.device)
    classes = torch.arange(len(queries), device=embedded.device).repeat_interleave(counts)
    return cross_entropy(-distances, classes)


def train_episodes(
    encoder: Encoder,
    tasks: Sequence[Examples],
    config: FineTuneConfig,
    shape: EpisodeShape,
    *,
    epochs: int,
    name: str,
) -> None:
    """Train an encoder in place on episodes, those of several tasks in turn.

    An epoch has as many episodes as it takes to use as many rows as there are.

    Args:
        encoder: All its weights are trained; the caller has seeded torch's generator.
        tasks: Rows of one or more classification tasks.
        config: Learning rate, weight decay, warm-up and seed.
        shape: What an episode is made of.
        epochs: Passes over the rows.
        name: What it is called in progress and errors.

    Raises:
        FitError: A task has no two classes of two rows, training diverged, or an episode does not
            fit into memory.
    """
    generator = np.random.default_rng(config.seed)
    drawn = [draw_episodes(rows.labels, shape, generator) for rows in tasks]
    per_epoch = [_episodes(rows, shape) for rows in tasks]
    plan = np.repeat(np.arange(len(tasks)), np.multiply(per_epoch, epochs))
    plan = generator.permutation(plan) if len(tasks) > 1 else plan
    weights = [p for p in encoder.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
    multiple = linear(config.warmup_fraction)
    schedule = LambdaLR(optimiser, lambda step: multiple(step, len(plan)))
    encoder.model.train(True)
    try:
        with progress(f"episodes of {name}", total=len(plan)) as advance:
            for place in plan.tolist():
                loss = _loss(encoder, tasks[place], next(drawn[place]))
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(weights, _LARGEST_NORM)
                optimiser.step()
                schedule.step()
                advance(1)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise FitError(
            f"an episode of {name} does not fit into memory",
            expected=f"memory for {shape.rows} texts of each class",
            hint=f"fewer prototype.shots and prototype.queries; {SMALLER}",
        ) from error
    finally:
        optimiser.zero_grad()
        encoder.model.train(False)
    if not all(torch.isfinite(weight).all() for weight in weights):
        raise FitError(
            f"training on episodes of {name} diverged: a weight is not finite",
            expected="finite numbers",
            hint=f"a learning rate below {config.learning_rate:g}",
        )


def _episodes(rows: Examples, shape: EpisodeShape) -> int:
    classes = min(_MOST_CLASSES, len(np.unique(rows.labels)))
    return math.ceil(len(rows) / (classes * shape.rows))


def _loss(encoder: Encoder, rows: Examples, episode: Episode) -> Tensor:
    chosen = rows.take(np.concatenate([*episode.support, *episode.queries]))
    batch = encoder.collate(encoder.tokenize(chosen.texts, chosen.pairs))
    sizes = [[len(part) for part in parts] for parts in (episode.support, episode.queries)]
    return episode_loss(encoder.pooled(batch), *sizes)
