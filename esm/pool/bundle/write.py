"""Write a bundle source after source; memory holds no more than a file of each kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esm.common.errors import PoolError
from esm.common.storage import save_tensors, write_json
from esm.maps.forms import DenseMap, EmbeddingSpaceMap, MapForm
from esm.pool.bundle.layout import (
    BUNDLE_NAME,
    INDEX_NAME,
    RECORDS_NAME,
    BundleManifest,
    FilePlace,
    Line,
    MapPlace,
    MapShard,
    checksum,
    map_checksum,
    map_rows,
)

# Bytes of a file of maps, and of a file of files.
_SHARD_BYTES = 1 << 27


class _Kind(NamedTuple):
    """What maps of one file have in common."""

    form: MapForm
    rank: int | None
    width: int
    lift_width: int
    dtype: str


class _Waiting:
    """Maps of one kind that are not written yet, and the number of the file they will be in."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows: list[dict[str, npt.NDArray[Any]]] = []
        self.bytes = 0


class BundleWriter:
    """Fills a folder with a bundle.

    Sources have to come in the order of their ids.

    Args:
        folder: An empty folder.
        private: Whether the sources' other files are readable by their owner only: what is known
            of the sources' texts is among them.
    """

    def __init__(self, folder: Path, *, private: bool = True) -> None:
        self._folder = folder
        self._private = private
        self._last = ""
        self._offsets = [0]
        self._shards: dict[int, MapShard] = {}
        self._waiting: dict[_Kind, _Waiting] = {}
        self._num_shards = 0
        self._files: list[str] = []
        self._bytes = bytearray()
        self._stream = (folder / RECORDS_NAME).open("wb")

    def add(
        self,
        source: str,
        record: Mapping[str, Any],
        maps: Mapping[MapForm, EmbeddingSpaceMap],
        files: Mapping[str, bytes],
    ) -> None:
        """Add a source: its record, its maps in the precision to be stored, its other files.

        Raises:
            PoolError: Its id does not come after the one before.
            StorageError: The folder cannot be written.
        """
        if self._offsets[-1] and source <= self._last:
            raise PoolError(f"source {source!r} after {self._last!r}", expected="the order of ids")
        self._last = source
        line = Line(
            id=source,
            record=dict(record),
            maps={form: self._add_map(form, one) for form, one in sorted(maps.items())},
            files={name: self._add_file(files[name]) for name in sorted(files)},
        )
        content = json.dumps(line.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n"
        self._stream.write(content)
        self._offsets.append(self._offsets[-1] + len(content))

    def close(self, left_out: tuple[str, ...] = ()) -> BundleManifest:
        """Write what is waiting, the index and, last, the manifest.

        Raises:
            StorageError: The folder cannot be written.
        """
        for kind in list(self._waiting):
            self._write_maps(kind)
        self._write_files()
        self._stream.close()
        offsets = np.array(self._offsets, dtype=np.int64)
        save_tensors(self._folder / INDEX_NAME, {"offsets": offsets})
        manifest = BundleManifest(
            count=len(self._offsets) - 1,
            maps=tuple(self._shards[number] for number in range(self._num_shards)),
            files=tuple(self._files),
            left_out=left_out,
        )
        write_json(self._folder / BUNDLE_NAME, manifest.model_dump(mode="json"))
        return manifest

    def abandon(self) -> None:
        """Let go of the open file."""
        self._stream.close()

    def _add_map(self, form: MapForm, one: EmbeddingSpaceMap) -> MapPlace:
        rank = None if isinstance(one, DenseMap) else one.rank
        kind = _Kind(form, rank, one.width, one.lift_width, str(one.bias.dtype))
        if kind not in self._waiting:
            self._waiting[kind] = _Waiting(self._num_shards)
            self._num_shards += 1
        waiting = self._waiting[kind]
        rows = map_rows(one)
        place = MapPlace(shard=waiting.number, row=len(waiting.rows), checksum=map_checksum(rows))
        waiting.rows.append(rows | {"entry": np.array(len(self._offsets) - 1, dtype=np.int64)})
        waiting.bytes += sum(array.nbytes for array in rows.values())
        if waiting.bytes >= _SHARD_BYTES:
            self._write_maps(kind)
        return place

    def _write_maps(self, kind: _Kind) -> None:
        waiting = self._waiting.pop(kind)
        file = f"maps-{waiting.number:05}.safetensors"
        tensors = {
            name: np.stack([rows[name] for rows in waiting.rows]) for name in waiting.rows[0]
        }
        save_tensors(self._folder / file, tensors)
        self._shards[waiting.number] = MapShard.model_validate(
            {**kind._asdict(), "file": file, "count": len(waiting.rows)}
        )

    def _add_file(self, content: bytes) -> FilePlace:
        begin = len(self._bytes)
        self._bytes += content
        place = FilePlace(
            shard=len(self._files),
            begin=begin,
            end=len(self._bytes),
            checksum=checksum(content),
        )
        if len(self._bytes) >= _SHARD_BYTES:
            self._write_files()
        return place

    def _write_files(self) -> None:
        if not self._bytes:
            return
        name = f"files-{len(self._files):05}.safetensors"
        content = np.frombuffer(bytes(self._bytes), dtype=np.uint8)
        save_tensors(self._folder / name, {"bytes": content}, private=self._private)
        self._files.append(name)
        self._bytes = bytearray()
