"""Read a bundle: constant memory, whatever its size."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from esm.common.errors import MapError, PoolError, StorageError
from esm.common.records import parse
from esm.common.storage import read_json, read_tensors
from esm.maps.compressed import CompressedMap
from esm.maps.forms import DenseMap, EmbeddingSpaceMap, LowRankMap, MapForm
from esm.pool.bundle.layout import (
    BUNDLE_NAME,
    INDEX_NAME,
    RECORDS_NAME,
    BundleManifest,
    Line,
    MapShard,
    checksum,
    map_checksum,
)

_HINT = "pack the pool again"


@dataclass(frozen=True, eq=False)
class PackedEntry:
    """One source of a bundle.

    Attributes:
        line: Its line.
        bundle: Where its arrays lie.
    """

    line: Line
    bundle: Bundle

    def load_map(self, form: MapForm) -> EmbeddingSpaceMap:
        """Read one of its maps.

        Raises:
            MapError: It is damaged.
        """
        place = self.line.maps[form]
        rows = self.bundle.shard(place.shard).row(place.row)
        if map_checksum(rows) != place.checksum:
            raise MapError(
                f"the {form} map of {self.line.id} in {self.bundle.folder} is damaged",
                expected=f"checksum {place.checksum}",
                hint=_HINT,
            )
        return _as_map(rows, form)

    def tensors(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """Read one of its other files, a safetensors file; None where it has none of this name.

        Raises:
            MapError: It is damaged.
        """
        place = self.line.files.get(name)
        if place is None:
            return None
        content = self.bundle.content(place.shard, place.begin, place.end)
        if checksum(content) != place.checksum:
            raise MapError(
                f"{name} of {self.line.id} in {self.bundle.folder} is damaged",
                expected=f"checksum {place.checksum}",
                hint=_HINT,
            )
        return read_tensors(content, name)


@dataclass(frozen=True, eq=False)
class Shard:
    """One file of stacked maps, mapped into memory.

    Attributes:
        record: What it holds.
        path: Where it lies.
    """

    record: MapShard
    path: Path

    @cached_property
    def _slices(self) -> dict[str, Any]:
        slices = _open_safetensors(self.path)
        found = {name: tuple(each.get_shape()) for name, each in slices.items()}
        kinds = {each.get_dtype() for name, each in slices.items() if name != "entry"}
        expected = {"float16": {"F16"}, "float32": {"F32"}}[self.record.dtype]
        if found != self.record.shapes or kinds != expected:
            raise MapError(
                f"{self.path} holds {found} of {', '.join(sorted(kinds))}",
                expected=f"{self.record.shapes} of {self.record.dtype}",
                hint=_HINT,
            )
        return slices

    def row(self, number: int) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of one map, as they lie in the file.

        Raises:
            MapError: There is no such row, or the file is damaged.
        """
        if not 0 <= number < self.record.count:
            raise MapError(f"{self.path} has no map {number}", hint=_HINT)
        return {
            name: each[number : number + 1][0]
            for name, each in self._slices.items()
            if name != "entry"
        }


