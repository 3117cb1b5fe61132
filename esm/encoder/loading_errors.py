"""What Transformers and the Hub raise and print while loading, as one clear error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging

from esm.common.errors import EncoderError
from esm.encoder.settings import OFFLINE

# What a missing, damaged or foreign file makes the libraries raise, as far as it was seen.
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

_logging: Any = logging


@contextlib.contextmanager
def loading_errors(model: str) -> Iterator[None]:
    """Load quietly inside the block and turn what the libraries raise into an EncoderError."""
    try:
        with quiet():
            yield
    except EncoderError:
        raise
    except _LOADING_ERRORS as error:
        raise _explained(model, error) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars and load reports; what matters in them is checked by ``load``."""
    verbosity = _logging.get_verbosity()
    bars = _logging.is_progress_bar_enabled()
    _logging.set_verbosity_error()
    _logging.disable_progress_bar()
    try:
        yield
    finally:
        _logging.set_verbosity(verbosity)
        if bars:
            _logging.enable_progress_bar()


def _explained(model: str, error: Exception) -> EncoderError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
    if "trust_remote_code" in str(error):
        return EncoderError(
            f"model {model} needs code that it ships, which is never run",
            expected="an architecture that Transformers knows",
            hint="another model, for instance 'offline' for the packaged encoder",
        )
    if model == OFFLINE or Path(model).expanduser().is_dir():
        return EncoderError(
            f"model {model} cannot be loaded ({reason})",
            expected="a folder with config.json, model.safetensors and tokenizer files",
            hint="save or download the model again",
        )
    offline = " while HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
    return EncoderError(
        f"model {model} cannot be loaded from the Hub{offline} ({reason})",
        expected="the id of a text model on the Hub, a folder, or 'offline'",
        hint="check the id and the network, or name a folder with a copy of it, or 'offline' for"
        " the packaged encoder",
    )
