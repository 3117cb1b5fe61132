"""What is known of architectures: where their layers are changed, and what else they can do.

The one table to complete for another architecture. Names are those within a layer, by which
modules are found; ``peft`` guesses some of them, and of some architectures wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esm.common.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        attention: The attention's projection whose output is added to the residual stream.
        feed_forward: The second projection of the feed-forward block, of which that is true too.
        query: The attention's; one module that computes all three has one name.
        key: The same.
        value: The same.
        transposed: Whether weights are (in, out), as those of GPT-2's ``Conv1D``.
        takes_prompt: Whether it is known to take vectors in place of tokens.
        is_conditional: Whether attention and norms are where the modules of CA-MTL look for them.
        is_causal: Whether its language model sees what stands before a token alone.
        to_vocabulary: From a language model and hidden states (m, d) to logits over the
            vocabulary; None where no such head is known, as for encoder-decoder models.
    """

    attention: str
    feed_forward: str
    query: str
    key: str
    value: str
    transposed: bool = False
    takes_prompt: bool = True
    is_conditional: bool = False
    is_causal: bool = False
    to_vocabulary: Callable[[Any, Tensor], Tensor] | None = None

    @property
    def is_fused(self) -> bool:
        """Whether one module computes queries, keys and values."""
        return self.query == self.key


def _bert_like(
    to_vocabulary: Callable[[Any, Tensor], Tensor] | None, *, is_conditional: bool = False
) -> Architecture:
    return Architecture(
        attention="attention.output.dense",
        feed_forward="output.dense",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        is_conditional=is_conditional,
        to_vocabulary=to_vocabulary,
    )


def _lm_head(model: Any, hidden: Tensor) -> Tensor:
    logits: Tensor = model.lm_head(hidden)
    return logits


ARCHITECTURES: Mapping[str, Architecture] = {
    "bart": Architecture(
        "self_attn.out_proj", "fc2", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"
    ),
    "bert": _bert_like(lambda model, hidden: model.cls(hidden), is_conditional=True),
    "camembert": _bert_like(_lm_head, is_conditional=True),
    "deberta-v2": Architecture(
        "attention.output.dense",
        "output.dense",
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        takes_prompt=False,
    ),
    "distilbert": Architecture(
        "attention.out_lin",
        "ffn.lin2",
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        to_vocabulary=lambda model, hidden: model.vocab_projector(
            model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
        ),
    ),
    "electra": _bert_like(
        lambda model, hidden: model.generator_lm_head(model.generator_predictions(hidden))
    ),
    "gpt2": Architecture(
        "attn.c_proj",
        "mlp.c_proj",
        *("attn.c_attn",) * 3,
        transposed=True,
        is_causal=True,
        to_vocabulary=_lm_head,
    ),
    "modernbert": Architecture(
        "attn.Wo",
        "mlp.Wo",
        *("attn.Wqkv",) * 3,
        to_vocabulary=lambda model, hidden: model.decoder(model.head(hidden)),
    ),
    "mpnet": Architecture(
        "attention.attn.o",
        "output.dense",
        "attention.attn.q",
        "attention.attn.k",
        "attention.attn.v",
        to_vocabulary=_lm_head,
    ),
    "roberta": _bert_like(_lm_head, is_conditional=True),
    "t5": Architecture(
        "SelfAttention.o",
        "DenseReluDense.wo",
        "SelfAttention.q",
        "SelfAttention.k",
        "SelfAttention.v",
    ),
    "xlm-roberta": _bert_like(_lm_head, is_conditional=True),
}
"""By ``model_type`` of the configuration."""


def check_known(
    config: PreTrainedConfig,
    problem: str,
    suits: Callable[[Architecture], object] = lambda _: True,
    hint: str = "--strategy full or features",
) -> None:
    """Refuse an architecture that is not known, or does not suit.

    Args:
        config: Configuration of the backbone; its weights are not needed.
        problem: What the matter is, before the name of the architecture.
        suits: Says whether one will do.
        hint: What else to try.

    Raises:
        EncoderError: It will not do.
    """
    fit = [name for name, known in ARCHITECTURES.items() if suits(known)]
    if config.model_type not in fit:
        raise EncoderError(
            problem.format(repr(config.model_type)),
            expected=f"one of {', '.join(fit)}",
            hint=hint,
        )
