"""The delta of an entry: cut from its tuned encoder, judged on texts that did not decide it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from esm.common.storage import save_tensors
from esm.encoder.settings import BaseIdentity
from esm.maps.delta.cut import cut_delta, default_budget
from esm.maps.delta.delta import DELTA_NAME
from esm.maps.fit.ridge import r_squared
from esm.pool.records import DeltaRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esm.common.arrays import Float32
    from esm.encoder.cache import Embedder
    from esm.encoder.encoder import Encoder
    from esm.pool.pool import PoolEntry

DeltaSize = int | Literal["auto", "none", "full"]
"""Bytes of a delta; auto for the default, full for one that is not cut, none for no delta."""

MOST_JUDGED = 256

_WORDS: dict[str, DeltaSize] = {"auto": "auto", "none": "none", "full": "full"}
_UNITS = {"": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000}


def parse_size(text: str) -> DeltaSize:
    """Return a size as ``--delta`` takes it.

    Raises:
        ValueError: It is none.

    Example:
        >>> parse_size("0.5MB"), parse_size("full")
        (500000, 'full')
    """
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmg]?b?)", word)
    if found is None or found[2] not in _UNITS or float(found[1]) == 0:
        raise ValueError("a size such as 0.5MB or 300kB, auto, none or full")
    return round(float(found[1]) * _UNITS[found[2]])


def budget_of(size: DeltaSize, base: BaseIdentity) -> int | None:
    """Return the bytes that a delta may take; None for all that it needs."""
    if size == "auto":
        return default_budget(base.num_layers, base.width)
    return size if isinstance(size, int) else None


def store_delta(
    folder: Path,
    base: Encoder,
    tuned: Encoder,
    size: DeltaSize,
    judged: Sequence[Callable[[Embedder], Float32]],
) -> DeltaRecord:
    """Cut a delta, write it into a folder and say how near to the tuned encoder it comes.

    Cost: :func:`~esm.maps.delta.cut.cut_delta`, and two forward passes over the judged texts.

    Args:
        folder: Folder of the entry.
        base: The base encoder.
        tuned: The encoder after training.
        size: How large it may be; not ``none``.
        judged: What embeds anchors of other tasks, and what embeds texts of the source that it
            was not trained on.

    Raises:
        SettingError: It cannot be so small.
        FitError: The tuned encoder's weights are not finite.
        StorageError: It cannot be written; nothing is left of it.
    """
    from esm.maps.delta.encoder import DeltaEncoder

    budget = budget_of(size, base.identity)
    cut = cut_delta(base.model, tuned.model, str(base.identity.weights), budget)
    near = DeltaEncoder(base, cut.delta)
    fits = [r_squared(embed(tuned), embed(near)) for embed in judged]
    save_tensors(folder / DELTA_NAME, cut.delta.tensors())
    return DeltaRecord(
        hash=cut.delta.content_hash,
        budget=budget,
        bytes=(folder / DELTA_NAME).stat().st_size,
        r2_anchors=fits[0],
        r2_source=fits[1],
        left_out=cut.left_out,
    )


def spread(count: int, most: int = MOST_JUDGED) -> list[int]:
    """Return at most so many positions of ``count``, evenly spread."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, most))})


def keeps_encoder(entry: PoolEntry) -> bool:
    """Whether an entry still has all of its tuned encoder."""
    whole = entry.record.delta is not None and entry.record.delta.budget is None
    return whole or entry.model_folder is not None


def tuned_encoder(entry: PoolEntry, base: Encoder) -> Encoder:
    """Return an entry's tuned encoder: kept whole, or the base model with the entry's delta.

    It reads texts as the base model does.

    Raises:
        PoolError: The entry has neither.
        MapError: The delta is damaged or does not fit.
        EncoderError: The tuned encoder is damaged.
    """
    from esm.encoder.encoder import Encoder
    from esm.maps.delta.encoder import with_delta

    if entry.model_folder is None:
        return with_delta(base, entry.load_delta())
    config = base.config.model_copy(update={"model": str(entry.model_folder), "revision": None})
    return base.with_model(Encoder.load(config, str(base.device)).model)
