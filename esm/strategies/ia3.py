"""IA3 (Liu et al. 2022): keys, values and inner activations are scaled, and a head is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.protocol import split_state, training_passes
from esm.strategies.single import Effort
from esm.strategies.tuning import Tuning
from esm.tasks.task import Outputs
from esm.training.finetune import HeadedEncoder
from esm.training.layers.lora_ia3 import check_ia3, insert_ia3, merged_ia3
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = FineTuneConfig(
    num_epochs=25, batch_size=8, learning_rate=3e-3, warmup_fraction=0.06, weight_decay=0.0
)

# Keys and values are d wide, inner activations 4 d in most architectures.
_SCALES_PER_WIDTH = 6


class Ia3(Tuning):
    """Train vectors that scale keys, values and inner activations, and a head.

    Source:
        Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than
        In-Context Learning", section 3: batches of 8 at 3e-3, 60 of 1,000 steps warm-up. 25 epochs
        of some 300 rows make about as many steps. There Adafactor and further losses for text
        generation, here AdamW and a head.
    """

    name = "ia3"
    seed_varies = "order of the rows, dropout, head"
    default = DEFAULT

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_ia3(architecture)

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Insert the scales; let only them and the head be trained."""
        model = HeadedEncoder(encoder, task)
        insert_ia3(model.backbone)
        return model

    @override
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        scales = _SCALES_PER_WIDTH * base.num_layers * base.width
        return Effort(training_passes(settings), scales)

    def export_task(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """See :meth:`esm.strategies.protocol.Strategy.exported`: scales go into the weights."""
        head, scales = split_state(state)
        merged = merged_ia3(encoder.model, scales)
        return head | {f"encoder.{name}": weight for name, weight in merged.items()}
