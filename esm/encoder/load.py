"""Load a base model whole or not at all, and say what it can do."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from esm.common.errors import EncoderError, StorageError
from esm.common.storage import write_json
from esm.encoder.find import POOLING_FILE, declared_pooling, locate, pooling_record
from esm.encoder.loading_errors import loading_errors, quiet
from esm.encoder.settings import Pooling

# Tokenizers without a limit report 1e30.
_NO_LIMIT = 10**9
_SMALLEST_VOCABULARY = 10


@dataclass(frozen=True)
class Backbone:
    """A loaded base model.

    Attributes:
        model: The part that embeds; of an encoder-decoder model only the encoder.
        tokenizer: Its tokenizer, with a padding token.
        pooling: The pooling asked for, declared by the model, or right for its architecture.
        max_tokens: The longest input it takes, special tokens included; None where any length is.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: Pooling
    max_tokens: int | None


def load_backbone(
    model: str, revision: str | None = None, pooling: Pooling | None = None
) -> Backbone:
    """Load a base model in float32, ready to embed, without running any code that it ships.

    A pooling layer that the pooling does not need is left out, so that it is neither counted nor
    trained.

    Args:
        model: ``"offline"`` for the packaged encoder, a folder, or a Hub id.
        revision: Hub revision; a commit hash pins the weights.
        pooling: None takes what the model declares (sentence-transformers' ``1_Pooling``), else
            the last token for causal models and the mean for all others.

    Raises:
        EncoderError: It is not there, cannot be reached, is damaged, lacks weights, needs code of
            its own, or has no pooling layer where ``pooler`` is asked for.
    """
    location = locate(model)
    with loading_errors(model):
        config = _read_config(location, revision)
        chosen = pooling or declared_pooling(location, revision) or _default_pooling(config)
        loaded = _load_model(model, location, revision, config, chosen)
        tokenizer = _load_tokenizer(model, location, revision)
    return Backbone(loaded, tokenizer, chosen, _max_tokens(loaded, tokenizer))


def read_config(model: str, revision: str | None = None) -> PreTrainedConfig:
    """Read the configuration of a base model, without its weights.

    Raises:
        EncoderError: It is not there, cannot be reached, is damaged, or needs code of its own.
    """
    location = locate(model)
    with loading_errors(model):
        return _read_config(location, revision)


def save_backbone(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pooling: Pooling
) -> None:
    """Write a model (safetensors), its tokenizer and its pooling so that all of them load again.

    Raises:
        StorageError: Full disk, read-only folder and the like.
    """
    try:
        with quiet():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"cannot write a model into {folder}: {error}",
            expected="a writable folder with free space",
            hint="free space or choose another folder",
        ) from error
    write_json(folder / POOLING_FILE, pooling_record(pooling, model.config.hidden_size))


def is_causal(config: PreTrainedConfig) -> bool:
    """Return whether each token sees only what stands before it (GPT-2 and its kind)."""
    if config.is_encoder_decoder or _names_stack(config):
        return False
    causal_only = (
        config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        and config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    )
    return causal_only or bool(getattr(config, "is_decoder", False))


def _read_config(location: str, revision: str | None) -> PreTrainedConfig:
    config: PreTrainedConfig = AutoConfig.from_pretrained(
        location, revision=revision, trust_remote_code=False
    )
    return config


def _default_pooling(config: PreTrainedConfig) -> Pooling:
    return Pooling.LAST if is_causal(config) else Pooling.MEAN


def _load_model(
    name: str, location: str, revision: str | None, config: PreTrainedConfig, pooling: Pooling
) -> PreTrainedModel:
    full, report = _loader(config).from_pretrained(
        location,
        config=config,
        revision=revision,
        dtype=torch.float32,
        trust_remote_code=False,
        weights_only=True,
        output_loading_info=True,
    )
    model: PreTrainedModel = full.get_encoder() if config.is_encoder_decoder else full
    prefix = next(path for path, module in full.named_modules() if module is model)
    if pooling is Pooling.POOLER:
        _check_pooler(name, model)
    elif "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.register_module("pooler", None)
    _check_complete(name, model, prefix, report["missing_keys"])
    return model


def _load_tokenizer(name: str, location: str, revision: str | None) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        location, revision=revision, trust_remote_code=False
    )
    # Where its files are absent, Transformers makes one that knows no word, and goes on.
    if len(tokenizer) - len(tokenizer.all_special_ids) < _SMALLEST_VOCABULARY:
        raise EncoderError(
            f"model {name} comes without a vocabulary",
            expected="tokenizer files beside the weights, for instance tokenizer.json",
            hint="save the tokenizer into the same folder",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _loader(config: PreTrainedConfig) -> Any:
    """Return what loads this model: an encoder saved without its decoder needs its own class."""
    if not _names_stack(config):
        return AutoModel
    module = sys.modules[MODEL_MAPPING[type(config)].__module__]
    return getattr(module, _architecture(config))


def _names_stack(config: PreTrainedConfig) -> bool:
    """Whether the weights are an encoder saved without its decoder (BartEncoder, T5Stack)."""
    return _architecture(config).endswith(("Encoder", "Stack"))


def _architecture(config: PreTrainedConfig) -> str:
    names = getattr(config, "architectures", None)
    return str(names[0]) if names else ""


def _check_pooler(name: str, model: PreTrainedModel) -> None:
    if getattr(model, "pooler", None) is None:
        raise EncoderError(
            f"pooling 'pooler', but model {name} ({model.config.model_type}) has no pooling layer",
            expected="mean, cls or last",
            hint="--pooling mean",
        )


def _check_complete(
    name: str, model: PreTrainedModel, prefix: str, missing: Collection[str]
) -> None:
    """Refuse random numbers: Transformers initialises what a file lacks and goes on."""
    dot = f"{prefix}." if prefix else ""
    needed = {dot + key for key in model.state_dict()}
    lacking = sorted(needed.intersection(missing))
    if lacking:
        raise EncoderError(
            f"model {name} lacks {len(lacking)} of {len(needed)} weights"
            f" ({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''})",
            expected="trained weights for all of them",
            hint="another model or revision, or --pooling mean where only the pooler is missing",
        )


def _max_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the longest input that the position embeddings and the tokenizer allow."""
    limits = [int(tokenizer.model_max_length)]
    positions = max_positions(model)
    if positions is not None:
        limits.append(positions)
    return min(limits) if min(limits) < _NO_LIMIT else None


def max_positions(model: PreTrainedModel) -> int | None:
    """Return how many tokens have a position of their own; None where any number has."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None or positions <= 0:
        return None
    return int(positions) - _position_offset(model)


def _position_offset(model: PreTrainedModel) -> int:
    """Count the positions that RoBERTa and its kind lose: they number from the padding id on."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0
