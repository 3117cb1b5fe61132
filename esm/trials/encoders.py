"""The encoders that runs start from: the base model, plain, with a source's delta, or tuned."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import EsmError, ValidationError
from esm.common.storage import (
    atomic_folder,
    content_hash,
    load_tensors,
    make_private,
    save_tensors,
)
from esm.maps.delta.delta import DELTA_NAME, Delta
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import Pool, PoolEntry
from esm.tasks.task import Task
from esm.trials.ledger import RunKey

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder

_LOGGER = logging.getLogger(__name__)

MODELS_NAME = "models"


def model_folder(models: Path, key: RunKey) -> Path:
    """Return where what a run starts from is kept between runs: a tuned encoder, or a delta."""
    delta = [] if key.delta is None else [key.delta]
    return models / content_hash(key.base, key.source_hash, key.source_seed, *delta)[:24]


def source_start(entry: PoolEntry, *, retrain: bool) -> str | None:
    """Return the hash of the delta that runs with a source start from.

    None where they start from its whole tuned encoder: because the pool keeps that, or because it
    is trained again, from the source's data, for want of a delta or since that is asked for.
    """
    if retrain or entry.model_folder is not None or entry.record.delta is None:
        return None
    return entry.record.delta.hash


def start_remarks(key: RunKey, entry: PoolEntry | None) -> tuple[str, ...]:
    """Return what has to be known of what a run started from."""
    if key.delta is None or entry is None or entry.record.delta is None:
        return ()
    fit = entry.record.delta
    return (
        f"started from the base model with the delta of {entry.id} ({fit.bytes / 1e6:.2f} MB, R²"
        f" {fit.r2_anchors:.2f} on anchors), not from its whole tuned encoder (--retrain)",
    )


def load_start(folder: Path, base: Encoder) -> Encoder:
    """Return what a folder keeps for runs to start from; it reads texts as the base model does.

    Args:
        folder: See :func:`model_folder`; or the pool's folder of a tuned encoder.
        base: The base model, to which a delta is added.

    Raises:
        EncoderError: It is damaged.
        MapError: It holds a delta that is damaged, or another base model's.
    """
    from esm.encoder.encoder import Encoder
    from esm.maps.delta.encoder import with_delta

    if (folder / DELTA_NAME).is_file():
        stored = load_tensors(folder / DELTA_NAME)
        where, weights = str(folder / DELTA_NAME), base.identity.weights
        return with_delta(base, Delta.from_tensors(stored, where=where, base=weights))
    config = base.config.model_copy(update={"model": str(folder), "revision": None})
    # As it was when it had been made: the base model's name tells of its other parts.
    return base.with_model(Encoder.load(config, str(base.device)).model)


def pool_model(entry: PoolEntry, source_seed: int | None) -> Path | None:
    """Return the pool's tuned encoder if it was kept and was trained with this seed."""
    return entry.model_folder if source_seed == entry.record.fine_tune.seed else None


def source_hash(entry: PoolEntry) -> str:
    """Return a hash of a source's rows and of its fine-tuning, all but the seed."""
    settings = entry.record.fine_tune.model_dump(mode="json", exclude={"seed"})
    return content_hash(entry.record.task_hash or entry.record.config_hash, settings)


def tuned_key(key: RunKey, entry: PoolEntry, *, retrain: bool = False) -> RunKey:
    """Return the key of a run like this one that starts from a source as the pool tuned it."""
    changes = {
        "source": entry.id,
        "source_hash": source_hash(entry),
        "source_seed": entry.record.fine_tune.seed,
        "delta": source_start(entry, retrain=retrain),
    }
    return key.model_copy(update=changes)


def keep_only(models: Path, keys: Iterable[RunKey]) -> None:
    """Remove the tuned encoders from which none of these runs starts."""
    kept = {model_folder(models, key) for key in keys if key.source != NO_TRANSFER}
    for folder in models.iterdir() if models.is_dir() else ():
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # others stay in it
        models.rmdir()


