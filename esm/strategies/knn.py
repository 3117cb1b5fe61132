"""Nearest neighbours: a text is what the training texts with the closest embeddings are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from esm.common.arrays import Array
from esm.common.errors import EncoderError
from esm.common.neighbours import nearest, nearest_others
from esm.common.records import Record
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.strategies.checks import no_plain_model
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Frozen, Learnt
from esm.tasks.task import Examples, Outputs, Problem, Task
from esm.training.class_weights import balanced_class_weights
from esm.training.state import State

_CHOICES = (1, 3, 5, 9, 15, 25, 45)


class KnnSettings(Record):
    """What nearest neighbours alone can be told.

    Attributes:
        neighbours: How many; None chooses by the training rows.
    """

    neighbours: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class KnnModel:
    """Training rows as points on the unit sphere, and what their neighbours are told.

    Attributes:
        encoder: The encoder, shared with whoever gave it.
        points: (n, d) float32 of length 1.
        votes: (n, c) what each row says: its class or its labels, 0 or 1, or its amount or rank.
        weights: (n,) how much a row counts.
        neighbours: How many are asked.
        problem: Kind of output.
        cache: Where embeddings are looked for before they are computed.
    """

    encoder: Encoder
    points: Array
    votes: Array
    weights: Array
    neighbours: int
    problem: Problem
    cache: EmbeddingCache

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Array:
        """Return outputs (n, c): log shares of votes, or means in the label's unit."""
        asked = unit(self.cache.embed(self.encoder, texts, pairs).last)
        rows, _ = nearest(asked, self.points, self.neighbours)
        return outputs(self.problem, self.votes[rows], self.weights[rows])

    def trained_state(self) -> State:
        """Return the training rows' embeddings and labels."""
        return {
            "knn.points": self.points.copy(),
            "knn.votes": self.votes.copy(),
            "knn.weights": self.weights.copy(),
            "knn.neighbours": np.array([self.neighbours]),
        }


class Knn(Frozen):
    """Ask the nearest training rows, by the cosine of their embeddings.

    How many is chosen among 1, 3, 5, 9, 15, 25 and 45 by leave-one-out on the training rows: the
    number with the smallest mean loss, the smallest of equals. Where classes are weighed, votes
    are. What is kept are the embeddings and labels of the training rows.

    Source:
        Cover and Hart 1967, "Nearest Neighbor Pattern Classification"; shares of votes are
        smoothed by one vote spread over the classes.
    """

    name = "knn"
    seed_varies = "nothing"

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        own = config.own_settings(self.name, KnnSettings)
        return {"class_weights": config.class_weights.value, "knn.neighbours": own.neighbours}

    def learn(
        self,
        encoder: Encoder,
        task: Task,
        rows: Examples,
        config: TransferConfig,
        seed: int,
        *,
        weighs: bool,
    ) -> Learnt:
        """See :meth:`esm.strategies.single.Frozen.learn`; nothing is drawn."""
        own = config.own_settings(self.name, KnnSettings)
        points = unit(self._cache.embed(encoder, rows.texts, rows.pairs).last)
        votes, weights = _votes(task, rows.labels), _weights(task, rows.labels, weighs=weighs)
        chosen = own.neighbours or best_number(task.problem, points, votes, weights)
        number = min(chosen, len(points))
        model = KnnModel(encoder, points, votes, weights, number, task.problem, self._cache)
        return Learnt(model, 0, 0, (f"{number} nearest neighbours",))

    @override
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> KnnModel:
        rows = len(state.get("knn.points", ()))
        wanted = {
            "knn.points": (rows, encoder.width),
            "knn.votes": (rows, task.num_outputs),
            "knn.weights": (rows,),
            "knn.neighbours": (1,),
        }
        found = {name: array.shape for name, array in state.items()}
        if found != wanted or not all(np.isfinite(array).all() for array in state.values()):
            raise EncoderError(
                f"the trained weights of {task.id} do not fit: {found}",
                expected=f"finite numbers of the shapes {wanted}",
                hint="esm validate again, with the same base model",
            )
        number = int(state["knn.neighbours"][0])
        if not 1 <= number <= rows:
            raise EncoderError(
                f"{number} neighbours among the {rows} rows of {task.id}", expected="1 to all"
            )
        votes, weights = state["knn.votes"], state["knn.weights"]
        return KnnModel(
            encoder, state["knn.points"], votes, weights, number, task.problem, self._cache
        )

    def export_task(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """See :meth:`esm.strategies.protocol.Strategy.exported`: it is no head."""
        raise no_plain_model(self.name, "it asks the training rows, which no head holds")


def unit(embeddings: Array) -> npt.NDArray[np.float32]:
    """Return (n, d) embeddings at length 1; one that is zero stays."""
    exact = embeddings.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    scaled: Array = exact / np.where(lengths == 0, 1, lengths)
    return scaled.astype(np.float32)


def outputs(problem: Problem, votes: Array, weights: Array) -> Array:
    """Return what neighbours say.

    Args:
        problem: Kind of output.
        votes: (q, k, c) of the k neighbours of q texts.
        weights: (q, k) how much each counts.

    Returns:
        (q, c): logarithms of the shares of votes for classes, log-odds for labels, weighted means
        of amounts and ranks.
    """
    total = weights.sum(axis=1, keepdims=True)
    summed = (votes * weights[:, :, None]).sum(axis=1)
    if problem in (Problem.REGRESSION, Problem.ORDINAL):
        means: Array = summed / total
        return means
    if problem is Problem.CLASSIFICATION:
        shares: Array = np.log((summed + 1 / votes.shape[2]) / (total + 1))
        return shares
    odds: Array = np.log((summed + 0.5) / (total - summed + 0.5))
    return odds


def best_number(problem: Problem, points: Array, votes: Array, weights: Array) -> int:
    """Return the number of neighbours with the smallest mean leave-one-out loss, weighted."""
    choices = [number for number in _CHOICES if number < len(points)]
    if not choices:
        return 1
    rows = nearest_others(points, choices[-1])

    def loss(number: int) -> float:
        found = outputs(problem, votes[rows[:, :number]], weights[rows[:, :number]])
        return float((_losses(problem, found, votes) * weights).sum() / weights.sum())

    return min(choices, key=loss)


def _losses(problem: Problem, found: Array, votes: Array) -> Array:
    """Return (n,) losses: log loss of classes and labels, squared error of amounts and ranks."""
    if problem in (Problem.REGRESSION, Problem.ORDINAL):
        squared: Array = np.square(found - votes).sum(axis=1)
        return squared
    if problem is Problem.CLASSIFICATION:
        logs: Array = -(found * votes).sum(axis=1)
        return logs
    odds: Array = np.logaddexp(0, np.where(votes > 0, -found, found)).sum(axis=1)
    return odds


def _votes(task: Task, labels: Array) -> Array:
    if task.problem is Problem.CLASSIFICATION:
        return np.eye(task.num_outputs)[labels]
    return labels.astype(np.float64).reshape(len(labels), task.num_outputs)


def _weights(task: Task, labels: Array, *, weighs: bool) -> Array:
    if not weighs or task.problem is Problem.MULTILABEL:
        return np.ones(len(labels))
    weights: Array = balanced_class_weights(labels)[labels]
    return weights
