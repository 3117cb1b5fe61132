"""LoRA (Hu et al. 2022): a low-rank change of queries and values, and a head; the rest frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from typing_extensions import override

from esm.common.errors import EncoderError
from esm.common.records import Record
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.protocol import split_state, training_passes
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort
from esm.strategies.tuning import Tuning
from esm.tasks.task import Outputs
from esm.training.finetune import HeadedEncoder
from esm.training.layers.lora_ia3 import check_lora, insert_lora, merged_lora
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = FineTuneConfig(num_epochs=30, batch_size=16, learning_rate=5e-4, warmup_fraction=0.06)

_ALPHA = "lora.alpha"
_DOWN_WEIGHT = ".lora_A.default.weight"


class LoraSettings(Record):
    """What LoRA alone can be told.

    Attributes:
        rank: Rank r of the change of a projection.
        alpha: Scale of the change, which is ``alpha / rank * B A``.
    """

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=8, ge=1)


class LoraEncoder(HeadedEncoder):
    """A copy of an encoder with LoRA in its queries and values, and a head.

    Args:
        encoder: Copied, never changed.
        task: Says what to output and which loss to minimise.
        own: LoRA's settings.
    """

    def __init__(self, encoder: Encoder, task: Outputs, own: LoraSettings) -> None:
        super().__init__(encoder, task)
        self._alpha = own.alpha
        insert_lora(self.backbone, own.rank, own.alpha)

    def trained_state(self) -> State:
        """Return what was trained, and the scale, which no shape tells."""
        return super().trained_state() | {_ALPHA: np.array([self._alpha])}

    def load_trained(self, state: Mapping[str, Any]) -> None:
        """Put in what :meth:`trained_state` returned."""
        super().load_trained({name: array for name, array in state.items() if name != _ALPHA})


class Lora(Tuning):
    """Train a low-rank change of the queries' and values' projections, and a head.

    Source:
        Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", table 9: RoBERTa base
        on MRPC, rank and alpha 8, 30 epochs of batches of 16 at 5e-4, 6 % of them warm-up.
    """

    name = "lora"
    seed_varies = "order of the rows, dropout, head, low-rank changes"
    default = DEFAULT

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_lora(architecture)

    def own(self, config: TransferConfig) -> dict[str, Any]:
        """Return rank and scale."""
        own = config.own_settings(self.name, LoraSettings)
        return {f"{self.name}.{name}": value for name, value in own.model_dump().items()}

    def own_of(self, encoder: Encoder, task: Outputs, state: State) -> dict[str, Any]:
        """Return rank and scale of what was trained."""
        ranks = {len(array) for name, array in state.items() if name.endswith(_DOWN_WEIGHT)}
        alpha = state.get(_ALPHA, np.empty(0))
        if len(ranks) != 1 or alpha.shape != (1,) or not 1 <= alpha[0] < np.inf:
            raise EncoderError(
                f"the trained weights of {task.id} hold changes of {len(ranks)} ranks",
                expected="LoRA of one rank, and its scale",
                hint="esm validate again",
            )
        return {"lora.rank": ranks.pop(), "lora.alpha": int(alpha[0])}

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Insert LoRA; let only it and the head be trained."""
        settings = LoraSettings(rank=own["lora.rank"], alpha=own["lora.alpha"])
        return LoraEncoder(encoder, task, settings)

    @override
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        changes = 2 * base.num_layers * 2 * base.width * int(settings["lora.rank"])
        return Effort(training_passes(settings), changes)

    def export_task(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """See ``Strategy.exported``: changes are added to the weights."""
        own = self.own_of(encoder, task, state)
        head, changes = split_state(state)
        merged = merged_lora(encoder.model, changes, own["lora.alpha"] / own["lora.rank"])
        return head | {f"encoder.{name}": weight for name, weight in merged.items()}
