"""An auxiliary language-model loss beside the task's (Radford et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from esm.common.records import Record
from esm.encoder.settings import BaseIdentity
from esm.strategies import full
from esm.strategies.checks import TEXT_PROBLEMS
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort
from esm.strategies.tuning import Tuned, Tuning
from esm.tasks.task import Examples
from esm.training.finetune import HeadedEncoder
from esm.training.language_model import LanguageModel, check_language_model
from esm.training.loop import Training
from esm.training.settings import FineTuneConfig

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class AuxLmSettings(Record):
    """What the auxiliary loss alone can be told.

    Attributes:
        weight: Weight of the language-model loss; that of the task's loss is always 1.
        masked: Share of the tokens that are to be guessed, for architectures that see both sides.
    """

    weight: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    masked: float = Field(default=0.15, gt=0, lt=1)


class WithLanguageLoss(nn.Module):
    """A model that gives its outputs for a batch and, beside them, the loss of its tokens.

    Args:
        headed: An encoder and a task's head.
        language: A language model on the same encoder.
    """

    def __init__(self, headed: HeadedEncoder, language: LanguageModel) -> None:
        super().__init__()
        self.headed = headed
        self.language = language

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the outputs (b, c), from texts as they are, and the language-model loss."""
        return self.headed(batch), self.language(batch)


class AuxLm(Tuning):
    """Train all weights on the sum of the task's loss and 0.5 times a language-model loss.

    The task's loss always reads the texts as they are. Causal architectures guess every next
    token, others masked ones in a second pass, so a step costs twice that of ``full``. The head
    that guesses tokens is thrown away afterwards.

    Source:
        Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
        equation 5: ``L3 = L2 + lambda L1`` with lambda 0.5 on the language-model loss L1. Other
        settings are those of ``full``: theirs are for many more rows.
    """

    name = "aux-lm"
    seed_varies = "order of the rows, dropout, head, language-model head, masked tokens"
    default = full.DEFAULT
    problems = TEXT_PROBLEMS

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_language_model(architecture)

    def own(self, config: TransferConfig) -> dict[str, Any]:
        """Return the weight of the language-model loss and the share of masked tokens."""
        own = config.own_settings(self.name, AuxLmSettings)
        return {f"{self.name}.{name}": value for name, value in own.model_dump().items()}

    def tune(
        self,
        model: HeadedEncoder,
        rows: Examples,
        config: FineTuneConfig,
        own: Mapping[str, Any],
        *,
        weighs: bool,
    ) -> Tuned:
        """Train on both losses; say where the language-model head comes from."""
        language = LanguageModel(model.encoder, own["aux-lm.masked"])
        weight = float(own["aux-lm.weight"])
        targets = model.head.prepare(rows.labels, weighs=weighs)

        def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
            predicted, guessed = outputs
            return model.loss(predicted, targets) + weight * guessed

        Training(
            name=model.task_id,
            model=WithLanguageLoss(model, language),
            encoder=model.encoder,
            loss=loss,
            texts=model.encoder.tokenize(rows.texts, rows.pairs),
            targets=targets,
            config=config,
        ).run()
        return Tuned((language.remark,), language.head_parameters)

    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """See :meth:`esm.strategies.protocol.Strategy.effort`: two passes instead of one."""
        alone = super().effort(settings, base, vocabulary)
        return Effort(2 * alone.passes, alone.stored)
