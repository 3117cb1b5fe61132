"""Several lessons as one training: whose rows are drawn how often, and what a batch's loss is.

The usual way to mix tasks draws a task by its share, then one of its rows, and trains this task
alone. Where attributes are annotated on the same texts that would send a text through the encoder
once per attribute. Here a text that is drawn trains every attribute it is annotated for, each with
the weight of having been the one drawn: the expected gradient is the same, its variance smaller,
and the encoder's work that of one attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from esm.common.arrays import Float64
from esm.encoder.chunks import Tokens
from esm.encoder.encoder import Encoder
from esm.strategies.protocol import Lesson
from esm.training.class_weights import weighs_classes
from esm.training.heads import SharedEncoder
from esm.training.loop import LengthGroupedBatches, Training
from esm.training.settings import FineTuneConfig

# How far annealed sampling goes from proportional (exponent 1) towards equal shares.
_ANNEALED_BY = 0.8


class Sampling(StrEnum):
    """How often each task is trained.

    PROPORTIONAL: as often as it has rows. SQUARE_ROOT: as often as the root of its rows. ANNEALED:
    from the first towards equal shares as training goes on. UNCERTAINTY: the rows of which the
    model is least certain, see :mod:`esm.strategies.joint.uncertainty`.
    """

    PROPORTIONAL = "proportional"
    SQUARE_ROOT = "square-root"
    ANNEALED = "annealed"
    UNCERTAINTY = "uncertainty"

    @classmethod
    def among(cls, words: frozenset[str], otherwise: Sampling) -> Sampling:
        """Return the one among words that choose a variant; another where none is."""
        return next((one for one in cls if one.value in words), otherwise)


def sampling_shares(
    sizes: Sequence[int], sampling: Sampling, epoch: int, num_epochs: int
) -> Float64:
    """Return the share of each task in an epoch: its rows to the power of an exponent, normed.

    Args:
        sizes: Rows of each task.
        sampling: The rule; UNCERTAINTY draws its candidates proportionally.
        epoch: Counted from 0.
        num_epochs: Epochs of the whole training.

    Source:
        Stickland and Murray 2019, "BERT and PALs", section 3.3: square-root sampling has the
        exponent 0.5, annealed sampling 1 - 0.8 e / (E - 1) in epoch e of E.

    Example:
        >>> shares([100, 400], Sampling.SQUARE_ROOT, 0, 1).round(3).tolist()
        [0.333, 0.667]
    """
    exponent = 1.0
    if sampling is Sampling.SQUARE_ROOT:
        exponent = 0.5
    elif sampling is Sampling.ANNEALED and num_epochs > 1:
        exponent = 1.0 - _ANNEALED_BY * epoch / (num_epochs - 1)
    weights = np.asarray(sizes, dtype=np.float64) ** exponent
    normed: Float64 = weights / weights.sum()
    return normed


@dataclass(frozen=True)
class Mixture:
    """The rows of several lessons, each text once.

    A text that a lesson holds twice is there twice; the k-th row of a text in one lesson and the
    k-th in another are the same row.

    Attributes:
        names: Names of the lessons.
        texts: n texts, in the order in which they first come up.
        pairs: Their n second texts; None where a row is a single text.
        places: For each lesson, the row of the mixture that each of its rows is.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    pairs: tuple[str | None, ...]
    places: Mapping[str, npt.NDArray[np.int64]]

    @classmethod
    def of(cls, lessons: Mapping[str, Lesson]) -> Mixture:
        """Put the rows of lessons together."""
        found: dict[tuple[str, str | None, int], int] = {}
        places = {}
        for name, lesson in lessons.items():
            rows = lesson.rows
            times: dict[tuple[str, str | None], int] = {}
            own = []
            for row in zip(rows.texts, rows.pairs or (None,) * len(rows), strict=True):
                times[row] = times.get(row, 0) + 1
                own.append(found.setdefault((*row, times[row]), len(found)))
            places[name] = np.array(own, dtype=np.int64)
        return cls(
            names=tuple(lessons),
            texts=tuple(text for text, _, _ in found),
            pairs=tuple(pair for _, pair, _ in found),
            places=places,
        )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sizes(self) -> list[int]:
        """Rows of each lesson."""
        return [len(self.places[name]) for name in self.names]

    def annotated(self) -> npt.NDArray[np.bool_]:
        """Return which row is annotated for which lesson, (n, a)."""
        mask = np.zeros((len(self), len(self.names)), dtype=np.bool_)
        for column, name in enumerate(self.names):
            mask[self.places[name], column] = True
        return mask

    def tokens(self, encoder: Encoder) -> list[Tokens]:
        """Return the tokens of every row; single texts and pairs may be mixed."""
        read: list[Tokens | None] = [None] * len(self)
        for paired in (False, True):
            rows = [row for row, pair in enumerate(self.pairs) if (pair is not None) is paired]
            if rows:
                seconds = [str(self.pairs[row]) for row in rows] if paired else None
                found = encoder.tokenize([self.texts[row] for row in rows], seconds)
                for row, tokens in zip(rows, found, strict=True):
                    read[row] = tokens
        return [tokens for tokens in read if tokens is not None]


