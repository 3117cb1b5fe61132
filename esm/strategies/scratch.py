"""What pre-training is worth at all: the same architecture from random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esm.encoder.encoder import Encoder
from esm.encoder.fresh import fresh_backbone
from esm.strategies import full
from esm.strategies.tuning import Tuning
from esm.tasks.task import Outputs
from esm.training.finetune import HeadedEncoder


class Scratch(Tuning):
    """Train all weights from random ones, otherwise as ``full`` does.

    Settings are those of ``full``, so that what lies between the two is the pre-trained weights.
    No source can matter: tokenizer and architecture are all that is taken of the encoder.
    """

    name = "scratch"
    seed_varies = "all weights, order of the rows, dropout"
    default = full.DEFAULT
    uses_source = False

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Draw the encoder's weights and the head's; all of them are trained."""
        return HeadedEncoder(encoder.with_model(fresh_backbone(encoder.model)), task)
