"""A pool: a folder of source tasks, each with its Embedding Space Maps.

Layout::

    POOL/pool.json              manifest: base model, anchors, lift
    POOL/anchors.json           which rows of which tasks the anchors are (never their texts)
    POOL/lift.safetensors       the PCA that all anchored maps share
    POOL/fingerprint-key.safetensors  secret on which all numbers of texts depend
    POOL/sources/ID/source.json what was trained, on what, how well
    POOL/sources/ID/head.safetensors
    POOL/sources/ID/texts.safetensors  numbers of its texts, to tell leaks
    POOL/sources/ID/vectors.safetensors  mean embedding, Fisher vector, hashed vocabulary
    POOL/sources/ID/FORM/       config.json + model.safetensors of one map
    POOL/sources/ID/delta.safetensors  what tuning changed in the base model's weights
    POOL/sources/ID/model/      the tuned encoder, where it was kept

A pool of maps that were fetched from the Hub has no anchors and no lift, and its entries have no
head, no numbers of texts and no vectors. An entry appears under its name only when it is whole,
so a reader never needs a lock.

A packed pool (:mod:`esm.pool.bundle`) holds the same in a few files and is read through the same
classes; tuned encoders are not packed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.common.errors import EsmError, MapError, PoolError
from esm.common.records import AnyRecord, parse
from esm.common.storage import check_id, load_tensors, read_json
from esm.maps.delta.delta import DELTA_NAME, Delta
from esm.maps.files import load_map
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.pool.bundle.layout import is_bundle
from esm.pool.bundle.read import Bundle, PackedEntry
from esm.pool.fingerprints import (
    FINGERPRINT_NAME,
    Fingerprint,
    FingerprintKey,
    load_key,
    read_fingerprint,
)
from esm.pool.records import POOL_FORMAT as POOL_FORMAT
from esm.pool.records import AnchorRecord as AnchorRecord
from esm.pool.records import DeltaRecord as DeltaRecord
from esm.pool.records import LiftRecord as LiftRecord
from esm.pool.records import MapRecord as MapRecord
from esm.pool.records import PoolManifest as PoolManifest
from esm.pool.records import PublishedRecord as PublishedRecord
from esm.pool.records import SourceRecord as SourceRecord
from esm.pool.vectors import VECTORS_NAME, TaskVectors

if TYPE_CHECKING:
    import numpy as np

    from esm.maps.lift import Lift


HEAD_NAME = "head.safetensors"


@dataclass(frozen=True)
class Skipped:
    """A source that was left out, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class PoolEntry:
    """One source task of a pool.

    Attributes:
        record: What is known of it.
        folder: Where it lies, unless it is packed.
        manifest: The pool's manifest, against which its maps are checked.
        packed: Its place in a packed pool, else None.
    """

    record: SourceRecord
    folder: Path
    manifest: PoolManifest
    packed: PackedEntry | None = None

    @property
    def id(self) -> str:
        """The source task's id."""
        return self.record.id

    def load_map(self, form: MapForm) -> EmbeddingSpaceMap:
        """Read one of the entry's maps and check it against the pool.

        Raises:
            PoolError: The entry has no map of this form.
            MapError: The map is damaged or belongs to another base model or lift.
        """
        if form not in self.record.maps:
            raise PoolError(
                f"source {self.id} has no {form} map",
                expected=f"one of {', '.join(self.record.maps)}",
                hint=f"--map {next(iter(self.record.maps))}"
                if self.record.published
                else f"esm train --map {','.join(sorted({*self.record.maps, form}))} --replace",
            )
        if self.packed is not None:  # what it belongs to was checked when it was packed
            return self.packed.load_map(form)
        anchored = self.manifest.lift if form is MapForm.ANCHORED else None
        lift = None if anchored is None else anchored.hash
        loaded, _ = load_map(self.folder / form, base=self.manifest.base, lift=lift)
        return loaded

    def tensors(self, name: str) -> dict[str, np.ndarray[Any, Any]] | None:
        """Read one of the entry's other files, such as its head; None where there is none.

        Raises:
            MapError: It is damaged.
        """
        if self.packed is not None:
            return self.packed.tensors(name)
        path = self.folder / name
        return load_tensors(path) if path.is_file() else None

    def load_head(self) -> dict[str, np.ndarray[Any, Any]]:
        """Read the source head: weight (c, d) and bias (c,).

        Raises:
            PoolError: The entry has none: its map comes from the Hub.
            MapError: It is damaged.
        """
        head = self.tensors(HEAD_NAME)
        if head is None:
            raise PoolError(f"source {self.id} has no head", expected=f"a file {HEAD_NAME}")
        return head

    def load_delta(self) -> Delta:
        """Read the entry's delta and check it against the pool and the record.

        Raises:
            PoolError: The entry has none.
            MapError: It is damaged, another one, or belongs to another base model.
        """
        stored = self.tensors(DELTA_NAME) if self.record.delta is not None else None
        if stored is None or self.record.delta is None:
            raise PoolError(
                f"source {self.id} has no delta",
                expected=f"a file {DELTA_NAME} and what its record says of it",
                hint="its publisher gives none"
                if self.record.published
                else "esm train with the same tasks adds it where the tuned encoder was kept",
            )
        where = f"{DELTA_NAME} of {self.id}"
        delta = Delta.from_tensors(stored, where=where, base=self.manifest.base.weights)
        if delta.content_hash != self.record.delta.hash:
            raise MapError(
                f"{where} is not the delta that the record describes",
                expected=f"content hash {self.record.delta.hash[:12]}",
                hint="restore the file, or esm train --replace",
            )
        return delta

    def load_vectors(self) -> TaskVectors:
        """Read the vectors that selectors compare.

        Raises:
            PoolError: The entry has none.
            MapError: They are damaged, or another base model's.
        """
        stored = self.tensors(VECTORS_NAME)
        if stored is None:
            raise PoolError(
                f"source {self.id} has no vectors",
                expected=f"a file {VECTORS_NAME}",
                hint="its publisher gives none"
                if self.record.published
                else "esm train with the same tasks and settings adds them without training again",
            )
        where = f"{VECTORS_NAME} of {self.id}"
        return TaskVectors.from_tensors(stored, where=where, width=self.manifest.base.width)

    def load_fingerprint(self, key: FingerprintKey | None) -> Fingerprint | None:
        """Read what is kept of its texts, see :func:`~esm.pool.fingerprints.read_fingerprint`.

        Raises:
            MapError: It is damaged.
        """
        stored = self.tensors(FINGERPRINT_NAME)
        if stored is None:
            return None
        return read_fingerprint(stored, key, where=f"{FINGERPRINT_NAME} of {self.id}")

    @property
    def has_tuned(self) -> bool:
        """Whether it can stand for its tuned encoder: by a delta, or by all of it."""
        return self.record.delta is not None or self.model_folder is not None

    @property
    def tuned_r2(self) -> float | None:
        """R² on anchors of other tasks of what stands for its tuned encoder; None for nothing."""
        if self.model_folder is not None:
            return 1.0
        return None if self.record.delta is None else self.record.delta.r2_anchors

    @property
    def model_folder(self) -> Path | None:
        """Folder of the tuned encoder, or None where it was not kept."""
        folder = self.folder / "model"
        return folder if folder.is_dir() else None