@dataclass(frozen=True, eq=False)
class Bundle:
    """A packed pool on disk.

    Attributes:
        folder: Where it lies.
        manifest: What it holds.
    """

    folder: Path
    manifest: BundleManifest
    _shards: dict[int, Shard] = field(default_factory=dict, repr=False)
    _files: dict[int, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Open a bundle: reads its manifest only.

        Raises:
            PoolError: The manifest is damaged or of another version.
            StorageError: There is none.
        """
        path = folder / BUNDLE_NAME
        manifest = parse(
            BundleManifest,
            read_json(path),
            where=path,
            refusal=PoolError,
            expected="the description of a bundle, as esm pool pack wrote it",
            hint=_HINT,
        )
        return cls(folder, manifest)

    def __len__(self) -> int:
        return self.manifest.count

    def __iter__(self) -> Iterator[PackedEntry]:
        return (self.entry(number) for number in range(len(self)))

    def entry(self, number: int) -> PackedEntry:
        """Return a source by its number; sources are ordered by id.

        Raises:
            PoolError: Its line is damaged.
        """
        where = f"{self.folder / RECORDS_NAME}, line {number + 1}"
        content = self._line(number)
        try:
            line = json.loads(content)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise PoolError(f"{where} is not JSON ({error})", hint=_HINT) from error
        expected = "a line as esm pool pack wrote it"
        return PackedEntry(
            parse(Line, line, where=where, refusal=PoolError, expected=expected, hint=_HINT), self
        )

    def find(self, source: str) -> PackedEntry | None:
        """Return a source by its id, or None: O(log n) lines are read.

        Raises:
            PoolError: A line is damaged.
        """
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            entry = self.entry(middle)
            if entry.line.id == source:
                return entry
            low, high = (middle + 1, high) if entry.line.id < source else (low, middle)
        return None

    def shard(self, number: int) -> Shard:
        """Return one file of maps, opened when it is first asked for."""
        if not 0 <= number < len(self.manifest.maps):
            raise PoolError(f"file of maps {number} in {self.folder}", hint=_HINT)
        if number not in self._shards:
            record = self.manifest.maps[number]
            self._shards[number] = Shard(record, self.folder / record.file)
        return self._shards[number]

    def content(self, number: int, begin: int, end: int) -> bytes:
        """Return bytes of the sources' other files."""
        if not 0 <= number < len(self.manifest.files):
            raise PoolError(f"file of files {number} in {self.folder}", hint=_HINT)
        if number not in self._files:
            self._files[number] = _open_safetensors(self.folder / self.manifest.files[number])
        whole = self._files[number].get("bytes")
        if whole is None or not 0 <= begin <= end <= whole.get_shape()[0]:
            raise MapError(
                f"{self.folder / self.manifest.files[number]} has no bytes {begin} to {end}",
                hint=_HINT,
            )
        return bytes(whole[begin:end].tobytes())

    @cached_property
    def _lines(self) -> mmap.mmap:
        try:
            with (self.folder / RECORDS_NAME).open("rb") as stream:
                return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read {self.folder / RECORDS_NAME}: {error}") from error

    @cached_property
    def _offsets(self) -> Any:
        offsets = _open_safetensors(self.folder / INDEX_NAME).get("offsets")
        if offsets is None or offsets.get_shape() != [len(self) + 1]:
            raise PoolError(
                f"{self.folder / INDEX_NAME} does not index {len(self)} sources", hint=_HINT
            )
        return offsets

    def _line(self, number: int) -> bytes:
        if not 0 <= number < len(self):
            raise PoolError(f"{self.folder} has no source number {number}", hint=_HINT)
        begin, end = (int(offset) for offset in self._offsets[number : number + 2])
        if not 0 <= begin < end <= len(self._lines):
            raise PoolError(
                f"{self.folder / RECORDS_NAME} has no bytes {begin} to {end}", hint=_HINT
            )
        return self._lines[begin:end]


def _as_map(rows: dict[str, npt.NDArray[Any]], form: MapForm) -> EmbeddingSpaceMap:
    if "weight" in rows:
        return DenseMap(rows["weight"], rows["bias"])
    kind = LowRankMap if form is MapForm.ANCHORED else CompressedMap
    return kind(float(rows["scale"]), rows["left"].T, rows["right"].T, rows["bias"])


def _open_safetensors(path: Path) -> dict[str, Any]:
    """Map a safetensors file into memory; return its tensors, to be read in slices.

    Raises:
        StorageError: There is no such file.
        MapError: It is truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise StorageError(f"no file {path}", expected="a safetensors file", hint=_HINT)
    try:
        opened: Any = safe_open(path, framework="numpy")
        return {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MapError(
            f"{path} is truncated or not safetensors ({error})",
            expected="a whole safetensors file",
            hint=_HINT,
        ) from error
