"""What an entry of a pool still lacks, and how it is added without training again.

A pool may be older than a selector, or may have been trained for one form of map only. Vectors
and what is kept of the texts need the data and the base model; a further form of map, and a delta,
need the tuned encoder too, so they can be added only where that was kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

from esm.common.errors import EsmError, MapError, PoolError, StorageError
from esm.common.storage import atomic_folder, write_json
from esm.maps.forms import MapForm
from esm.pool.deltas import budget_of, keeps_encoder, tuned_encoder
from esm.pool.entry import EntryTrainer
from esm.pool.pool import PoolEntry
from esm.tasks.task import Task

_LOGGER = logging.getLogger(__name__)


class State(StrEnum):
    """What is to be done with a task: TRAIN it, COMPLETE its entry, or leave what is PRESENT."""

    TRAIN = "train"
    COMPLETE = "complete"
    PRESENT = "present"


@dataclass(frozen=True)
class Lack:
    """What an entry lacks of what is asked for.

    Attributes:
        forms: Forms of map.
        sidecars: Whether something small is missing that the data and the base model give.
        delta: Whether its delta is to be cut from the tuned encoder, which was kept.
    """

    forms: tuple[MapForm, ...]
    sidecars: bool
    delta: bool

    def __bool__(self) -> bool:
        return bool(self.forms or self.sidecars or self.delta)


def entry_state(trainer: EntryTrainer, task: Task, *, replace: bool) -> State:
    """Return what is to be done for a task.

    An entry that is damaged or has other settings is refused, unless it is to be replaced. One
    without the tuned encoder that is now to be kept is made again.

    Raises:
        PoolError: The entry is refused.
    """
    if not trainer.pool.source_folder(task.id).exists():
        return State.TRAIN
    try:
        entry = trainer.pool.entry(task.id)
        _check_same(trainer, task, entry)
        for form in entry.record.maps:
            entry.load_map(form)
        if trainer.config.keep_models and entry.model_folder is None:
            return State.TRAIN
        missing = missing_parts(trainer, entry)
        if lacks_delta(trainer, entry) and not keeps_encoder(entry) and replace:
            return State.TRAIN
        if missing.forms and not keeps_encoder(entry):
            raise PoolError(
                f"source {task.id} has no {missing.forms[0]} map, and its tuned encoder, to which"
                " one could be fitted, was not kept",
                expected="an entry with its tuned encoder",
            )
        return State.COMPLETE if missing else State.PRESENT
    except (PoolError, MapError, StorageError) as error:
        if replace:
            return State.TRAIN
        hint = "--replace to train it again, or another pool"
        raise PoolError(error.got, expected=error.expected, hint=hint) from error


def _check_same(trainer: EntryTrainer, task: Task, entry: PoolEntry) -> None:
    """Refuse an entry of other rows or settings; maps it has beyond those asked for are none."""
    again = trainer.config.keep_models and entry.model_folder is None
    forms = trainer.config.forms if again else tuple(entry.record.maps)
    if entry.record.config_hash != trainer.config_hash(task, forms):
        raise PoolError(
            f"source {task.id} is in the pool with other settings or other data",
            expected="the same fine-tuning, maps and rows as before",
        )


def missing_parts(trainer: EntryTrainer, entry: PoolEntry) -> Lack:
    """Return what an entry lacks of what is asked for; a damaged sidecar counts as missing."""
    return Lack(
        forms=tuple(form for form in trainer.config.forms if form not in entry.record.maps),
        sidecars=not _has_sidecars(trainer, entry),
        delta=lacks_delta(trainer, entry) and keeps_encoder(entry),
    )


def lacks_delta(trainer: EntryTrainer, entry: PoolEntry) -> bool:
    """Whether an entry has no delta, or not one of the size that was asked for.

    Raises:
        MapError: It is damaged, and the tuned encoder was not kept.
    """
    size, record = trainer.config.delta, entry.record.delta
    if size == "none" or record is None:
        return size != "none"
    try:
        entry.load_delta()
    except EsmError:
        if entry.model_folder is None:
            raise
        return True
    return size != "auto" and record.budget != budget_of(size, trainer.pool.manifest.base)


def _has_sidecars(trainer: EntryTrainer, entry: PoolEntry) -> bool:
    try:
        entry.load_vectors()
        fingerprint = entry.load_fingerprint(trainer.pool.fingerprint_key())
    except EsmError:
        return False
    return fingerprint is not None and fingerprint.salted


def complete(trainer: EntryTrainer, task: Task) -> None:
    """Add what the entry of a task lacks; the record is written last.

    Cost: a forward pass of the base model over at most 1,000 texts for vectors and 512 for
    fingerprints, and 40 µs per text; one of the tuned
    encoder over anchors and own texts for maps. Nothing is trained.

    Raises:
        EncoderError: The tuned encoder is damaged.
        TaskError: The texts of the anchors cannot be read again.
    """
    entry = trainer.pool.entry(task.id)
    missing = missing_parts(trainer, entry)
    if missing.sidecars:
        _LOGGER.info(f"{task.id}: adding vectors and fingerprints of texts, without training again")
        trainer.store_sidecars(entry.folder, task)
    if missing.delta:
        _LOGGER.info(f"{task.id}: cutting a delta from its tuned encoder, without training again")
        tuned = tuned_encoder(entry, trainer.encoder)
        delta = trainer.store_delta(entry.folder, task, tuned)
        _write_record(entry, {"delta": delta})
    if missing.forms:
        _LOGGER.info(
            f"{task.id}: adding the {' and '.join(missing.forms)} map, without training again"
        )
        _add_maps(trainer, task, trainer.pool.entry(task.id), missing.forms)


def _add_maps(
    trainer: EntryTrainer, task: Task, entry: PoolEntry, forms: tuple[MapForm, ...]
) -> None:
    fitted = trainer.fit(task, tuned_encoder(entry, trainer.encoder), forms)
    records = dict(entry.record.maps)
    for form in forms:
        with atomic_folder(entry.folder / form) as folder:
            records[form] = trainer.store_map(folder, form, task, fitted)
    _write_record(
        entry,
        {
            "maps": records,
            "config_hash": trainer.config_hash(task, records),
            "seconds": {
                name: round(seconds + fitted.seconds.get(name, 0.0), 3)
                for name, seconds in entry.record.seconds.items()
            },
        },
    )


def _write_record(entry: PoolEntry, changes: dict[str, object]) -> None:
    record = entry.record.model_copy(update=changes)
    write_json(entry.folder / "source.json", record.model_dump(mode="json"))
