"""Try a base model before it is used: whether it embeds at all, and what padding does to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from esm.common.errors import EncoderError
from esm.common.memory import is_out_of_memory
from esm.encoder.chunks import Encoding

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder

# Of the largest hidden state: float32 rounding in deep models stays below.
_ROUNDING = 5e-5
_SHORT = "They say that 3 of 4 are false!"
_LONG = "The quick brown fox jumps over the lazy dog, again and again; who knows why? "
_FEW_TOKENS = 64
_FEWEST_STATES = 3  # the last one, that of the embedding layer and one layer's


def check_vocabulary(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that has tokens for which the model has no embedding.

    Raises:
        EncoderError: It has.
    """
    try:
        embeddings: Any = model.get_input_embeddings()
    except (
        NotImplementedError,
        AttributeError,
    ):  # CANINE hashes characters, FSMT has no such method
        return
    rows = getattr(embeddings, "num_embeddings", None)
    tokens = max(tokenizer.get_vocab().values()) + 1
    if rows is not None and tokens > rows:
        raise EncoderError(
            f"model {name}: the tokenizer has {tokens} tokens, the model rows for {rows}",
            expected="an embedding for every token",
            hint="model.resize_token_embeddings(len(tokenizer)) and train the new rows, or the"
            " tokenizer without the added tokens",
        )


def honours_mask(encoder: Encoder) -> bool:
    """Try an encoder on a short text alone, again, and beside one of the longest length.

    Cost: a forward pass of two texts of ``max_length`` tokens and three of a short one.

    Returns:
        Whether padding leaves its hidden states as they are. Where it does not (FNet has no mask,
        ConvBERT convolves over padding), texts of equal length alone may share a batch.

    Raises:
        EncoderError: It fails on a text, has other than one hidden state per token and layer, or
            its hidden states change from pass to pass or with the other texts of a batch.
    """
    short, long = (text.chunks[0] for text in encoder.tokenize([_SHORT, _long(encoder)]))
    half = max(1, len(long["input_ids"]) // 2)
    short = {name: values[:half] for name, values in short.items()}
    kind = f"model {encoder.config.model} ({encoder.model.config.model_type})"
    try:
        # Not inference_mode: what a model keeps of its first pass could not be trained with.
        with torch.no_grad():
            return _try(encoder, kind, short, long)
    except EncoderError:
        raise
    except Exception as error:  # foreign code on an unknown architecture
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        raise EncoderError(
            f"{kind} cannot embed a text ({type(error).__name__}: {reason})",
            expected="an encoder of texts: token ids and a mask in, a hidden state per token out",
            hint="a shorter --max-length or what its config.json lacks; else another model",
        ) from error


def _try(encoder: Encoder, kind: str, short: Encoding, long: Encoding) -> bool:
    alone = _states(encoder, [short])
    if _differ(alone, _states(encoder, [short])):
        raise EncoderError(
            f"{kind} gives other hidden states each time it reads a text",
            expected="an encoder without chance in it",
            hint="another model",
        )
    try:
        beside = _states(encoder, [short, long])
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        few = {name: values[:_FEW_TOKENS] for name, values in long.items()}
        beside = _states(encoder, [short, few])  # texts may be shorter than the longest allowed
    if not _differ(alone, beside):
        return True
    other = {name: values[::-1] for name, values in short.items()}
    if _differ(alone, _states(encoder, [short, other])):
        raise EncoderError(
            f"{kind} gives hidden states that depend on the other texts of a batch",
            expected="an encoder that reads each text for itself",
            hint="another model",
        )
    return False


def _states(encoder: Encoder, chunks: Sequence[Encoding]) -> list[Tensor]:
    """Return the hidden states of the first chunk's tokens, per layer (t, d), and the pooled one.

    Raises:
        EncoderError: There is not one of the encoder's width for every token and layer.
    """
    batch = encoder.reader.pad(chunks, encoder.device)
    outputs = encoder.forward(batch, hidden_states=True)
    rows, longest = batch["input_ids"].shape
    states = [outputs.last_hidden_state, *outputs.hidden_states]
    expected = (rows, longest, encoder.width)
    wrong = [tuple(state.shape) for state in states if tuple(state.shape) != expected]
    if wrong or len(states) < _FEWEST_STATES:
        raise EncoderError(
            f"model {encoder.config.model} ({encoder.model.config.model_type}) gives hidden states"
            f" of the shape {wrong[0] if wrong else 'of no layer'} for {rows} x {longest} tokens",
            expected=f"{expected} in every layer",
            hint="another model",
        )
    own = [state[0, : len(chunks[0]["input_ids"])].float() for state in states]
    pooled = getattr(outputs, "pooler_output", None)
    return own if pooled is None else [*own, pooled[0].float()]


def _differ(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    return any(
        float((one - other).abs().max()) > _ROUNDING * max(1.0, float(one.abs().max()))
        for one, other in zip(left, right, strict=True)
    )


def _long(encoder: Encoder) -> str:
    """Return a text that fills the longest input: no word is less than a token."""
    return _LONG * (encoder.max_length // len(_LONG.split()) + 1)


# ---------------------------------------------------------------------- batches without padding


def without_padding(
    forward: Callable[[Mapping[str, Tensor]], Any], batch: Mapping[str, Tensor]
) -> SimpleNamespace:
    """Run a model on the rows of each length apart, as if on every text alone; differentiable.

    Args:
        forward: Runs the model.
        batch: (c, t) tensors, padded on the right, with ``attention_mask``.

    Returns:
        ``last_hidden_state`` (c, t, d), ``hidden_states`` (as many of that shape) and
        ``pooler_output`` (c, d), the latter two None where the model gives none; padding has
        zeros.
    """
    lengths = batch["attention_mask"].sum(dim=1)
    longest = batch["attention_mask"].shape[1]
    rows, found = [], []
    for length in sorted(set(lengths.tolist())):
        same = (lengths == length).nonzero().squeeze(1)
        rows.append(same)
        found.append(forward({name: values[same, :length] for name, values in batch.items()}))
    order = torch.cat(rows).argsort()

    def joined(parts: Sequence[Tensor]) -> Tensor:
        if parts[0].dim() == 3:
            parts = [pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts]
        return torch.cat(list(parts))[order]

    layers = [part.hidden_states for part in found]
    pooled: list[Any] = [getattr(part, "pooler_output", None) for part in found]
    return SimpleNamespace(
        last_hidden_state=joined([part.last_hidden_state for part in found]),
        hidden_states=None
        if layers[0] is None
        else tuple(joined(layer) for layer in zip(*layers, strict=True)),
        pooler_output=None if pooled[0] is None else joined(pooled),
    )
