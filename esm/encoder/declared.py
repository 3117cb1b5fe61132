"""What a sentence-transformers model declares beside its weights: pooling, prompts, modules."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.file_download import _CACHED_NO_EXIST

from esm.common.errors import EncoderError
from esm.common.runtime import warn_once
from esm.encoder.settings import Pooling

_LOGGER = logging.getLogger(__name__)

POOLING_FILE = "1_Pooling/config.json"
PROMPTS_FILE = "config_sentence_transformers.json"
_MODULES_FILE = "modules.json"

# sentence-transformers wrote one flag per mode until version 5 and writes one name since.
_DECLARED_POOLING = {
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_lasttoken": Pooling.LAST,
    "mean": Pooling.MEAN,
    "cls": Pooling.CLS,
    "lasttoken": Pooling.LAST,
    "pooler": Pooling.POOLER,
}

# Scaling an embedding to length 1 is no layer: it has no weights, and heads scale for themselves.
_USED_MODULES = ("Transformer", "Pooling", "Normalize")


def declared_pooling(location: str, revision: str | None) -> Pooling | None:
    """Return the pooling that a model declares; None where there is none.

    Raises:
        EncoderError: It declares one that this package does not have.
    """
    declared = _declaration(location, POOLING_FILE, revision)
    if declared is None:
        return None
    modes = _modes(declared)
    if len(modes) != 1 or modes[0] not in _DECLARED_POOLING:
        raise EncoderError(
            f"model {location} declares pooling {' and '.join(modes) or 'none'}",
            expected="one of mean, cls and last token",
            hint="choose one with --pooling",
        )
    return _DECLARED_POOLING[modes[0]]


def declared_prefix(location: str, revision: str | None) -> str:
    """Return the prompt that a model declares for texts like these; empty where there is none.

    That is its default prompt, else the one called ``classification``. Where it has prompts for
    other purposes alone (query and passage, say), none is used and a note names them.
    """
    declared = _declaration(location, PROMPTS_FILE, revision)
    prompts = declared.get("prompts") if isinstance(declared, dict) else None
    if not isinstance(prompts, dict):
        return ""
    names = {name.lower(): name for name in prompts}
    chosen = declared.get("default_prompt_name") or names.get("classification")
    if chosen in prompts:
        return str(prompts[chosen] or "")
    if any(prompts.values()):
        listed = ", ".join(f"{name} {text!r}" for name, text in prompts.items() if text)
        _LOGGER.warning(
            f"model {_name(location)} was trained with prompts ({listed}), none of them its"
            " default: none is used; --prefix chooses one"
        )
    return ""


def note_left_out(location: str, revision: str | None) -> None:
    """Note the layers behind the pooling that are left out, which a model's own code applies."""
    declared = _declaration(location, _MODULES_FILE, revision)
    left_out = []
    for module in declared or ():
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind in _USED_MODULES:
            continue
        path = str(module.get("path", ""))
        about = _declaration(location, f"{path}/config.json", revision) if path else None
        sizes = [(about or {}).get(name) for name in ("in_features", "out_features")]
        shape = "" if None in sizes else f", from {sizes[0]} to {sizes[1]}"
        left_out.append(f"{path or kind} ({kind}{shape})")
    if left_out:
        _LOGGER.warning(
            f"model {_name(location)} has {', '.join(left_out)} behind its pooling: left out, its"
            " embeddings are the pooled hidden states"
        )


def pooling_record(pooling: Pooling, width: int) -> dict[str, Any]:
    """Return the declaration that :func:`declared_pooling` reads."""
    mode = "lasttoken" if pooling is Pooling.LAST else pooling.value
    return {"embedding_dimension": width, "pooling_mode": mode}


def prompts_record(prefix: str) -> dict[str, Any]:
    """Return the declaration that :func:`declared_prefix` reads."""
    return {"prompts": {"classification": prefix}, "default_prompt_name": "classification"}


def _name(location: str) -> str:
    return Path(location).name if Path(location).is_dir() else location


def _declaration(location: str, file: str, revision: str | None) -> Any:
    """Read a JSON file of a model; None where it has none."""
    if Path(location).is_dir():
        path = Path(location) / file
        if not path.is_file():
            return None
    else:
        try:
            path = Path(hf_hub_download(location, file, revision=revision))
        except LocalEntryNotFoundError:  # an EntryNotFoundError too, where the Hub is out of reach
            if try_to_load_from_cache(location, file, revision=revision) is not _CACHED_NO_EXIST:
                warn_once(
                    _LOGGER,
                    f"whether {location} declares {file} is not known, since the Hub cannot be"
                    " reached and the file is not in the cache; it is read as if it did not",
                )
            return None
        except EntryNotFoundError:
            return None
    return json.loads(path.read_text(encoding="utf-8"))


def _modes(declared: dict[str, Any]) -> list[str]:
    """Return the names of the modes that are on, in the older or the newer format."""
    modes = declared.get("pooling_mode")
    if modes is None:
        return [name for name, on in declared.items() if name.startswith("pooling_mode") and on]
    return [modes] if isinstance(modes, str) else list(modes)
