"""Full fine-tuning: every weight of the encoder is trained, and a head."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from esm.class_weights import weighs_classes
from esm.encoder import Encoder
from esm.finetune import HeadedEncoder, train
from esm.runtime import seeded
from esm.settings import FineTuneConfig, TransferConfig
from esm.tasks.task import Examples, Outputs, Task
from esm.transfer.strategy import State, Transferred, training_settings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = FineTuneConfig(num_epochs=6, batch_size=16, learning_rate=1e-4)


class Full:
    """Train all weights."""

    name = "full"
    seed_varies = "order of the rows, dropout, head"

    def check(self, architecture: PreTrainedConfig) -> None:
        """See :meth:`esm.transfer.strategy.Strategy.check`; any base model will do."""

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`esm.transfer.strategy.Strategy.settings`."""
        return training_settings(config.settings(DEFAULT, 0))

    def fit(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        """See :meth:`esm.transfer.strategy.Strategy.fit`."""
        start = time.monotonic()
        with seeded(seed):
            model = HeadedEncoder(encoder, task)
            weighs = weighs_classes(config.class_weights, task)
            train(model, rows, config.settings(DEFAULT, seed), weighs=weighs)
        return Transferred.of(model, time.monotonic() - start)

    def restore(self, encoder: Encoder, task: Outputs, state: State) -> HeadedEncoder:
        """See :meth:`esm.transfer.strategy.Strategy.restore`."""
        with seeded(0):
            model = HeadedEncoder(encoder, task)
        model.load_trained(state)
        return model
