"""Adapter training (Pfeiffer et al. 2021): one bottleneck per layer and a head, the rest frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.houlsby import adapter_numbers, stored_size
from esm.strategies.protocol import training_passes
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort
from esm.strategies.tuning import Tuning
from esm.tasks.task import Outputs
from esm.training.finetune import HeadedEncoder
from esm.training.layers.bottlenecks import (
    bottleneck_parameters,
    check_architecture,
    freeze_all_but,
    insert_pfeiffer,
)
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = FineTuneConfig(num_epochs=30, batch_size=16, learning_rate=1e-4)

_REDUCTION = 16


class Pfeiffer(Tuning):
    """Train one bottleneck adapter per layer and a head; layer norms stay as they are.

    The bottlenecks are a sixteenth as wide as the encoder, unless a width is asked for.

    Source:
        Pfeiffer et al. 2021, "AdapterFusion", section 4: reduction factor 16, learning rate 1e-4,
        30 epochs, there with early stopping.
    """

    name = "pfeiffer"
    seed_varies = "order of the rows, dropout, head, adapters"
    default = DEFAULT

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_architecture(architecture)

    def own(self, config: TransferConfig) -> dict[str, Any]:
        """Return the width of the bottlenecks, or by what the encoder's is divided."""
        if config.adapter_size is None:
            return {"adapter_reduction": _REDUCTION}
        return {"adapter_size": config.adapter_size}

    def own_of(self, encoder: Encoder, task: Outputs, state: State) -> dict[str, Any]:
        """Return the width of the bottlenecks that were trained."""
        return {"adapter_size": stored_size(task, state)}

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Insert adapters; let only them and the head be trained."""
        model = HeadedEncoder(encoder, task)
        insert_pfeiffer(model.backbone, _size(own, encoder.width))
        freeze_all_but(model.backbone, bottleneck_parameters(model.backbone))
        return model

    @override
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        size = _size(settings, base.width)
        return Effort(
            training_passes(settings), base.num_layers * adapter_numbers(base.width, size)
        )


def _size(own: Mapping[str, Any], width: int) -> int:
    return int(own.get("adapter_size") or max(1, width // _REDUCTION))
