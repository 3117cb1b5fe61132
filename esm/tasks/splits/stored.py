"""Divisions of data that come without one: drawn once, stored beside them, read again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from esm.common.caches import SPLIT_ENDING, cache_folder
from esm.common.errors import StorageError, TaskError
from esm.common.records import Record
from esm.common.storage import content_hash, read_json, write_json
from esm.tasks.splits.draw import Membership, Rows, deal_rows

_LOGGER = logging.getLogger(__name__)


class SplitDraw(Record):
    """What a division is drawn by; two that differ in anything are stored side by side.

    Attributes:
        columns: The text columns, whose texts tell the rows apart.
        group: Column whose equal values stay together; None where only equal texts do.
        files: The given splits whose rows were put together before the draw.
        test_share: Share of the test rows, for a hold-out of two parts: training and test.
        folds: Number of folds, for as many parts of one size.
        repeat: Which of several draws of folds.
        seed: Seed of the draw.
    """

    columns: tuple[str, ...]
    group: str | None = None
    files: tuple[str, ...] = ("train",)
    test_share: float | None = None
    folds: int | None = None
    repeat: int = 0
    seed: int = 0

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each part."""
        if self.folds is not None:
            return (1.0 / self.folds,) * self.folds
        share = self.test_share or 0.0
        return (1.0 - share, share)


class _StoredDivision(Record):
    drawing: SplitDraw
    parts: tuple[tuple[str, ...], ...]

    def holds(self, keys: Sequence[str]) -> bool:
        """Whether every part that is tested on still has a row."""
        tested = self.parts if self.drawing.folds is not None else self.parts[1:]
        return all(set(part) & set(keys) for part in tested)


class _SplitFile(Record):
    """Divisions of one file; hashes of texts, never texts."""

    version: Literal[2] = 2
    divisions: tuple[_StoredDivision, ...] = ()

    def of(self, drawing: SplitDraw) -> _StoredDivision | None:
        return next((found for found in self.divisions if found.drawing == drawing), None)


@dataclass(frozen=True)
class Division:
    """A division of a file's rows, as it was found or drawn.

    Attributes:
        part: (n,) part of each row: 0 training and 1 test, or the number of its fold.
        new: How many rows have texts that were not there when it was drawn.
        path: Where it is stored.
    """

    part: Rows
    new: int
    path: Path


def split_places(file: Path | None, name: str) -> tuple[Path, ...]:
    """Return where a division may be stored: beside the file, and in the user's cache folder.

    Args:
        file: The data file; None for data that are no local file.
        name: Id of the task, which names the file in the cache.
    """
    if file is None:
        return (cache_folder() / "splits" / f"{name}{SPLIT_ENDING}",)
    where = content_hash(str(file.resolve()))[:16]
    return (
        file.with_name(f"{file.name}{SPLIT_ENDING}"),
        cache_folder() / "splits" / f"{name}-{where}{SPLIT_ENDING}",
    )


def stored_division(
    places: tuple[Path, ...],
    keys: Sequence[str],
    joined: Sequence[str],
    membership: Membership,
    drawing: SplitDraw,
) -> Division:
    """Return the division that is stored, or draw and store it.

    A row keeps its part as long as its text stays the same, whatever rows come, go or change
    places. Rows of one text or group stay together: a new one goes where they are, and where new
    rows join what was apart, all go to the last of these parts, which in a hold-out is the test.
    Other new rows are training rows of a hold-out, and fall into folds by the hash of their text.

    Args:
        places: Files to look in and to write to, the first that can be written.
        keys: n keys of the texts, see :func:`~esm.tasks.identity.row_keys`.
        joined: n keys of what stays together, see :func:`~esm.tasks.splits.draw.joined_keys`.
        membership: (n, s), see :func:`~esm.tasks.splits.draw.strata`.
        drawing: How to draw.

    Raises:
        TaskError: A stored division is damaged; drawing another might turn test rows into
            training rows.
        StorageError: None of the places can be written.
    """
    for place in places:
        found = _load(place).of(drawing)
        if found is not None and found.holds(keys):
            return _restore(found, keys, joined, place)
        if found is not None:
            _LOGGER.warning(
                f"none of the test rows in {place} is in the data any more: splitting anew"
            )
    seed = [drawing.seed, drawing.repeat] if drawing.repeat else drawing.seed
    part = deal_rows(joined, membership, drawing.shares, seed)
    made = _StoredDivision(
        drawing=drawing,
        parts=tuple(
            tuple(sorted({key for key, own in zip(keys, part, strict=True) if own == number}))
            for number in range(len(drawing.shares))
        ),
    )
    return Division(part=part, new=0, path=_store(places, made))


def _restore(
    stored: _StoredDivision, keys: Sequence[str], joined: Sequence[str], path: Path
) -> Division:
    known = {key: number for number, part in enumerate(stored.parts) for key in part}
    part_of: dict[str, int] = {}
    for key, together in zip(keys, joined, strict=True):
        if key in known:
            part_of[together] = max(known[key], part_of.get(together, 0))
    folds = stored.drawing.folds
    first = {
        together: key for key, together in sorted(zip(keys, joined, strict=True), reverse=True)
    }
    for together, key in first.items():
        if together not in part_of:
            part_of[together] = 0 if folds is None else int(key[:8], 16) % folds
    return Division(
        part=np.array([part_of[together] for together in joined], dtype=np.int64),
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
            f"the stored split {path} is damaged, or of another version",
            expected="the file as this tool wrote it",
            hint="restore it, or delete it to split anew: rows may then change sides",
        ) from error


def _store(places: tuple[Path, ...], made: _StoredDivision) -> Path:
    for place in places[:-1]:
        try:
            return _write(place, made)
        except StorageError:
            _LOGGER.warning(f"{place.parent} cannot be written: the split goes to {places[-1]}")
    return _write(places[-1], made)


def _write(path: Path, made: _StoredDivision) -> Path:
    others = [found for found in _load(path).divisions if found.drawing != made.drawing]
    content = _SplitFile(divisions=(*others, made)).model_dump(mode="json")
    write_json(path, content, private=True)
    return path
