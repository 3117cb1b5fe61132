"""The encoders that trials start from: the base model, plain or tuned on a source task."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import EsmError, ValidationError
from esm.common.storage import atomic_folder, content_hash, make_private
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import Pool, PoolEntry
from esm.tasks.task import Task
from esm.trials.ledger import RunKey

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder

_LOGGER = logging.getLogger(__name__)

MODELS_NAME = "models"


def model_folder(models: Path, key: RunKey) -> Path:
    """Return where the tuned encoder that a run starts from is kept between runs."""
    return models / content_hash(key.base, key.source_hash, key.source_seed)[:24]


def pool_model(entry: PoolEntry, source_seed: int | None) -> Path | None:
    """Return the pool's tuned encoder if it was kept and was trained with this seed."""
    return entry.model_folder if source_seed == entry.record.fine_tune.seed else None


def source_hash(entry: PoolEntry) -> str:
    """Return a hash of a source's rows and of its fine-tuning, all but the seed."""
    settings = entry.record.fine_tune.model_dump(mode="json", exclude={"seed"})
    return content_hash(entry.record.task_hash or entry.record.config_hash, settings)


def tuned_key(key: RunKey, entry: PoolEntry) -> RunKey:
    """Return the key of a run like this one that starts from a source as the pool tuned it."""
    changes = {
        "source": entry.id,
        "source_hash": source_hash(entry),
        "source_seed": entry.record.fine_tune.seed,
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

    def _tuned(self, key: RunKey, folder: Path) -> Encoder:
        from esm.encoder.encoder import Encoder

        entry = self.entry(key.source)
        kept = pool_model(entry, key.source_seed) or folder
        if kept.is_dir():
            config = self.base.config.model_copy(update={"model": str(kept), "revision": None})
            # As it was when it had been made: the base model's name tells of its other parts.
            return self.base.with_model(Encoder.load(config, str(self.base.device)).model)
        tuned = self._fine_tune(entry, key)
        with atomic_folder(folder) as unfinished:
            tuned.save(unfinished)
            make_private(unfinished)  # the source may be another attribute of the target
        return tuned

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
