"""The cheap proof: a linear model on the embeddings of an encoder that stays as it is.

Logistic regression for classes and labels, ridge regression for values and ranks, both on
standardised embeddings: seconds, not minutes. The embeddings come from the cache where they are
there, so that further seeds, and further attributes of the same texts, cost next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.memory import peak_memory
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.linear import STANDARDISED, LinearModel, fit_linear
from esm.strategies.protocol import TEXT_PROBLEMS, Effort, Transferred, check_problem
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Examples, Outputs, Task
from esm.training.class_weights import weighs_classes
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Features:
    """Train a linear model on embeddings.

    A seed decides only the folds on which logistic regression chooses its penalty, so results
    vary little over seeds, and not at all for regression and ordinal: their standard error says
    nothing about training.

    Args:
        cache: Cache of embeddings; None for the default one.
    """

    name = "features"
    seed_varies = "folds on which the penalty is chosen, nothing for regression and ordinal"
    problems = TEXT_PROBLEMS
    uses_source = True

    def __init__(self, cache: EmbeddingCache | None = None) -> None:
        self._cache = EmbeddingCache.default() if cache is None else cache

    def check(self, architecture: PreTrainedConfig) -> None:
        """See :meth:`esm.strategies.protocol.Strategy.check`; any base model will do."""

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`esm.strategies.protocol.Strategy.settings`; class weights are the only one."""
        return {"class_weights": config.class_weights.value}

    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """See :meth:`esm.strategies.protocol.Strategy.effort`."""
        return Effort(passes=1, stored=0)

    def fit(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        """See :meth:`esm.strategies.protocol.Strategy.fit`; only class weights are used."""
        check_problem(self, task)
        start = time.monotonic()
        balanced = weighs_classes(config.class_weights, task)
        with peak_memory(encoder.device) as peak:
            features = self._cache.embed(encoder, rows.texts, rows.pairs).last.astype(np.float64)
            mean, scale = features.mean(axis=0), features.std(axis=0)
            scale[scale == 0] = 1.0
            weight, bias = fit_linear(
                task,
                (features - mean) / scale,
                rows.labels,
                seed,
                STANDARDISED,
                balanced=balanced,
            )
            weight = weight / scale[:, None]
        trained = weight.size + bias.size
        model = LinearModel(encoder, weight, bias - mean @ weight, self._cache)
        return Transferred(
            model=model,
            trained_parameters=trained,
            total_parameters=trained + sum(p.numel() for p in encoder.model.parameters()),
            stored_parameters=sum(array.size for array in model.trained_state().values()),
            seconds=time.monotonic() - start,
            peak_memory=peak.bytes,
        )

    def restore(self, encoder: Encoder, task: Outputs, state: State) -> LinearModel:
        """See :meth:`esm.strategies.protocol.Strategy.restore`."""
        return LinearModel.of_state(encoder, task, state, self._cache)

    def exported(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """See :meth:`esm.strategies.protocol.Strategy.exported`: it is plain already."""
        return state
