"""Which texts a source was trained on: kept in its pool entry as numbers, never as texts.

An encoder that was tuned on a test text of a target flatters every result on it, wherever its
rows came from: another attribute of the same file, a copy of the file, a part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.storage import save_tensors
from esm.tasks.split import text_keys
from esm.tasks.task import Examples

SEEN_NAME = "texts.safetensors"

_KEYS = "keys"
# 64 bits: a million texts and a million others have none in common by chance, but for one draw
# in twenty million.
_DIGITS = 16


def numbers(keys: Iterable[str]) -> frozenset[int]:
    """Return the first 64 bits of the keys of texts, see :func:`~esm.tasks.split.text_keys`."""
    return frozenset(int(key[:_DIGITS], 16) for key in keys)


def store_seen(folder: Path, examples: Examples) -> None:
    """Store which texts some rows have; 8 bytes per distinct text."""
    found = np.array(sorted(numbers(text_keys(examples))), dtype=np.uint64)
    save_tensors(folder / SEEN_NAME, {_KEYS: found}, private=True)


def seen_numbers(stored: Mapping[str, npt.NDArray[Any]]) -> frozenset[int]:
    """Return the numbers of the texts that an entry was trained on, from the arrays stored."""
    return frozenset(stored[_KEYS].tolist())
