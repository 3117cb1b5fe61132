"""The encoder that a delta stands for: base weights and what is added to them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from esm.common.errors import MapError
from esm.common.storage import content_hash
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Embeddings, Encoder
from esm.encoder.settings import BaseIdentity
from esm.maps.delta.delta import Delta


class DeltaEncoder:
    """Embeds as the tuned encoder would, in the base model's own memory.

    While it embeds, the changed weights stand in the base model in place of its own, which are put
    back as they were, bit by bit, whatever happens: no second model is made. Nothing else may use
    the base model meanwhile. An :class:`~esm.encoder.cache.EmbeddingCache` takes it as an encoder.

    Args:
        base: The base encoder.
        delta: A delta of it.
    """

    def __init__(self, base: Encoder, delta: Delta) -> None:
        self.base = base
        self.delta = delta

    @property
    def width(self) -> int:
        """The embedding width d."""
        return self.base.width

    @cached_property
    def identity(self) -> BaseIdentity:
        """What decides the embeddings: the base model's identity and the delta's hash."""
        own = self.base.identity
        return own.model_copy(
            update={"weights": content_hash(own.weights, self.delta.content_hash)}
        )

    def count_cut(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> int:
        """Return how many of the texts, or text pairs, are not read to their end."""
        return self.base.count_cut(texts, pairs)

    def embed(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, wide: bool = False
    ) -> Embeddings:
        """Embed texts, or text pairs: see :meth:`esm.encoder.encoder.Encoder.embed`.

        Raises:
            MapError: The delta does not fit the base model.
        """
        # Outside of any autocast block, which would go on with the weights that it has seen.
        with swapped(self.base.model, tuned_weights(self.base, self.delta)):
            return self.base.embed(texts, pairs, wide=wide)


def embed_by_delta(
    base: Encoder,
    delta: Delta,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    cache: EmbeddingCache | None = None,
) -> Embeddings:
    """Return the embeddings of texts, or text pairs, by the encoder that a delta stands for.

    Cost: a forward pass per distinct text, and 0.1 s for the weights of 6 layers of width 384.

    Args:
        base: The base encoder.
        delta: A delta of it.
        texts: n texts.
        pairs: Their n second texts, for pair tasks.
        cache: Where they are looked up first and kept; None for no cache.

    Raises:
        MapError: The delta does not fit the base model.
        EncoderError: There is no text, or the weights give numbers that are not finite.
    """
    return (cache or EmbeddingCache(None)).embed(DeltaEncoder(base, delta), texts, pairs)


def with_delta(base: Encoder, delta: Delta) -> Encoder:
    """Return an encoder of its own, to be trained further, with the delta added to its weights.

    The same weights on every machine, see :class:`~esm.maps.delta.delta.Factors`.

    Raises:
        MapError: The delta does not fit the base model.
    """
    weights = tuned_weights(base, delta)
    model = copy.deepcopy(base.model)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
    return base.with_model(model)


def tuned_weights(base: Encoder, delta: Delta) -> dict[str, Tensor]:
    """Return the weights that a delta changes, as they are after it.

    Raises:
        MapError: It is of another base model, names a weight that the model does not have, or has
            another shape.
    """
    if base.identity.weights not in (None, delta.base):
        raise MapError(
            f"a delta of another base model, with weights {delta.base[:12]}",
            expected=f"weights {str(base.identity.weights)[:12]}",
        )
    parameters = dict(base.model.named_parameters())
    for name in delta.names:
        _check_fits(delta, name, parameters.get(name))
    weights = {}
    with torch.no_grad():
        for name, one in delta.factors.items():
            before = parameters[name]
            weights[name] = (before + one.product(before.shape, before.device)).detach()
        for name, array in delta.whole.items():
            weights[name] = torch.from_numpy(array).to(parameters[name].device)
    return weights


@contextlib.contextmanager
def swapped(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Put weights in place of a model's own, and its own back at the end."""
    parameters = dict(model.named_parameters())
    before = {name: parameters[name].data for name in weights}
    try:
        for name, weight in weights.items():
            parameters[name].data = weight
        yield
    finally:
        for name, weight in before.items():
            parameters[name].data = weight


def count_passed(model: nn.Module) -> int:
    """Return how many weights a token passes on its way: all but those of embedding tables."""
    tables = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    return sum(one.numel() for one in model.parameters() if id(one) not in tables)


def _check_fits(delta: Delta, name: str, weight: Tensor | None) -> None:
    if name in delta.whole:
        fits = weight is not None and delta.whole[name].shape == tuple(weight.shape)
    else:
        fits = weight is not None and delta.factors[name].fits(weight.shape)
    if not fits:
        found = "no such weight" if weight is None else f"one of shape {tuple(weight.shape)}"
        raise MapError(
            f"a delta changes {name}, where the base model has {found}",
            expected="a delta of the same architecture",
            hint="esm train --replace",
        )
