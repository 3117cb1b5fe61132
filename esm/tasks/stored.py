"""The split of data that come without one: made once, stored beside them, read again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from esm.errors import StorageError, TaskError
from esm.records import Record
from esm.runtime import note
from esm.storage import content_hash, read_json, write_json
from esm.tasks.split import Membership, Rows, split_rows

TEST_SHARE = 0.2
SPLIT_ENDING = ".split.json"


class _StoredSplit(Record):
    seed: int
    columns: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]

    def is_for(self, seed: int, columns: tuple[str, ...]) -> bool:
        return (self.seed, self.columns) == (seed, columns)


class _SplitFile(Record):
    """Splits of one file, by seed and text columns; hashes of texts, never texts."""

    version: Literal[1] = 1
    splits: tuple[_StoredSplit, ...] = ()


@dataclass(frozen=True)
class StoredSplit:
    """A split of a file's rows, as it was found or made.

    Attributes:
        train: Positions of the training rows, ascending.
        test: Positions of the test rows, ascending.
        new: How many of the training rows have texts that were not there when it was made.
        path: Where it is stored.
    """

    train: Rows
    test: Rows
    new: int
    path: Path


def cache_folder() -> Path:
    """Return the user's cache folder: ``ESM_CACHE``, or the one of the operating system."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("ESM_CACHE") or user_cache_dir("esm-transfer"))


def split_places(file: Path | None, name: str) -> tuple[Path, ...]:
    """Return where a split may be stored: beside the file, and in the user's cache folder.

    Args:
        file: The data file; None for data that are no local file.
        name: Id of the task, which names the split in the cache.
    """
    if file is None:
        return (cache_folder() / "splits" / f"{name}{SPLIT_ENDING}",)
    where = content_hash(str(file.resolve()))[:16]
    return (
        file.with_name(f"{file.name}{SPLIT_ENDING}"),
        cache_folder() / "splits" / f"{name}-{where}{SPLIT_ENDING}",
    )


def stored_split(
    places: tuple[Path, ...],
    keys: Sequence[str],
    membership: Membership,
    *,
    columns: tuple[str, ...],
    seed: int,
) -> StoredSplit:
    """Return the 80/20 split that is stored, or make and store it.

    A row keeps its side as long as its text stays the same, whatever rows come, go or change
    places; rows with new texts are training rows.

    Args:
        places: Files to look in and to write to, the first that can be written.
        keys: n keys of the rows, see :func:`row_keys`.
        membership: (n, s), see :func:`strata`.
        columns: The text columns, whose texts the keys are of.
        seed: Seed of the split; each has a split of its own.

    Raises:
        TaskError: A stored split is damaged; making another might turn test rows into training.
        StorageError: None of the places can be written.
    """
    for place in places:
        found = [split for split in _load(place).splits if split.is_for(seed, columns)]
        if found and set(found[0].test) & set(keys):
            return _restore(found[0], keys, place)
        if found:
            note(f"none of the test rows in {place} is in the data any more: splitting anew")
    train, test = split_rows(keys, membership, TEST_SHARE, seed)
    made = _StoredSplit(
        seed=seed,
        columns=columns,
        train=tuple(sorted({keys[row] for row in train})),
        test=tuple(sorted({keys[row] for row in test})),
    )
    return StoredSplit(train=train, test=test, new=0, path=_store(places, made))


def _restore(split: _StoredSplit, keys: Sequence[str], path: Path) -> StoredSplit:
    in_test = np.isin(np.asarray(keys), np.asarray(split.test))
    known = {*split.train, *split.test}
    return StoredSplit(
        train=np.flatnonzero(~in_test),
        test=np.flatnonzero(in_test),
        new=sum(key not in known for key in keys),
        path=path,
    )


def _load(path: Path) -> _SplitFile:
    if not path.is_file():
        return _SplitFile()
    try:
        return _SplitFile.model_validate(read_json(path))
    except (StorageError, pydantic.ValidationError) as error:
        raise TaskError(
            f"the stored split {path} is damaged",
            expected="the file as this tool wrote it",
            hint="restore it, or delete it to split anew: rows may then change sides",
        ) from error


def _store(places: tuple[Path, ...], made: _StoredSplit) -> Path:
    for place in places[:-1]:
        try:
            return _write(place, made)
        except StorageError:
            note(f"{place.parent} cannot be written: the split goes to {places[-1]}")
    return _write(places[-1], made)


def _write(path: Path, made: _StoredSplit) -> Path:
    others = [split for split in _load(path).splits if not split.is_for(made.seed, made.columns)]
    content = _SplitFile(splits=(*others, made)).model_dump(mode="json")
    write_json(path, content, private=True)
    return path
