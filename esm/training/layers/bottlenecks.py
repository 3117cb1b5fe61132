"""Bottleneck adapters (Houlsby 2019, Pfeiffer 2021) for any encoder of a known architecture.

An adapter hangs on the projection whose output it changes, as its submodule ``adapter``; a forward
hook applies it. The names of all other parameters stay what they were, so the encoder's weights
load and save as before, and what was added can be told by its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from esm.common.errors import EncoderError
from esm.training.layers.architectures import ARCHITECTURES, check_known

_ADAPTER = "adapter"

DOWN_WEIGHT = f".{_ADAPTER}.down.weight"
"""How the names of the (m, d) weights end that make an adapter's input narrow."""


class Bottleneck(nn.Module):
    """x + up(gelu(down(x))): the identity until it is trained.

    The up-projection starts at zero, so the encoder's output is unchanged to the last bit; the
    down-projection starts at random, so the gradient of the up-projection is not zero.

    Args:
        width: Width d of the encoder.
        size: Width m of the bottleneck; an adapter has 2 d m + d + m parameters.

    Source:
        Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1. There
        both projections start near zero, and the adapter follows the block's dropout; here it
        precedes it, because several architectures apply dropout without a module of its own.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the adapted hidden states (..., d)."""
        adapted: Tensor = hidden + self.up(nn.functional.gelu(self.down(hidden)))
        return adapted


def check_architecture(config: PreTrainedConfig) -> None:
    """Refuse an architecture whose projections are not known.

    Args:
        config: Configuration of the backbone; its weights are not needed.

    Raises:
        EncoderError: There is no place for adapters in it.
    """
    check_known(config, "no adapter is known for the architecture {}")


def insert_houlsby(model: PreTrainedModel, size: int = 64) -> tuple[str, ...]:
    """Insert two bottlenecks into each layer of an encoder, in place.

    One follows the attention's output projection, one the feed-forward block's, each before the
    residual is added. Initial weights are drawn from torch's global generator.

    Args:
        model: The backbone; its outputs do not change until an adapter is trained.
        size: Width of the bottlenecks.

    Returns:
        The names of the projections that now have an adapter.

    Raises:
        EncoderError: The architecture is not known, its layers are named otherwise, or there are
            adapters already.
    """
    return _insert(model, _places(model), size)


def insert_pfeiffer(model: PreTrainedModel, size: int) -> tuple[str, ...]:
    """Insert one bottleneck into each layer of an encoder, in place.

    It follows the feed-forward block's projection, before the residual is added. Initial weights
    are drawn from torch's global generator.

    Args:
        model: The backbone; its outputs do not change until an adapter is trained.
        size: Width of the bottlenecks.

    Returns:
        The names of the projections that now have an adapter.

    Raises:
        EncoderError: As :func:`insert_houlsby`.

    Source:
        Pfeiffer et al. 2021, "AdapterFusion: Non-Destructive Task Composition for Transfer
        Learning", whose search over places found one adapter after the feed-forward block as good
        as two. There it reads the normalised sum of block and residual and is a ReLU; here it
        reads the block's output and is a GELU, as Houlsby's does, because architectures normalise
        at different places.
    """
    return _insert(model, _places(model)[1:], size)


def _places(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the two projections of a layer whose outputs are added to the residual stream."""
    known = ARCHITECTURES.get(model.config.model_type)
    return () if known is None else (known.attention, known.feed_forward)


def _insert(model: PreTrainedModel, paths: Sequence[str], size: int) -> tuple[str, ...]:
    names = _projections(model, paths)
    for name in names:
        projection = model.get_submodule(name)
        if hasattr(projection, _ADAPTER):
            raise EncoderError(
                f"{name} has an adapter already", expected="a model without adapters"
            )
        adapter = Bottleneck(model.config.hidden_size, size)
        projection.add_module(_ADAPTER, adapter.to(model.device, model.dtype))
        projection.register_forward_hook(_apply_adapter)
    return names


def _apply_adapter(projection: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    adapted: Tensor = projection.get_submodule(_ADAPTER)(output)
    return adapted


def _projections(model: PreTrainedModel, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the projections to adapt, in the order of the layers."""
    check_architecture(model.config)
    names = modules_in_layers(model, paths)
    if not names:
        raise EncoderError(
            f"{type(model).__name__} has no layer with {' and '.join(paths)}",
            expected=f"the backbone of a {model.config.model_type} model",
        )
    return names


def feed_forward_projections(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of the projections that end the feed-forward blocks, layer by layer.

    Raises:
        EncoderError: The architecture is not known, or its layers are named otherwise.
    """
    return _projections(model, _places(model)[1:])


def modules_in_layers(model: nn.Module, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the modules that have one of these paths within a numbered layer."""
    escaped = "|".join(re.escape(path) for path in paths)
    in_a_layer = re.compile(rf"(?:.+\.)?\d+\.(?:{escaped})")
    return tuple(name for name, _ in model.named_modules() if in_a_layer.fullmatch(name))


def adapter_parameters(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters that adapter training changes.

    These are the adapters and all layer norms, as in Houlsby et al. 2019; a task's head is not
    part of the encoder.
    """
    return tuple(
        f"{name}.{parameter}" if name else parameter
        for name, module in model.named_modules()
        if _is_norm(module) or _ADAPTER in name.split(".")
        for parameter, _ in module.named_parameters(recurse=False)
    )


def bottleneck_parameters(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters of the adapters alone."""
    return tuple(name for name, _ in model.named_parameters() if _ADAPTER in name.split("."))


def _is_norm(module: nn.Module) -> bool:
    """Whether it is a layer norm; T5 and others bring their own classes."""
    return isinstance(module, nn.LayerNorm) or type(module).__name__.endswith(
        ("LayerNorm", "RMSNorm")
    )


def freeze_all_but(model: nn.Module, names: Collection[str]) -> None:
    """Let only the named parameters be trained."""
    trained = set(names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
