"""Adapter training (Houlsby et al. 2019): bottlenecks, layer norms and a head, the rest frozen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from esm.adapters import (
    DOWN_WEIGHT,
    adapter_parameters,
    check_architecture,
    freeze_all_but,
    insert_houlsby,
)
from esm.class_weights import weighs_classes
from esm.encoder import Encoder
from esm.errors import EncoderError
from esm.finetune import HeadedEncoder, train
from esm.runtime import seeded
from esm.settings import FineTuneConfig, TransferConfig
from esm.tasks.task import Examples, Outputs, Task
from esm.transfer.strategy import State, Transferred, training_settings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = FineTuneConfig(num_epochs=10, batch_size=16, learning_rate=1e-3)


class Houlsby:
    """Train two bottleneck adapters per layer, the layer norms and a head.

    Source:
        Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", who sweep learning
        rates from 3e-5 to 3e-3 and adapter widths from 8 to 256.
    """

    name = "houlsby"
    seed_varies = "order of the rows, dropout, head, adapters"

    def check(self, architecture: PreTrainedConfig) -> None:
        """See :meth:`esm.transfer.strategy.Strategy.check`."""
        check_architecture(architecture)

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`esm.transfer.strategy.Strategy.settings`."""
        trained = training_settings(config.settings(DEFAULT, 0))
        return {**trained, "adapter_size": config.adapter_size}

    def fit(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        """See :meth:`esm.transfer.strategy.Strategy.fit`."""
        start = time.monotonic()
        with seeded(seed):
            model = _with_adapters(encoder, task, config.adapter_size)
            weighs = weighs_classes(config.class_weights, task)
            train(model, rows, config.settings(DEFAULT, seed), weighs=weighs)
        return Transferred.of(model, time.monotonic() - start)

    def restore(self, encoder: Encoder, task: Outputs, state: State) -> HeadedEncoder:
        """See :meth:`esm.transfer.strategy.Strategy.restore`."""
        sizes = {len(array) for name, array in state.items() if name.endswith(DOWN_WEIGHT)}
        if len(sizes) != 1:
            raise EncoderError(
                f"the trained weights of {task.id} hold adapters of {len(sizes)} sizes",
                expected="adapters of one size",
                hint="esm validate again",
            )
        with seeded(0):
            model = _with_adapters(encoder, task, sizes.pop())
        model.load_trained(state)
        return model


def _with_adapters(encoder: Encoder, task: Outputs, size: int) -> HeadedEncoder:
    model = HeadedEncoder(encoder, task)
    insert_houlsby(model.backbone, size)
    freeze_all_but(model.backbone, adapter_parameters(model.backbone))
    return model
