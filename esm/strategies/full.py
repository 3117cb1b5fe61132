"""Full fine-tuning: every weight of the encoder is trained, and a head."""

from __future__ import annotations

from esm.strategies.tuning import Tuning
from esm.training.settings import FineTuneConfig

DEFAULT = FineTuneConfig(num_epochs=6, batch_size=16, learning_rate=1e-4)


class Full(Tuning):
    """Train all weights.

    Source:
        Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers", section 4;
        there 2 to 4 epochs at 2e-5 to 5e-5 for thousands of rows, here more for a few hundred.
    """

    name = "full"
    default = DEFAULT
