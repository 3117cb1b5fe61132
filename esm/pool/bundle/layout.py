"""What the files of a bundle say of each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from esm.common.records import Record
from esm.maps.compressed import CompressedMap
from esm.maps.forms import EmbeddingSpaceMap, LowRankMap, MapForm

BUNDLE_NAME = "bundle.json"
RECORDS_NAME = "records.jsonl"
INDEX_NAME = "index.safetensors"

Arrays = Mapping[str, npt.NDArray[Any]]


class MapShard(Record):
    """Maps of one form, shape and precision, stacked in one file.

    Attributes:
        file: Its name.
        form: Kind of the maps.
        rank: Rank r of low-rank maps, anchored or compressed; None for dense ones.
        width: Embedding width d.
        lift_width: Width p of the lifted features; 0 for maps that do not read them.
        dtype: Number format.
        count: Number m of maps.
    """

    file: str
    form: MapForm
    rank: int | None
    width: int
    lift_width: int
    dtype: Literal["float16", "float32"]
    count: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a file: rows are directions, see LowRankStack.

        ``entry`` holds the numbers of the maps' sources: it tells a reader without the records.
        """
        m, d = self.count, self.width
        if self.rank is None:
            return {"entry": (m,), "weight": (m, d, d), "bias": (m, d)}
        return {
            "entry": (m,),
            "scale": (m,),
            "left": (m, self.rank, d),
            "right": (m, self.rank, self.lift_width or d),
            "bias": (m, d),
        }


class BundleManifest(Record):
    """What a bundle holds.

    Attributes:
        format: Version of the format.
        count: Number of sources.
        maps: Files of maps.
        files: Names of the files that hold the sources' other files.
        left_out: Names of files of the pool and its sources that were left out on purpose.
    """

    format: Literal[1] = 1
    count: int
    maps: tuple[MapShard, ...]
    files: tuple[str, ...]
    left_out: tuple[str, ...] = ()


class MapPlace(Record):
    """Where one map lies: the shard's number, the row in it, and the map's checksum."""

    shard: int
    row: int
    checksum: str


class FilePlace(Record):
    """Where one file of a source lies: number of the file that holds it, first and last byte."""

    shard: int
    begin: int
    end: int
    checksum: str


class Line(Record):
    """One line of the records.

    Attributes:
        id: Id of the source.
        record: What is known of it; the pool parses it.
        maps: Where its maps lie, by form.
        files: Where its other files lie, by name.
    """

    id: str
    record: dict[str, Any]
    maps: dict[MapForm, MapPlace]
    files: dict[str, FilePlace]


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a packed pool."""
    return (folder / BUNDLE_NAME).is_file()


def checksum(content: bytes) -> str:
    """Return 16 hex digits that tell damaged bytes from whole ones; no protection from malice."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def map_rows(one: EmbeddingSpaceMap) -> dict[str, npt.NDArray[Any]]:
    """Return a map's arrays as they lie in a shard."""
    if isinstance(one, LowRankMap | CompressedMap):
        return {
            "scale": np.array(one.scale, dtype=one.bias.dtype),
            "left": np.ascontiguousarray(one.left.T),
            "right": np.ascontiguousarray(one.right.T),
            "bias": one.bias,
        }
    tensors = {name.removeprefix("model."): array for name, array in one.tensors().items()}
    return {"weight": np.ascontiguousarray(tensors["weight"]), "bias": tensors["bias"]}


def map_checksum(rows: Arrays) -> str:
    """Return the checksum of a map's arrays as they lie in a shard."""
    return checksum(b"".join(rows[name].tobytes() for name in sorted(rows)))
