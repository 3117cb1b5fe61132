"""Prompt tuning (Lester et al. 2021): learned tokens before every text, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field
from typing_extensions import override

from esm.common.errors import EncoderError
from esm.common.records import Record
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import TEXT_PROBLEMS, no_plain_model
from esm.strategies.protocol import training_passes
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort
from esm.strategies.tuning import Tuned, Tuning
from esm.tasks.task import Examples, Outputs
from esm.training.finetune import HeadedEncoder, train
from esm.training.layers.prompts import WEIGHT, check_prompt, insert_prompt, tokens_beside_prompt
from esm.training.schedules import Pace
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DEFAULT = FineTuneConfig(num_epochs=30, batch_size=16, learning_rate=1e-3, weight_decay=0.0)

_WEIGHT = f"encoder.{WEIGHT}"


class PromptSettings(Record):
    """What prompt tuning alone can be told.

    Attributes:
        tokens: How many learned tokens stand before a text.
        rate: How many times the head's learning rate the prompt's is.
    """

    tokens: int = Field(default=20, ge=1)
    rate: float = Field(default=30.0, gt=0, allow_inf_nan=False)


class PromptedEncoder(HeadedEncoder):
    """A copy of an encoder with learned tokens before every input, and a head.

    Args:
        encoder: Copied, never changed.
        task: Says what to output and which loss to minimise.
        tokens: How many learned tokens.

    Attributes:
        is_cut: Whether the prompt takes the place of tokens that the encoder could read.
    """

    def __init__(self, encoder: Encoder, task: Outputs, tokens: int) -> None:
        limit = tokens_beside_prompt(encoder.model, tokens)
        super().__init__(encoder if limit is None else encoder.within(limit), task)
        self.is_cut = self.encoder.max_length < encoder.max_length
        insert_prompt(self.backbone, tokens)


class Prompt(Tuning):
    """Train vectors that stand before the tokens of every input, and a head.

    Texts are cut so that prompt and text together have as many tokens as the model has positions;
    the result says so where that cuts more than usual.

    Source:
        Lester, Al-Rfou and Constant 2021, "The Power of Scale for Parameter-Efficient Prompt
        Tuning", section 3.2: more than 20 tokens gain little, vectors begin as those of tokens. Its
        rate, 0.3 by Adafactor for 30,000 steps, is one for the large embeddings of T5; 0.03 by
        AdamW is one for those of BERT.
    """

    name = "prompt"
    seed_varies = "order of the rows, dropout, head, the prompt's first tokens"
    default = DEFAULT
    problems = TEXT_PROBLEMS

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_prompt(architecture)

    def own(self, config: TransferConfig) -> dict[str, Any]:
        """Return the length of the prompt and its rate."""
        own = config.own_settings(self.name, PromptSettings)
        return {f"{self.name}.{name}": value for name, value in own.model_dump().items()}

    def own_of(self, encoder: Encoder, task: Outputs, state: State) -> dict[str, Any]:
        """Return the length of the prompt that was trained."""
        if _WEIGHT not in state:
            raise EncoderError(
                f"the trained weights of {task.id} hold no prompt",
                expected=f"vectors named {_WEIGHT}",
                hint="esm validate again",
            )
        return {"prompt.tokens": len(state[_WEIGHT])}

    def build(self, encoder: Encoder, task: Outputs, own: Mapping[str, Any]) -> HeadedEncoder:
        """Put a prompt before every input; let only it and the head be trained."""
        return PromptedEncoder(encoder, task, int(own["prompt.tokens"]))

    def tune(
        self,
        model: HeadedEncoder,
        rows: Examples,
        config: FineTuneConfig,
        own: Mapping[str, Any],
        *,
        weighs: bool,
    ) -> Tuned:
        """Train; say how far texts are read where the prompt takes their place."""
        pace = Pace(rates={f"backbone.{WEIGHT}": float(own["prompt.rate"])})
        train(model, rows, config, weighs=weighs, pace=pace)
        if isinstance(model, PromptedEncoder) and model.is_cut:
            length = model.encoder.max_length
            return Tuned((f"texts are cut to {length} tokens: the prompt takes places",))
        return Tuned()

    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """See :meth:`esm.strategies.protocol.Strategy.effort`; a prompt makes passes longer."""
        tokens = int(settings["prompt.tokens"])
        longer = 1 + tokens / base.max_length
        return Effort(longer * training_passes(settings), tokens * base.width)

    def export_task(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """See :meth:`esm.strategies.protocol.Strategy.exported`: no encoder holds a prompt."""
        reason = "learned vectors stand before its tokens, which a plain encoder has no place for"
        raise no_plain_model(self.name, reason)