def row_weights(annotated: npt.NDArray[np.bool_], share: Float64) -> tuple[Float64, Float64]:
    """Return how likely each row is to be drawn, and the weight of each task's loss on it.

    With n_a rows of task a and its share q_a, row i is drawn with the probability P_i that a draw
    of a task and then of one of its rows ends there, the sum of q_a / n_a over its tasks; its loss
    for task a has the weight (q_a / n_a) / P_i, the probability that the task was a. The weights
    of a row add up to 1.

    Args:
        annotated: (n, a), every row for at least one task, every task on at least one row.
        share: (a,), adding up to 1.

    Returns:
        (n,) and (n, a).
    """
    each = annotated * (share / annotated.sum(axis=0))
    likely = each.sum(axis=1)
    return likely, each / likely[:, None]


def systematic(likely: Float64, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw n rows so that each comes up n times its probability, rounded up or down by chance.

    Where all rows are equally likely, each comes up exactly once and nothing is drawn.

    Args:
        likely: (n,), adding up to 1.
        generator: Source of chance.
    """
    count = len(likely)
    wanted = count * likely
    whole = np.floor(wanted + 1e-9).astype(np.int64)
    drawn = np.repeat(np.arange(count), whole)
    missing = count - len(drawn)
    if missing <= 0:
        return drawn[:count]
    order = generator.permutation(count)
    rest = np.maximum(wanted - whole, 0.0)[order]
    edges = np.cumsum(rest) * (missing / rest.sum())
    points = generator.random() + np.arange(missing)
    return np.concatenate([drawn, order[np.searchsorted(edges, points, side="right") % count]])


class MixedBatches(LengthGroupedBatches):
    """Batches of a mixture; with one lesson, or equal ones on the same texts, plain batches.

    Args:
        lengths: Number of tokens of each row.
        batch_size: Rows per batch.
        seed: The same seed gives the same epochs.
        annotated: (n, a), see :meth:`Mixture.annotated`.
        sampling: How often each task is trained.
        num_epochs: Epochs of the whole training.

    Attributes:
        weights: (n, a) weights of the losses in the epoch that was begun last.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        annotated: npt.NDArray[np.bool_],
        sampling: Sampling,
        num_epochs: int,
    ) -> None:
        super().__init__(lengths, batch_size, seed)
        self._chance = np.random.default_rng([seed, 1])
        self._annotated = annotated
        self._sampling = sampling
        self._num_epochs = num_epochs
        self._epoch = 0
        self.weights: Float64 = np.zeros(annotated.shape)

    @override
    def draw(self) -> npt.NDArray[np.int64]:
        sizes = self._annotated.sum(axis=0).tolist()
        share = sampling_shares(sizes, self._sampling, self._epoch, self._num_epochs)
        self._epoch += 1
        likely, self.weights = row_weights(self._annotated, share)
        return systematic(likely, self._chance)


def learn(
    model: SharedEncoder,
    lessons: Mapping[str, Lesson],
    config: FineTuneConfig,
    sampling: Sampling = Sampling.PROPORTIONAL,
) -> None:
    """Train a shared encoder and the heads of some lessons, in place.

    Args:
        model: Has a head for each of the lessons; what does not require a gradient stays.
        lessons: What is learnt.
        config: The settings.
        sampling: PROPORTIONAL, SQUARE_ROOT or ANNEALED.

    Raises:
        FitError: Training diverged, or a single row does not fit into memory.
    """
    mixture = Mixture.of(lessons)
    targets = loss_targets(model, lessons, config)
    annotated = mixture.annotated()
    own_row = np.zeros(annotated.shape, dtype=np.int64)
    for column, name in enumerate(mixture.names):
        own_row[mixture.places[name], column] = np.arange(len(mixture.places[name]))
    tokens = mixture.tokens(model.encoder)
    current: list[MixedBatches] = []

    def batches() -> MixedBatches:
        lengths = [len(text) for text in tokens]
        made = MixedBatches(
            lengths, config.batch_size, config.seed, annotated, sampling, config.num_epochs
        )
        current[:] = [made]
        return made

    def loss(embeddings: Tensor, rows: Tensor) -> Tensor:
        numbers = rows.cpu().numpy()
        weights = current[0].weights[numbers]
        parts = list(_losses(embeddings, numbers, weights))
        return torch.stack(parts).sum() / len(numbers)

    def _losses(
        embeddings: Tensor, numbers: npt.NDArray[np.int64], weights: Float64
    ) -> Iterator[Tensor]:
        for column, name in enumerate(mixture.names):
            here = np.flatnonzero(annotated[numbers, column])
            if len(here):
                head = model.head(name)
                own = targets[name][own_row[numbers[here], column]].to(embeddings.device)
                weight = torch.from_numpy(weights[here, column]).to(embeddings)
                yield (weight * head.losses(head(embeddings[here]), own)).sum()

    Training(
        name=", ".join(mixture.names),
        model=model,
        encoder=model.encoder,
        loss=loss,
        texts=tokens,
        targets=torch.arange(len(mixture)),
        config=config,
        batches=batches,
    ).run()


def loss_targets(
    model: SharedEncoder, lessons: Mapping[str, Lesson], config: FineTuneConfig
) -> dict[str, Tensor]:
    """Prepare the heads of lessons for their training labels; return what their losses want."""
    return {
        name: model.head(name).prepare(
            lesson.rows.labels, weighs=weighs_classes(config.class_weights, lesson.task)
        )
        for name, lesson in lessons.items()
    }
