"""From the hidden states of tokens to one vector per text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from esm.common.errors import EncoderError
from esm.encoder.settings import Pooling

WIDE_LAYERS = 6


def pool(
    hidden: Tensor, mask: Tensor, pooling: Pooling, pooler_output: Tensor | None = None
) -> Tensor:
    """Return one float32 vector per text; padding has no influence.

    Args:
        hidden: (b, t, d) hidden states, padded on the right.
        mask: (b, t), 1 for real tokens, 0 for padding.
        pooling: ``mean`` over real tokens, ``cls`` the first token, ``last`` the last real token,
            ``pooler`` what the model's own pooling layer gave.
        pooler_output: (b, d), needed for ``pooler`` only.

    Returns:
        (b, d) float32, differentiable.

    Raises:
        EncoderError: ``pooler`` is asked of a model that has no pooling layer.
    """
    if pooling is Pooling.POOLER:
        if pooler_output is None:
            raise EncoderError(
                "pooling 'pooler', but the model has no pooling layer",
                expected="mean, cls or last",
                hint="--pooling mean",
            )
        return pooler_output.float()
    if pooling is Pooling.CLS:
        return hidden[:, 0].float()
    if pooling is Pooling.LAST:
        positions = torch.arange(hidden.shape[1], device=hidden.device)
        last = (mask * positions).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last].float()
    return _mean(hidden.float(), mask)


def join_chunks(chunks: Tensor, shares: Tensor) -> Tensor:
    """Return one vector per text from those of its chunks.

    A map of embeddings is affine and shares add up to 1, so mapping the chunks and joining them
    gives what joining and mapping does: a pool made of short texts holds for long ones.

    Args:
        chunks: (c, d) vectors of the chunks of b texts.
        shares: (b, c) weight of each chunk in each text; rows add up to 1.

    Returns:
        (b, d) float32, differentiable.
    """
    with torch.autocast(chunks.device.type, enabled=False):
        return shares @ chunks.float()


def wide_features(hidden_states: Sequence[Tensor], mask: Tensor, *, causal: bool) -> Tensor:
    """Return what several layers and poolings of one forward pass tell of each text.

    Side by side: the mean-pooled hidden states of up to six layers spread evenly from the
    embedding layer to the last one, then of the last layer the first token (the last token of a
    causal model, whose first token has seen nothing), the maximum and the standard deviation over
    tokens.

    Args:
        hidden_states: L + 1 tensors (b, t, d), from the embedding layer to the last layer.
        mask: (b, t), 1 for real tokens, 0 for padding.
        causal: Whether a token sees only what stands before it.

    Returns:
        (b, D) float32 with D = (number of layers used + 3) d.
    """
    final = hidden_states[-1].float()
    layers = [_mean(hidden_states[i].float(), mask) for i in wide_layers(len(hidden_states) - 1)]
    edge = pool(final, mask, Pooling.LAST if causal else Pooling.CLS)
    padding = mask.unsqueeze(-1) == 0
    largest = final.masked_fill(padding, -torch.inf).amax(dim=1)
    # layers[-1] is the mean of the last layer; centring first keeps the variance exact.
    centred = final - layers[-1].unsqueeze(1)
    spread = _mean(centred.square(), mask).sqrt()
    return torch.cat([*layers, edge, largest, spread], dim=1)


def wide_layers(num_layers: int) -> list[int]:
    """Return which hidden states go into the wide features: 0 is the embedding layer.

    Example:
        >>> wide_layers(12)
        [0, 2, 5, 7, 10, 12]
    """
    return [int(i) for i in np.unique(np.linspace(0, num_layers, WIDE_LAYERS).round())]


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask / mask.sum(dim=1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1).to(hidden.dtype), hidden).squeeze(1)
