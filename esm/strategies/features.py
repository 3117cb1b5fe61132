"""The cheap proof: a linear model on the embeddings of an encoder that stays as it is.

Logistic regression for classes and labels, ridge regression for values and ranks, both on
standardised embeddings: seconds, not minutes. The embeddings come from the cache where they are
there, so that further seeds, and further attributes of the same texts, cost next to nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from esm.encoder.encoder import Encoder
from esm.strategies.linear import STANDARDISED, LinearModel, fit_linear
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Frozen, Learnt
from esm.tasks.task import Examples, Outputs, Task
from esm.training.state import State


class Features(Frozen):
    """Train a linear model on embeddings.

    A seed decides only the folds on which logistic regression chooses its penalty, so results
    vary little over seeds, and not at all for regression and ordinal: their standard error says
    nothing about training.
    """

    name = "features"
    seed_varies = "folds on which the penalty is chosen, nothing for regression and ordinal"

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`esm.strategies.protocol.Strategy.settings`; class weights are the only one."""
        return {"class_weights": config.class_weights.value}

    @override
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
        features = self._cache.embed(encoder, rows.texts, rows.pairs).last.astype(np.float64)
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale[scale == 0] = 1.0
        weight, bias = fit_linear(
            task, (features - mean) / scale, rows.labels, seed, STANDARDISED, balanced=weighs
        )
        weight = weight / scale[:, None]
        model = LinearModel(encoder, weight, bias - mean @ weight, self._cache)
        return Learnt(model, weight.size + bias.size, weight.size + bias.size)

    @override
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> LinearModel:
        return LinearModel.of_state(encoder, task, state, self._cache)
