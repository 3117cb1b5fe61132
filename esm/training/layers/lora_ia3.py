"""LoRA and IA3 through ``peft``, for architectures whose projections are known by name.

``peft`` guesses where its layers belong for some architectures, and for some wrongly (of BERT it
would take every ``output.dense``, the attention's too). So the places are named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peft import IA3Config, LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from esm.common.arrays import Array
from esm.common.errors import EncoderError
from esm.training.layers.bottlenecks import freeze_all_but, modules_in_layers

_ADAPTER = "default"


@dataclass(frozen=True)
class _Projections:
    """Names of projections within a layer.

    `query`, `key` and `value` are the attention's; one module that computes all three has one
    name. `feed_forward` is the second of the feed-forward block. `transposed`: weights are (in,
    out), as those of GPT-2's ``Conv1D``.
    """

    query: str
    key: str
    value: str
    feed_forward: str
    transposed: bool = False

    @property
    def is_fused(self) -> bool:
        return self.query == self.key


_BERT_LIKE = _Projections(
    "attention.self.query", "attention.self.key", "attention.self.value", "output.dense"
)
_PROJECTIONS: Mapping[str, _Projections] = {
    "bart": _Projections("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "fc2"),
    "bert": _BERT_LIKE,
    "camembert": _BERT_LIKE,
    "deberta-v2": _Projections(
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        "output.dense",
    ),
    "distilbert": _Projections("attention.q_lin", "attention.k_lin", "attention.v_lin", "ffn.lin2"),
    "electra": _BERT_LIKE,
    "gpt2": _Projections(
        "attn.c_attn", "attn.c_attn", "attn.c_attn", "mlp.c_proj", transposed=True
    ),
    "modernbert": _Projections("attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "mlp.Wo"),
    "mpnet": _Projections(
        "attention.attn.q", "attention.attn.k", "attention.attn.v", "output.dense"
    ),
    "roberta": _BERT_LIKE,
    "t5": _Projections(
        "SelfAttention.q", "SelfAttention.k", "SelfAttention.v", "DenseReluDense.wo"
    ),
    "xlm-roberta": _BERT_LIKE,
}
_APART = tuple(name for name, places in _PROJECTIONS.items() if not places.is_fused)


def check_lora(config: PreTrainedConfig) -> None:
    """Refuse an architecture for which the places of LoRA are not known.

    Raises:
        EncoderError: They are not.
    """
    if config.model_type not in _PROJECTIONS:
        raise EncoderError(
            f"where LoRA belongs in the architecture {config.model_type!r} is not known",
            expected=f"one of {', '.join(_PROJECTIONS)}",
            hint="--strategy full or features",
        )


def check_ia3(config: PreTrainedConfig) -> None:
    """Refuse an architecture in which keys and values cannot be scaled apart.

    Raises:
        EncoderError: Its places are not known, or queries, keys and values share a projection.
    """
    if config.model_type not in _APART:
        known = config.model_type in _PROJECTIONS
        raise EncoderError(
            f"IA3 cannot be put into the architecture {config.model_type!r}: "
            + ("queries and keys share a projection" if known else "its layers are not known"),
            expected=f"one of {', '.join(_APART)}",
            hint="--strategy lora, full or features",
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
    places = _PROJECTIONS[model.config.model_type]
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
    places = _PROJECTIONS[model.config.model_type]
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
    transposed = _PROJECTIONS[model.config.model_type].transposed
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
