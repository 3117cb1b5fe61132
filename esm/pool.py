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
    POOL/sources/ID/model/      the tuned encoder, where it was kept

A pool of maps that were fetched from the Hub has no anchors and no lift, and its entries have no
head, no numbers of texts and no vectors. An entry appears under its name only when it is whole,
so a reader never needs a lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.errors import EsmError, PoolError
from esm.fingerprints import Fingerprint, FingerprintKey, load_fingerprint, load_key
from esm.maps import EmbeddingSpaceMap, MapForm, load_map
from esm.maps.peer import PeerConfig
from esm.records import AnyRecord, Record, parse
from esm.settings import BaseIdentity, FineTuneConfig
from esm.storage import check_id, load_tensors, read_json
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Problem, TaskMetadata
from esm.vectors import VECTORS_NAME, TaskVectors

if TYPE_CHECKING:
    import numpy as np

    from esm.anchors import Lift

POOL_FORMAT = 1


class AnchorRecord(Record):
    """What the pool's maps were fitted on.

    Attributes:
        count: Number of anchor texts.
        hash: Hash over all anchor texts.
        corpus: File of a user's own unlabelled corpus, else None.
        per_task: Anchors drawn from each task, where there is no corpus.
        seed: Seed of the draw.
    """

    count: int
    hash: str
    corpus: str | None
    per_task: int
    seed: int


class LiftRecord(Record):
    """Identity of the shared PCA: its hash and its width p."""

    hash: str
    width: int


class PoolManifest(Record):
    """What all entries of a pool have in common.

    Attributes:
        format: Version of the pool's format.
        base: The base model.
        revision: Its Hub revision.
        anchors: What anchored maps were fitted on; None where all maps come from the Hub.
        lift: What anchored maps read; None where all maps come from the Hub.
    """

    format: int
    base: BaseIdentity
    revision: str | None
    anchors: AnchorRecord | None
    lift: LiftRecord | None


class MapRecord(Record):
    """How well a map fits.

    Attributes:
        rank: Rank of the learned part; the full width for a dense map.
        penalty: Ridge penalty chosen on held-out texts; 0 where none was used.
        r2_source: R² on held-out texts of the source task itself; None where it is not known.
        r2_anchors: R² on anchors of other tasks, held out where the fit used anchors; None where
            it is not known.
        bytes: Size of the weights on disk.
    """

    rank: int
    penalty: float
    r2_source: float | None
    r2_anchors: float | None
    bytes: int


class PublishedRecord(Record):
    """Where an entry that was fetched from the Hub comes from.

    Attributes:
        repo: Hub id of the map.
        commit: Commit that was fetched.
        generation: Generation of its ``config.json`` (see :mod:`esm.maps.peer`).
        weights_hash: Hash of its weights file as the Hub states it: SHA-256, of small files git's.
        config: What its ``config.json`` states.
    """

    repo: str
    commit: str
    generation: int
    weights_hash: str
    config: PeerConfig


class SourceRecord(Record):
    """What is known of one source task of a pool.

    Of an entry that was fetched from the Hub, only what its publisher states: no rows were seen.

    Attributes:
        id: The source task's id.
        config_hash: Hash of everything that determines the entry.
        task: How to read the task again; None where its publisher does not say.
        task_hash: Hash of the task's texts and labels; None where no rows were seen.
        problem: Kind of output; None where no rows were seen.
        metric: Primary metric; None where no rows were seen.
        label_names: Names of the classes.
        metadata: Language (as declared, else as detected), domain, licence and so on.
        is_pair: Whether each example is two texts.
        num_train: Training rows that the task has; None where no rows were seen.
        num_used: Training rows that fine-tuning used; None where it is not known.
        fine_tune: Settings of the fine-tuning, with which it can be repeated; the default where
            the publisher states none.
        quality: Performance of the tuned model on held-out rows of the source.
        maps: Fit of each stored map.
        seconds: Seconds of each step (fine_tune, embed, fit).
        num_cut: Training texts that were not read to their end, being longer than the base model
            takes.
        published: Where an entry that was fetched from the Hub comes from, else None.
    """

    id: str
    config_hash: str
    task: TaskSpec | None
    task_hash: str | None
    problem: Problem | None
    metric: Metric | None
    label_names: tuple[str, ...]
    metadata: TaskMetadata
    is_pair: bool
    num_train: int | None
    num_used: int | None
    fine_tune: FineTuneConfig
    quality: dict[str, float]
    maps: dict[MapForm, MapRecord]
    seconds: dict[str, float]
    num_cut: int = 0
    published: PublishedRecord | None = None


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
        folder: Where it lies.
        manifest: The pool's manifest, against which its maps are checked.
    """

    record: SourceRecord
    folder: Path
    manifest: PoolManifest

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
        anchored = self.manifest.lift if form is MapForm.ANCHORED else None
        lift = None if anchored is None else anchored.hash
        loaded, _ = load_map(self.folder / form, base=self.manifest.base, lift=lift)
        return loaded

    def load_head(self) -> dict[str, np.ndarray[Any, Any]]:
        """Read the source head: weight (c, d) and bias (c,).

        Raises:
            PoolError: The entry has none: its map comes from the Hub.
            MapError: It is damaged.
        """
        path = self.folder / "head.safetensors"
        if not path.is_file():
            raise PoolError(f"source {self.id} has no head", expected=f"a file {path.name}")
        return load_tensors(path)

    def load_vectors(self) -> TaskVectors:
        """Read the vectors that selectors compare.

        Raises:
            PoolError: The entry has none.
            MapError: They are damaged, or another base model's.
        """
        path = self.folder / VECTORS_NAME
        if not path.is_file():
            raise PoolError(
                f"source {self.id} has no vectors",
                expected=f"a file {VECTORS_NAME}",
                hint="its publisher gives none"
                if self.record.published
                else "esm train with the same tasks and settings adds them without training again",
            )
        return TaskVectors.load(path, width=self.manifest.base.width)

    def load_fingerprint(self, key: FingerprintKey | None) -> Fingerprint | None:
        """Read what is kept of its texts, see :func:`~esm.fingerprints.load_fingerprint`."""
        return load_fingerprint(self.folder, key)

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
    """

    folder: Path
    manifest: PoolManifest

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
        return cls(folder, manifest)

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
        from esm.anchors import Lift

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
        """Read what the numbers of texts depend on, see :func:`~esm.fingerprints.load_key`."""
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
        if not folder.is_dir():
            raise PoolError(
                f"no source {source!r} in {self.folder}", hint=f"esm show {self.folder}"
            )
        return self._read_entry(folder)

    def entries(self, *, strict: bool = False) -> tuple[list[PoolEntry], list[Skipped]]:
        """Read all entries, by id.

        Args:
            strict: Raise for a damaged entry instead of leaving it out.

        Returns:
            The entries, and those left out with the reason.
        """
        found: list[PoolEntry] = []
        skipped: list[Skipped] = []
        for folder in sorted(self._folders()):
            try:
                found.append(self._read_entry(folder))
            except EsmError as error:
                if strict:
                    raise
                skipped.append(Skipped(folder.name.replace("@", "/"), str(error)))
        return found, skipped

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


def _read(kind: type[AnyRecord], path: Path) -> AnyRecord:
    return parse(
        kind,
        read_json(path),
        where=path,
        refusal=PoolError,
        expected=f"the fields of {kind.__name__}, no more and no fewer",
        hint="remove what was added by hand, or train the entry again",
    )
