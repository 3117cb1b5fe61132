"""LoRA and IA3 through ``peft``, for architectures whose projections are known by name.

``peft`` guesses where its layers belong for some architectures, and for some wrongly (of BERT it
would take every ``output.dense``, the attention's too). So the places are named in
:mod:`esm.training.layers.architectures`.
"""

from __future__ import annotations

from collections.abc import Mapping

from peft import IA3Config, LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from esm.common.arrays import Array
from esm.common.errors import EncoderError
from esm.training.layers.architectures import ARCHITECTURES, check_known
from esm.training.layers.bottlenecks import freeze_all_but, modules_in_layers

_ADAPTER = "default"


def check_lora(config: PreTrainedConfig) -> None:
    """Refuse an architecture for which the places of LoRA are not known.

    Raises:
        EncoderError: They are not.
    """
    check_known(config, "where LoRA belongs in the architecture {} is not known")


def check_ia3(config: PreTrainedConfig) -> None:
    """Refuse an architecture in which keys and values cannot be scaled apart.

    Raises:
        EncoderError: Its places are not known, or queries, keys and values share a projection.
    """
    known = config.model_type in ARCHITECTURES
    reason = "queries and keys share a projection" if known else "its layers are not known"
    check_known(
        config,
        f"IA3 cannot be put into the architecture {{}}: {reason}",
        lambda one: not one.is_fused,
        "--strategy lora, full or features",
    )


def insert_lora(model: PreTrainedModel, rank: int, alpha: int) -> None:
    """Insert LoRA into queries and values of each layer, in place; only it requires a gradient.

    The output of a projection gets ``alpha / rank * B A x`` added; B starts at zero, so nothing
    changes until it is trained, A at random, drawn from torch's global generator. Where one module
    computes queries, keys and values, all three are changed.

    Args:
        model: The backbone.
        rank: Rank r of the change.
        alpha: Its scale.

    Raises:
        EncoderError: The architecture is not known, or its layers are named otherwise.

    Source:
        Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.
    """
    check_lora(model.config)
    places = ARCHITECTURES[model.config.model_type]
    inject_adapter_in_model(
        LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=_found(model, places.query, places.value),
            fan_in_fan_out=places.transposed,
        ),
        model,
        _ADAPTER,
    )
    freeze_all_but(model, _added(model))


def insert_ia3(model: PreTrainedModel) -> None:
    """Insert IA3 into each layer, in place; only it requires a gradient.

    Keys, values and the inner activations of the feed-forward block are scaled, element by
    element, by vectors that start at one.

    Args:
        model: The backbone.

    Raises:
        EncoderError: The architecture is not known, or its layers are named otherwise.

    Source:
        Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than
        In-Context Learning", section 3.3.
    """
    check_ia3(model.config)
    places = ARCHITECTURES[model.config.model_type]
    feed_forward = _found(model, places.feed_forward)
    inject_adapter_in_model(
        IA3Config(
            target_modules=[*_found(model, places.key, places.value), *feed_forward],
            feedforward_modules=feed_forward,
        ),
        model,
        _ADAPTER,
    )
    freeze_all_but(model, _added(model))


def _added(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters that were inserted."""
    kinds = {"lora_A", "lora_B", "ia3_l"}
    return tuple(name for name, _ in model.named_parameters() if kinds & set(name.split(".")))


def _found(model: PreTrainedModel, *paths: str) -> list[str]:
    """Return the full names of modules with these paths; ``peft`` then matches nothing else."""
    names = modules_in_layers(model, paths)
    if not names:
        raise EncoderError(
            f"{type(model).__name__} has no layer with {' and '.join(paths)}",
            expected=f"the backbone of a {model.config.model_type} model",
        )
    return list(names)


# --------------------------------------------------------------------------------------- merging


def merged_lora(
    model: PreTrainedModel, state: Mapping[str, Array], scale: float
) -> dict[str, Array]:
    """Return the weights of the projections with LoRA's change added: those of a plain model.

    Args:
        model: The backbone as it was before LoRA was inserted.
        state: LoRA's arrays by the names of their parameters.
        scale: alpha / rank.
    """
    suffix = f".lora_A.{_ADAPTER}.weight"
    transposed = ARCHITECTURES[model.config.model_type].transposed
    merged = {}
    for name, down in state.items():
        if not name.endswith(suffix):
            continue
        module = name.removesuffix(suffix)
        change = scale * state[f"{module}.lora_B.{_ADAPTER}.weight"] @ down
        weight = _array(model, f"{module}.weight")
        merged[f"{module}.weight"] = weight + (change.T if transposed else change)
    return merged


def merged_ia3(model: nn.Module, state: Mapping[str, Array]) -> dict[str, Array]:
    """Return weights and biases of the projections with IA3's scales in them.

    Args:
        model: The backbone as it was before IA3 was inserted.
        state: IA3's arrays by the names of their parameters.
    """
    suffix = f".ia3_l.{_ADAPTER}"
    named = {name for name, _ in model.named_parameters()}
    merged = {}
    for name, scale in state.items():
        module = name.removesuffix(suffix)
        # (1, in) scales what goes into a feed-forward projection, (out, 1) what comes out.
        merged[f"{module}.weight"] = _array(model, f"{module}.weight") * scale
        if scale.shape[1] == 1 and f"{module}.bias" in named:
            merged[f"{module}.bias"] = _array(model, f"{module}.bias") * scale[:, 0]
    return merged


def _array(model: nn.Module, name: str) -> Array:
    array: Array = model.get_parameter(name).detach().cpu().numpy()
    return array
