"""The base model of a pool: load it, and refuse another one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import PoolError
from esm.encoder.settings import EncoderConfig
from esm.pool.pool import Pool

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder

_LOGGER = logging.getLogger(__name__)


_SAME_WEIGHTS = ("weights", "pooling", "max_length", "precision", "width", "num_layers")
_SAME_READING = (*_SAME_WEIGHTS, "max_chunks", "stride")


def load_base(
    pool: Pool,
    device: str = "auto",
    *,
    model: str | None = None,
    max_chunks: int | None = None,
) -> Encoder:
    """Load a pool's base model as the pool's manifest describes it.

    Args:
        pool: The pool.
        device: Device to compute on.
        model: Name or folder to load it from; None for the manifest's.
        max_chunks: Most windows in which it reads a long text; None for the manifest's.

    Raises:
        EncoderError: It cannot be loaded.
        PoolError: Its weights are not those the pool was built with.
    """
    from esm.encoder.encoder import Encoder

    config = base_config(pool, model)
    if max_chunks is not None:
        config = config.model_copy(update={"max_chunks": max_chunks})
    encoder = Encoder.load(config, device)
    check_base(pool, encoder)
    return encoder


def base_config(pool: Pool, model: str | None = None) -> EncoderConfig:
    """Return the settings with which a pool's base model is loaded.

    Args:
        pool: The pool.
        model: Name or folder to load it from; None for the manifest's.

    Raises:
        PoolError: It is another name than the only thing that is known of the base model.
    """
    identity = pool.manifest.base
    is_other = model is not None and model != identity.model
    if model is not None and is_other:
        _check_named(pool, model)
    return EncoderConfig(
        model=identity.model if model is None else model,
        revision=None if is_other else pool.manifest.revision,
        pooling=identity.pooling,
        max_length=identity.max_length,
        max_chunks=identity.max_chunks,
        stride=identity.stride,
        precision=identity.precision,
    )


def _check_named(pool: Pool, model: str) -> None:
    """Refuse another name where the pool knows its base model by nothing but its name."""
    base = pool.manifest.base
    if base.weights is None and not Path(model).is_dir():
        raise PoolError(
            f"base model {model!r} is not {base.model!r}, for which the maps of {pool.folder} were"
            " published",
            expected=f"{base.model!r}, or a folder with a copy of it",
            hint="leave out --base",
        )


def check_base(pool: Pool, encoder: Encoder, *, reading: bool = False) -> None:
    """Refuse a base model other than the pool's.

    In how many chunks long texts are read does not matter to who uses a map: maps are affine, so
    the mean over chunks that are mapped is the map of the mean. New entries are made as the others.
    Maps that were made elsewhere only name their base model: its weights cannot be compared, and
    a note says so.

    Args:
        pool: The pool.
        encoder: The base model.
        reading: Also refuse one that reads long texts in another way than the pool's.

    Raises:
        PoolError: Weights, pooling, length or precision differ, or the reading of long texts.
    """
    ours, theirs = encoder.identity, pool.manifest.base
    compared: tuple[str, ...] = _SAME_READING if reading else _SAME_WEIGHTS
    if theirs.weights is None:
        compared = tuple(name for name in compared if name != "weights")
        _LOGGER.warning(
            f"the maps of {pool.folder} only name their base model {theirs.model!r}; that the"
            f" weights of {ours.model!r} are the same cannot be checked"
        )
    differing = [
        f"{name} {str(getattr(ours, name))[:40]!r} instead of {str(getattr(theirs, name))[:40]!r}"
        for name in compared
        if getattr(ours, name) != getattr(theirs, name)
    ]
    if differing:
        options = "--base, --max-chunks and --stride" if reading else "--base"
        raise PoolError(
            f"base model {ours.model!r} is not the one pool {pool.folder} was built with"
            f" ({'; '.join(differing)})",
            expected=f"{theirs.model!r} as the pool's manifest describes it",
            hint=f"leave out {options}; a changed base is a new base, for which esm pool rebase"
            " fits the maps anew, in another pool",
        )
