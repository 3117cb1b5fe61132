"""The base model of a pool: load it, and refuse another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esm.errors import PoolError
from esm.pool import Pool
from esm.runtime import note
from esm.settings import EncoderConfig

if TYPE_CHECKING:
    from esm.encoder import Encoder


def load_base(pool: Pool, device: str = "auto", *, model: str | None = None) -> Encoder:
    """Load a pool's base model as the pool's manifest describes it.

    Args:
        pool: The pool.
        device: Device to compute on.
        model: Name or folder to load it from; None for the manifest's.

    Raises:
        EncoderError: It cannot be loaded.
        PoolError: Its weights are not those the pool was built with.
    """
    from esm.encoder import Encoder

    config = base_config(pool)
    if model is not None and model != config.model:
        _check_named(pool, model)
        config = config.model_copy(update={"model": model, "revision": None})
    encoder = Encoder.load(config, device)
    check_base(pool, encoder)
    return encoder


def base_config(pool: Pool) -> EncoderConfig:
    """Return the settings with which a pool's base model is loaded."""
    identity = pool.manifest.base
    return EncoderConfig(
        model=identity.model,
        revision=pool.manifest.revision,
        pooling=identity.pooling,
        max_length=identity.max_length,
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


def check_base(pool: Pool, encoder: Encoder) -> None:
    """Refuse a base model other than the pool's.

    Maps that were made elsewhere only name their base model: its weights cannot be compared, and
    a note says so.

    Raises:
        PoolError: Weights, pooling, length or precision differ.
    """
    ours, theirs = encoder.identity, pool.manifest.base
    compared = ["pooling", "max_length", "precision", "width", "num_layers"]
    if theirs.weights is not None:
        compared.insert(0, "weights")
    else:
        note(
            f"the maps of {pool.folder} only name their base model {theirs.model!r}; that the"
            f" weights of {ours.model!r} are the same cannot be checked"
        )
    differing = [
        f"{name} {str(getattr(ours, name))[:40]!r} instead of {str(getattr(theirs, name))[:40]!r}"
        for name in compared
        if getattr(ours, name) != getattr(theirs, name)
    ]
    if differing:
        raise PoolError(
            f"base model {ours.model!r} is not the one pool {pool.folder} was built with"
            f" ({'; '.join(differing)})",
            expected=f"{theirs.model!r} as the pool's manifest describes it",
            hint="leave out --base, or train another pool",
        )