class TunedModels:
    """Tuned encoders: taken from the pool or a folder, else made once and put there.

    A run whose key names a delta gets the base model with it, and the source's data are not read.

    The one used last stays in memory. A source that failed is not tried again.

    Args:
        pool: Tells how each source was fine-tuned; None where none is used.
        base: The base model.
        models: Folder for the encoders that the pool does not keep.

    Attributes:
        base: The base model.
    """

    def __init__(self, pool: Pool | None, base: Encoder, models: Path) -> None:
        self.base = base
        self._pool = pool
        self._models = models
        self._failed: dict[Path, EsmError] = {}
        self._latest: tuple[Path, Encoder] | None = None

    def encoder(self, key: RunKey) -> Encoder:
        """Return the encoder that a run starts from; it reads the target as the run says.

        The source itself is read as the pool reads its sources.

        Raises:
            EsmError: The source is gone from the pool, its data cannot be read or have changed,
                or its fine-tuning failed.
        """
        if key.source == NO_TRANSFER:
            return self.base.with_chunks(key.max_chunks)
        folder = model_folder(self._models, key)
        if folder in self._failed:
            raise self._failed[folder]
        if self._latest is None or self._latest[0] != folder:
            self._latest = None
            try:
                self._latest = (folder, self._tuned(key, folder))
            except EsmError as error:
                self._failed[folder] = error
                raise
        return self._latest[1].with_chunks(key.max_chunks)

    def licence(self, key: RunKey) -> str | None:
        """Return the licence of a run's source as the pool knows it; None without a source.

        Raises:
            PoolError: The source is gone from the pool.
        """
        if key.source == NO_TRANSFER:
            return None
        return self.entry(key.source).record.metadata.license

    def entry(self, source: str) -> PoolEntry:
        """Return what the pool knows of a source.

        Raises:
            PoolError: It is gone from the pool.
        """
        if self._pool is None:
            raise ValidationError(f"source {source} without a pool", expected="the pool it is in")
        return self._pool.entry(source)

    def remarks(self, key: RunKey) -> tuple[str, ...]:
        """Return what has to be known of what a run starts from."""
        return start_remarks(key, None if key.delta is None else self.entry(key.source))

    def _tuned(self, key: RunKey, folder: Path) -> Encoder:
        entry = self.entry(key.source)
        kept = folder if key.delta is not None else pool_model(entry, key.source_seed) or folder
        if kept.is_dir():
            return load_start(kept, self.base)
        if key.delta is not None:
            return self._with_delta(entry, key, folder)
        tuned = self._fine_tune(entry, key)
        with atomic_folder(folder) as unfinished:
            tuned.save(unfinished)
            make_private(unfinished)  # the source may be another attribute of the target
        return tuned

    def _with_delta(self, entry: PoolEntry, key: RunKey, folder: Path) -> Encoder:
        """Keep the delta beside the run, which then needs no pool any more."""
        delta = entry.load_delta()
        if delta.content_hash != key.delta:
            raise ValidationError(
                f"the delta of {entry.id} has changed since the run was planned",
                expected=f"content hash {str(key.delta)[:12]}",
                hint="run the command again",
            )
        with atomic_folder(folder) as unfinished:
            save_tensors(unfinished / DELTA_NAME, delta.tensors(), private=True)
        return load_start(folder, self.base)

    def _fine_tune(self, entry: PoolEntry, key: RunKey) -> Encoder:
        from esm.training.sources import tune_on_source

        task = source_task(entry)
        _LOGGER.info(f"fine-tuning on {entry.id}, seed {key.source_seed}")
        settings = entry.record.fine_tune.model_copy(update={"seed": key.source_seed})
        return tune_on_source(self.base, task, settings).encoder


def source_task(entry: PoolEntry) -> Task:
    """Read the data that a source was made of.

    Raises:
        ValidationError: Its description does not say where they are, or they have changed.
        EsmError: They cannot be read.
    """
    from esm.tasks.load import load_task

    if entry.record.task is None:
        raise ValidationError(
            f"the description of {entry.id} does not say where its data lie and which columns"
            " were used, so that its model cannot be made again",
            expected="a source with a dataset, text columns and a label column",
            hint="esm pool pull --filter task leaves such maps out",
        )
    task = load_task(entry.record.task)
    if entry.record.task_hash is None:
        _LOGGER.warning(
            f"whether the rows of {entry.id} are those of its publisher cannot be checked"
        )
    elif task.content_hash() != entry.record.task_hash:
        raise ValidationError(
            f"the rows of source {entry.id} have changed since it was put into the pool",
            expected=f"content hash {entry.record.task_hash[:12]}",
            hint="esm train --replace, then esm rank again",
        )
    return task
