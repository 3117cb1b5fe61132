"""Prompt tuning (Lester et al. 2021): learned vectors that stand before the tokens of every input.

The vectors are ``peft``'s; where they go is ours. ``peft``'s own model drops the token types of
pairs and returns the vectors' hidden states among those of the tokens, so that the pooling would
have a mask of another length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft import PromptEmbedding, PromptTuningConfig
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from esm.common.errors import EncoderError
from esm.encoder.load import max_positions
from esm.training.layers.architectures import check_known
from esm.training.layers.bottlenecks import freeze_all_but

_PROMPT = "prompt"

# Fewer tokens of a text than these are no text.
_FEWEST_TOKENS = 8

WEIGHT = f"{_PROMPT}.embedding.weight"
"""The name of the (p, e) vectors among an encoder's parameters."""


def check_prompt(config: PreTrainedConfig) -> None:
    """Refuse an architecture of which it is not known that it takes vectors for tokens.

    Raises:
        EncoderError: It is not.
    """
    problem = "whether the architecture {} takes a prompt is not known"
    check_known(config, problem, lambda one: one.takes_prompt)


def tokens_beside_prompt(model: PreTrainedModel, tokens: int) -> int | None:
    """Return how many tokens of a text fit beside a prompt; None where any number does.

    Raises:
        EncoderError: Next to none.
    """
    positions = max_positions(model)
    if positions is not None and positions - tokens < _FEWEST_TOKENS:
        raise EncoderError(
            f"a prompt of {tokens} tokens leaves {max(0, positions - tokens)} of the {positions}"
            " positions of the base model to the text",
            expected=f"at least {_FEWEST_TOKENS}",
            hint="--set prompt.tokens=20",
        )
    return None if positions is None else positions - tokens


def insert_prompt(model: PreTrainedModel, tokens: int) -> None:
    """Put a prompt before every input of an encoder, in place; only it requires a gradient.

    Its vectors begin as those of tokens drawn from the vocabulary by torch's global generator. All
    tokens attend to them; the outputs are those of the text's tokens alone, and a pooling layer of
    the model reads the first of these. Texts must leave :func:`room`.

    Args:
        model: The backbone.
        tokens: How many vectors.

    Raises:
        EncoderError: The architecture is not known, or there is a prompt already.
    """
    check_prompt(model.config)
    if hasattr(model, _PROMPT):
        raise EncoderError("the model has a prompt already", expected="a model without one")
    words: Any = model.get_input_embeddings()
    config = PromptTuningConfig(
        num_virtual_tokens=tokens,
        token_dim=words.embedding_dim,
        num_transformer_submodules=1,
    )
    vectors: Any = PromptEmbedding
    prompt = vectors(config, words)
    drawn = torch.randint(words.num_embeddings, (tokens,)).to(words.weight.device)
    with torch.no_grad():
        prompt.embedding.weight.copy_(words(drawn))
    model.add_module(_PROMPT, prompt.to(model.device, model.dtype))
    model.register_forward_pre_hook(_prepend, with_kwargs=True)
    model.register_forward_hook(_cut_off)
    freeze_all_but(model, [WEIGHT])


def _prepend(
    model: nn.Module, args: tuple[Any, ...], inputs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Replace token numbers by the prompt's vectors and those of the tokens."""
    changed = dict(inputs)
    ids: Tensor = changed.pop("input_ids")
    prompt: Any = model.get_submodule(_PROMPT)
    vectors = prompt(torch.arange(prompt.embedding.num_embeddings, device=ids.device))
    words: Any = model
    embedded = words.get_input_embeddings()(ids)
    rows, count = len(ids), len(vectors)
    before = vectors.to(embedded.dtype).expand(rows, -1, -1)
    changed["inputs_embeds"] = torch.cat([before, embedded], dim=1)
    for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
        if name in changed:
            changed[name] = torch.cat(
                [changed[name].new_full((rows, count), value), changed[name]], dim=1
            )
    return args, changed


def _cut_off(model: nn.Module, args: tuple[Any, ...], outputs: BaseModelOutput) -> BaseModelOutput:
    """Leave the prompt's hidden states out."""
    prompt: Any = model.get_submodule(_PROMPT)
    count = prompt.embedding.num_embeddings
    kept = {name: value for name, value in outputs.items() if name != "past_key_values"}
    kept["last_hidden_state"] = kept["last_hidden_state"][:, count:]
    if kept.get("hidden_states") is not None:
        kept["hidden_states"] = tuple(layer[:, count:] for layer in kept["hidden_states"])
    if kept.get("pooler_output") is not None:
        kept["pooler_output"] = model.get_submodule("pooler")(kept["last_hidden_state"])
    return type(outputs)(**kept)
