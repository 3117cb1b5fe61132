"""Pack a pool into a bundle: a few memory-mapped files instead of a folder per source."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esm.common.errors import EsmError, PoolError
from esm.common.runtime import progress
from esm.common.storage import atomic_folder
from esm.maps.compressed import compress
from esm.maps.delta.delta import DELTA_NAME
from esm.maps.forms import DenseMap, EmbeddingSpaceMap, MapForm
from esm.pool.bundle.index import index_bundle
from esm.pool.bundle.read import Bundle
from esm.pool.bundle.write import BundleWriter
from esm.pool.fingerprints import FINGERPRINT_NAME, KEY_NAME
from esm.pool.pool import Pool, PoolEntry, Skipped
from esm.pool.vectors import VECTORS_NAME

# What derives from single texts and words of the sources: left out of a bundle to be shared.
TEXT_FILES = frozenset({FINGERPRINT_NAME, VECTORS_NAME, KEY_NAME})

_RECORD_NAME = "source.json"


@dataclass(frozen=True)
class PackReport:
    """What was packed.

    Attributes:
        pool: The pool.
        folder: The bundle.
        sources: Number of sources packed.
        maps: Number of their maps.
        bytes_before: Bytes of the pool's files that were packed.
        bytes_after: Bytes of the bundle.
        losses: What compression lost of each dense map, by source: the share of its squared
            distance from the nearest scaled identity that the directions kept do not explain.
        left_out: Files and folders left out, by name, with their number.
        skipped: Damaged sources, left out.
        seconds: Wall-clock seconds.
    """

    pool: str
    folder: str
    sources: int
    maps: int
    bytes_before: int
    bytes_after: int
    losses: dict[str, float]
    left_out: dict[str, int]
    skipped: tuple[Skipped, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"skipped": [vars(skip) for skip in self.skipped]}


@dataclass
class _Tally:
    """What was packed and left out so far."""

    sources: int = 0
    maps: int = 0
    bytes: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, name: str) -> None:
        self.left_out[name] = self.left_out.get(name, 0) + 1


def pack_pool(
    pool: Pool,
    out: Path,
    *,
    dtype: str | None = None,
    rank: int | None = None,
    share: bool = False,
    index: bool = False,
    strict: bool = False,
) -> PackReport:
    """Write a pool as one bundle; the pool stays as it is.

    Every map is read and checked against the pool on the way. Tuned encoders are not packed.

    Args:
        pool: A pool that is a folder per source.
        out: The bundle's folder; it must not exist.
        dtype: Number format of the maps, ``float16`` or ``float32``; None keeps each map's.
        rank: Compress dense maps to this rank (:func:`esm.maps.compress`); None keeps them.
        share: Leave out what is known of the sources' texts, so that the bundle can be given
            away; leaks can then not be told.
        index: Also write an index of every form of low-rank maps, for shortlists.
        strict: Raise for a damaged source instead of leaving it out.

    Raises:
        PoolError: The pool is packed already or holds no whole source, or ``out`` exists.
        MapError: A number is too large for float16, with ``strict``.
        StorageError: The folder cannot be written.
    """
    started = time.monotonic()
    if pool.bundle is not None:
        raise PoolError(f"{pool.folder} is packed already", expected="a pool by esm train or pull")
    if out.exists():
        raise PoolError(f"{out} exists", expected="a new folder for the bundle", hint="--out DIR")
    entries, skipped = pool.entries(strict=strict)
    tally = _Tally()
    with atomic_folder(out) as folder:
        writer = BundleWriter(folder, private=not share)
        try:
            with progress(f"packing {pool.folder.name}", total=len(entries)) as advance:
                for entry in sorted(entries, key=lambda each: each.id):
                    try:
                        _add(writer, entry, _Changes(dtype, rank, share), tally)
                    except EsmError as error:
                        if strict:
                            raise
                        skipped.append(Skipped(entry.id, str(error)))
                    advance(1)
            if not tally.sources:
                raise PoolError(
                    f"none of the {len(skipped)} sources of {pool.folder} can be packed",
                    expected="at least one whole source",
                    hint=f"esm pool verify {pool.folder}",
                )
            _copy_files(pool.folder, folder, share, tally)
            writer.close(tuple(sorted(tally.left_out)))
            if index:
                index_bundle(Bundle.open(folder))
        finally:
            writer.abandon()
        after = sum(path.stat().st_size for path in folder.iterdir())
    return PackReport(
        pool=str(pool.folder),
        folder=str(out),
        sources=tally.sources,
        maps=tally.maps,
        bytes_before=tally.bytes,
        bytes_after=after,
        losses=tally.losses,
        left_out=tally.left_out,
        skipped=tuple(skipped),
        seconds=round(time.monotonic() - started, 2),
    )


@dataclass(frozen=True)
class _Changes:
    """What is changed on the way; see :func:`pack_pool`."""

    dtype: str | None
    rank: int | None
    share: bool


def _add(writer: BundleWriter, entry: PoolEntry, changes: _Changes, tally: _Tally) -> None:
    """Add one entry whole or, if any part of it is damaged, not at all."""
    losses: dict[str, float] = {}
    maps: dict[MapForm, EmbeddingSpaceMap] = {}
    for form in entry.record.maps:
        one = entry.load_map(form)
        stored = changes.dtype or str(one.bias.dtype)
        if isinstance(one, DenseMap) and changes.rank is not None and changes.rank < one.width:
            found = compress(one, changes.rank)
            one, losses[entry.id] = found.map, found.loss
        maps[form] = one.cast(stored)
    files: dict[str, bytes] = {}
    for path in _files(entry.folder, tally, forms=entry.record.maps):
        if changes.share and path.name in TEXT_FILES:
            tally.leave_out(path.name)
            continue
        _ = entry.load_delta() if path.name == DELTA_NAME else entry.tensors(path.name)  # is whole
        files[path.name] = path.read_bytes()
    record = entry.record.model_dump(mode="json")
    for form, one in maps.items():
        record["maps"][form]["rank"] = one.rank
        record["maps"][form]["bytes"] = sum(array.nbytes for array in one.tensors().values())
    writer.add(entry.id, record, maps, files)
    tally.sources += 1
    tally.maps += len(maps)
    tally.losses.update(losses)
    tally.bytes += sum(len(content) for content in files.values())
    tally.bytes += (entry.folder / _RECORD_NAME).stat().st_size
    for form in maps:
        tally.bytes += sum(path.stat().st_size for path in (entry.folder / form).iterdir())


def _files(folder: Path, tally: _Tally, forms: Iterable[MapForm]) -> list[Path]:
    """Return the other files of an entry, all of them safetensors; count what is not packed."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name == _RECORD_NAME or path.name in set(forms) or path.name[0] == ".":
            continue
        if path.is_file() and path.suffix == ".safetensors":
            found.append(path)
        else:
            tally.leave_out(path.name)
    return found


def _copy_files(pool: Path, folder: Path, share: bool, tally: _Tally) -> None:
    """Copy the files that all sources share, such as the manifest and the lift."""
    for path in sorted(pool.iterdir()):
        if not path.is_file() or path.name[0] == ".":
            continue
        if share and path.name in TEXT_FILES:
            tally.leave_out(path.name)
            continue
        shutil.copy(path, folder / path.name)  # with its mode: some are private
        tally.bytes += path.stat().st_size
