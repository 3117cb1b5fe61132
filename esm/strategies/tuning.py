"""What strategies share that train a head, and a part of a copy of the encoder, by gradients."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from typing_extensions import override

from esm.common.memory import peak_memory
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import EVERY_PROBLEM, check_kind
from esm.strategies.protocol import encoder_size, training_passes, training_settings
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort, Single, Transferred
from esm.tasks.task import Examples, Outputs, Task
from esm.training.class_weights import weighs_classes
from esm.training.finetune import HeadedEncoder, train
from esm.training.settings import FineTuneConfig
from esm.training.state import State


@dataclass(frozen=True)
class Tuned:
    """What is known of a training when it is over.

    Attributes:
        remarks: What has to be known to judge the result.
        thrown_away: How many parameters were trained and are no part of the model.
    """

    remarks: tuple[str, ...] = ()
    thrown_away: int = 0


class Tuning(Single):
    """Train what a subclass lets be trained; as it stands, everything.

    A subclass says with :meth:`build` what is added to the encoder and which of its weights have a
    gradient, with :meth:`own` which further settings decide that, and with :meth:`own_of` how
    they are read off what was trained. The rest follows.

    Attributes:
        default: Settings where nothing is said.
    """

    seed_varies = "order of the rows, dropout, head"
    default: ClassVar[FineTuneConfig]
    problems = EVERY_PROBLEM

    def own(self, config: TransferConfig) -> dict[str, Any]:
        """Return the settings that this strategy has beside those of every training."""
        return {}

    def own_of(self, encoder: Encoder, task: Outputs, state: State) -> dict[str, Any]:
        """Return such settings as :meth:`build` needs, read off a trained state.

        Raises:
            EncoderError: The state is not of this strategy.
        """
        return {}

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Return a model whose trainable parameters, and no other ones, require a gradient.

        What is added, and the head, draw their initial weights from torch's global generator.
        """
        return HeadedEncoder(encoder, task)

    def tune(
        self,
        model: HeadedEncoder,
        rows: Examples,
        config: FineTuneConfig,
        own: Mapping[str, Any],
        *,
        weighs: bool,
    ) -> Tuned:
        """Train the model in place."""
        train(model, rows, config, weighs=weighs)
        return Tuned()

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        return training_settings(config.settings(self.default, 0)) | self.own(config)

    @override
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        return Effort(training_passes(settings), encoder_size(base, vocabulary))

    @override
    def fit_task(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        check_kind(self.name, task, self.problems)
        start = time.monotonic()
        own = self.own(config)
        weighs = weighs_classes(config.class_weights, task)
        with peak_memory(encoder.device) as peak, seeded(seed):
            model = self.build(encoder, task, own)
            settings = config.settings(self.default, seed)
            tuned = self.tune(model, rows, settings, own, weighs=weighs)
        seconds = time.monotonic() - start
        transferred = Transferred.of(model, seconds, peak.bytes, tuned.remarks)
        trained = transferred.trained_parameters + tuned.thrown_away
        return replace(transferred, trained_parameters=trained)

    @override
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> HeadedEncoder:
        with seeded(0):
            model = self.build(encoder, task, self.own_of(encoder, task, state))
        model.load_trained(state)
        return model
