"""Adapter training (Houlsby et al. 2019): bottlenecks, layer norms and a head, the rest frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from esm.common.errors import EncoderError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.protocol import training_passes
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort
from esm.strategies.tuning import Tuning
from esm.tasks.task import Outputs
from esm.training.finetune import HeadedEncoder
from esm.training.layers.bottlenecks import (
    DOWN_WEIGHT,
    adapter_parameters,
    check_architecture,
    freeze_all_but,
    insert_houlsby,
)
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = FineTuneConfig(num_epochs=10, batch_size=16, learning_rate=1e-3)

_SIZE = 64


class Houlsby(Tuning):
    """Train two bottleneck adapters per layer, the layer norms and a head.

    Source:
        Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", who sweep learning
        rates from 3e-5 to 3e-3 and adapter widths from 8 to 256.
    """

    name = "houlsby"
    seed_varies = "order of the rows, dropout, head, adapters"
    default = DEFAULT

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_architecture(architecture)

    def own(self, config: TransferConfig) -> dict[str, Any]:
        """Return the width of the bottlenecks."""
        return {"adapter_size": config.adapter_size or _SIZE}

    def own_of(self, encoder: Encoder, task: Outputs, state: State) -> dict[str, Any]:
        """Return the width of the bottlenecks that were trained."""
        return {"adapter_size": stored_size(task, state)}

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Insert adapters; let only them, the layer norms and the head be trained."""
        model = HeadedEncoder(encoder, task)
        insert_houlsby(model.backbone, own["adapter_size"])
        freeze_all_but(model.backbone, adapter_parameters(model.backbone))
        return model

    @override
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        adapters = 2 * base.num_layers * adapter_numbers(base.width, settings["adapter_size"])
        return Effort(training_passes(settings), adapters)


def adapter_numbers(width: int, size: int) -> int:
    """Return how many parameters one bottleneck has."""
    return 2 * width * size + width + size


def stored_size(task: Outputs, state: State) -> int:
    """Return the width of the bottlenecks in a trained state.

    Raises:
        EncoderError: It has none, or of different widths.
    """
    sizes = {len(array) for name, array in state.items() if name.endswith(DOWN_WEIGHT)}
    if len(sizes) != 1:
        raise EncoderError(
            f"the trained weights of {task.id} hold adapters of {len(sizes)} sizes",
            expected="adapters of one size",
            hint="esm validate again",
        )
    return sizes.pop()