@dataclass(frozen=True)
class Pool:
    """A pool on disk.

    Attributes:
        folder: Where it lies.
        manifest: Base model, anchors and lift.
        bundle: The files it is packed in; None for a pool that is a folder per source.
    """

    folder: Path
    manifest: PoolManifest
    bundle: Bundle | None = None

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a folder holds a pool."""
        return (folder / "pool.json").is_file()

    @classmethod
    def open(cls, folder: Path) -> Pool:
        """Open a pool for reading.

        Raises:
            PoolError: There is none, or its manifest is damaged or of another version.
        """
        path = folder / "pool.json"
        if not path.is_file():
            raise PoolError(
                f"no pool in {folder}", expected="a folder with pool.json", hint="esm train"
            )
        manifest = _read(PoolManifest, path)
        if manifest.format != POOL_FORMAT:
            raise PoolError(
                f"{path} has format {manifest.format}",
                expected=f"format {POOL_FORMAT}",
                hint="another version of esm, or train the pool again",
            )
        return cls(folder, manifest, Bundle.open(folder) if is_bundle(folder) else None)

    def check_writable(self) -> None:
        """Check that entries can be added.

        Raises:
            PoolError: The pool is packed.
        """
        if self.bundle is not None:
            raise PoolError(
                f"{self.folder} is a packed pool, which is only read",
                expected="a pool that is a folder per source",
                hint="add to the pool it was packed from, then esm pool pack again",
            )

    def common(self) -> tuple[AnchorRecord, LiftRecord]:
        """Return what all anchored maps of the pool rest on.

        Raises:
            PoolError: It has none: its maps come from the Hub.
        """
        if self.manifest.anchors is None or self.manifest.lift is None:
            raise PoolError(
                f"pool {self.folder} has no anchors: its maps come from the Hub",
                expected="a pool made by esm train",
                hint="another folder for esm train, --map published for esm rank",
            )
        return self.manifest.anchors, self.manifest.lift

    def lift(self) -> Lift:
        """Read the shared lift and check that it is the manifest's.

        Raises:
            PoolError: It is another one, or the pool has none.
            MapError: It is damaged.
        """
        from esm.maps.lift import Lift

        _, record = self.common()
        lift = Lift.load(self.folder / "lift.safetensors")
        if lift.content_hash() != record.hash:
            raise PoolError(
                f"{self.folder} holds another lift than its manifest names",
                expected=f"hash {record.hash[:12]}",
                hint="restore lift.safetensors, or train the pool again",
            )
        return lift

    def fingerprint_key(self) -> FingerprintKey | None:
        """Read what the numbers of texts depend on, see :func:`~esm.pool.fingerprints.load_key`."""
        return load_key(self.folder, width=self.manifest.base.width)

    def source_folder(self, source: str) -> Path:
        """Return the folder of a source's entry, whether it exists or not."""
        return self.folder / "sources" / check_id(source).replace("/", "@")

    def entry(self, source: str) -> PoolEntry:
        """Read one entry.

        Raises:
            PoolError: There is none, or its record is damaged.
        """
        folder = self.source_folder(source)
        packed = None if self.bundle is None else self.bundle.find(source)
        if packed is None and not folder.is_dir():
            raise PoolError(
                f"no source {source!r} in {self.folder}", hint=f"esm show {self.folder}"
            )
        return self._read_entry(folder) if packed is None else self._unpack_entry(packed)

    def packed_entry(self, number: int) -> PoolEntry:
        """Read one entry of a packed pool by its number; entries are ordered by id.

        Raises:
            PoolError: Its record is damaged, or the pool is not packed.
        """
        if self.bundle is None:
            raise PoolError(f"{self.folder} is not packed", hint="esm pool pack")
        return self._unpack_entry(self.bundle.entry(number))

    def entries(self, *, strict: bool = False) -> tuple[list[PoolEntry], list[Skipped]]:
        """Read all entries, by id.

        Args:
            strict: Raise for a damaged entry instead of leaving it out.

        Returns:
            The entries, and those left out with the reason.
        """
        found: list[PoolEntry] = []
        skipped: list[Skipped] = []
        for name, read in self._readers():
            try:
                found.append(read())
            except EsmError as error:
                if strict:
                    raise
                skipped.append(Skipped(name, str(error)))
        return found, skipped

    def _readers(self) -> Iterator[tuple[str, Callable[[], PoolEntry]]]:
        """Yield a name and a way to read it for every entry, by id."""
        if self.bundle is not None:
            for number in range(len(self.bundle)):
                yield f"source {number + 1}", partial(self.packed_entry, number)
            return
        for folder in sorted(self._folders()):
            yield folder.name.replace("@", "/"), partial(self._read_entry, folder)

    def _folders(self) -> list[Path]:
        sources = self.folder / "sources"
        if not sources.is_dir():
            return []
        return [path for path in sources.iterdir() if path.is_dir() and path.name[0] != "."]

    def _read_entry(self, folder: Path) -> PoolEntry:
        path = folder / "source.json"
        record = _read(SourceRecord, path)
        if self.source_folder(record.id) != folder:
            raise PoolError(
                f"{path} describes source {record.id!r}",
                expected=f"the source its folder names ({folder.name})",
                hint="give the folder its old name back",
            )
        return PoolEntry(record, folder, self.manifest)

    def _unpack_entry(self, packed: PackedEntry) -> PoolEntry:
        source = packed.line.id
        record = _parsed(SourceRecord, packed.line.record, f"{self.folder}, source {source}")
        if record.id != source:
            raise PoolError(f"{self.folder} describes source {record.id!r} as {source!r}")
        return PoolEntry(record, self.source_folder(source), self.manifest, packed)


def _read(kind: type[AnyRecord], path: Path) -> AnyRecord:
    return _parsed(kind, read_json(path), path)


def _parsed(kind: type[AnyRecord], content: object, where: object) -> AnyRecord:
    return parse(
        kind,
        content,
        where=where,
        refusal=PoolError,
        expected=f"the fields of {kind.__name__}, no more and no fewer",
        hint="remove what was added by hand, or train the entry again",
    )
