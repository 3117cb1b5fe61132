"""A changed base model is a new base: its pool's maps are made again, in a pool of its own.

A map says what fine-tuning does to the embeddings of one base model. After continued pre-training,
or with other weights, those embeddings are others and so is what fine-tuning does to them: each
source is tuned again from the new base, and its map fitted anew to the same anchors.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import PoolError
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import MapForm
from esm.pool.base_model import base_config
from esm.pool.build import BuildReport, train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool, PoolEntry, Skipped

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache

_LOGGER = logging.getLogger(__name__)

_SAME = {"model"}  # what a base is called does not make it another


def rebase_pool(
    pool: Pool,
    folder: Path,
    encoder: EncoderConfig,
    *,
    cache: EmbeddingCache | None = None,
    device: str = "auto",
    strict: bool = False,
    keep_models: bool = False,
    dtype: str = "float16",
) -> BuildReport:
    """Train the sources of a pool again from another base model, each with its own settings.

    The anchors are drawn as the pool's were, from the same tasks. What is there already with the
    same settings stays, so that the same command goes on where it was stopped.

    Cost: that of training the pool.

    Args:
        pool: The pool; it is not changed.
        folder: The new pool.
        encoder: The new base model; what is not set is as the pool's.
        cache: Cache of embeddings; None for the default one.
        device: Device to compute on.
        strict: Raise for the first source that cannot be made again.
        keep_models: Keep the tuned encoders.
        dtype: Number format of the new maps.

    Raises:
        PoolError: The pool's maps come from the Hub, the base model is the pool's own, the folder
            is the pool's, or a source cannot be made again and ``strict`` is set.
        TaskError: None of the sources can be read again.
    """
    anchors, lift = pool.common()
    if folder.resolve() == pool.folder.resolve():
        raise PoolError(
            f"the new pool would be {folder}, the pool itself",
            expected="another folder: maps of two base models cannot lie in one pool",
            hint="--pool with another folder",
        )
    settings = base_config(pool, encoder.model).model_copy(
        update=encoder.model_dump(exclude_unset=True)
    )
    entries, skipped = pool.entries(strict=strict)
    lost = [entry.id for entry in entries if entry.record.task is None]
    if strict and lost:
        raise PoolError(f"source {lost[0]} {_LOST}", expected="a source that can be read again")
    skipped += [Skipped(source, _LOST) for source in lost]
    _announce(pool, settings, sum(len(entry.record.maps) for entry in entries), device)
    config = TrainConfig(
        encoder=settings,
        anchors_per_task=anchors.per_task,
        anchors_file=anchors.corpus,
        lift_width=lift.width,
        dtype=dtype,
        seed=anchors.seed,
        keep_models=keep_models,
    )
    report = train_pool(
        [entry.record.task for entry in entries if entry.record.task is not None],
        folder,
        config,
        cache=cache,
        device=device,
        strict=strict,
        own={entry.id: _as_before(entry, config) for entry in entries},
    )
    return BuildReport(
        folder=report.folder,
        trained=report.trained,
        completed=report.completed,
        present=report.present,
        skipped=(*skipped, *report.skipped),
        seconds=report.seconds,
    )


_LOST = "cannot be made again: its description does not say where its data lie"


def _announce(pool: Pool, settings: EncoderConfig, maps: int, device: str) -> None:
    """Say that the maps do not hold; refuse a base that is the pool's own."""
    from esm.encoder.encoder import Encoder

    ours = Encoder.load(settings, device).identity
    theirs = pool.manifest.base
    if ours.model_dump(exclude=_SAME) == theirs.model_dump(exclude=_SAME):
        raise PoolError(
            f"base model {ours.model!r} is the one that pool {pool.folder} was built with",
            expected="a changed one",
            hint="its maps hold as they are",
        )
    _LOGGER.info(
        f"base model {ours.model} is not {theirs.model} as it was: the {maps} maps of {pool.folder}"
        " do not hold for it; every source is tuned again from it and its maps are refitted"
    )


def _as_before(entry: PoolEntry, config: TrainConfig) -> TrainConfig:
    """Return the settings with which a source was made, for the new base."""
    forms = tuple(sorted(entry.record.maps))
    anchored = entry.record.maps.get(MapForm.ANCHORED)
    own = {"fine_tune": entry.record.fine_tune, "forms": forms or config.forms}
    return config.model_copy(
        update=own if anchored is None else own | {"rank": max(1, anchored.rank)}
    )
