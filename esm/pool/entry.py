"""One entry of a pool: fine-tune on a source task, fit its maps, store them together."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from esm.common.errors import TaskError
from esm.common.records import Record
from esm.common.storage import atomic_folder, content_hash, read_json, save_tensors, write_json
from esm.encoder.cache import EmbeddingCache
from esm.encoder.settings import EncoderConfig
from esm.maps.anchors import AnchorRef, Anchors, corpus_anchors, restore_anchors
from esm.maps.files import MapConfig, save_map
from esm.maps.fit.anchored import AnchorBasis
from esm.maps.fit.published import PublishedMethod, fit_published
from esm.maps.fit.ridge import r_squared
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.maps.lift import Lift
from esm.pool.deltas import DeltaSize, parse_size, spread, store_delta
from esm.pool.fingerprints import Fingerprint, FingerprintKey, open_key
from esm.pool.pool import POOL_FORMAT, DeltaRecord, MapRecord, Pool, SourceRecord
from esm.pool.vectors import VECTORS_NAME, TaskVectors
from esm.tasks.languages import with_language
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import held_out, sample
from esm.tasks.tagging import text_level, text_level_rows
from esm.tasks.task import Examples, Task
from esm.training.settings import FineTuneConfig

if TYPE_CHECKING:
    from esm.encoder.encoder import Embeddings, Encoder

_LOGGER = logging.getLogger(__name__)

_HELD_OUT_FOR_R2 = 500
_ROWS_FOR_VECTORS = 1000

Array = npt.NDArray[np.float32]


class TrainConfig(Record):
    """Settings of a pool and its entries.

    Attributes:
        encoder: The base model; None for the pool's own, or the default for a new pool.
        fine_tune: How to fine-tune on each source.
        forms: Maps to fit for each source.
        anchors_per_task: Anchor texts drawn from each task.
        anchors_file: Unlabelled corpus to use as anchors instead.
        lift_width: Width p of the shared PCA of the wide features.
        rank: Rank of the anchored maps; None chooses it on held-out anchors.
        published_method: How the published form is fitted.
        dtype: Number format of maps on disk, ``float16`` or ``float32``.
        seed: Seed of the anchors' draw.
        keep_models: Keep the tuned encoders (safetensors).
        delta: Size of the delta of each source; ``auto`` for 190 bytes per layer and dimension.
    """

    encoder: EncoderConfig | None = None
    fine_tune: FineTuneConfig = Field(default_factory=FineTuneConfig)
    forms: tuple[MapForm, ...] = (MapForm.ANCHORED,)
    anchors_per_task: int = Field(default=200, ge=1)
    anchors_file: str | None = None
    lift_width: int = Field(default=512, ge=1)
    rank: int | None = Field(default=32, ge=1)
    published_method: PublishedMethod = PublishedMethod.CLOSED
    dtype: str = Field(default="float16", pattern="^float(16|32)$")
    seed: int = 0
    keep_models: bool = False
    delta: DeltaSize = "auto"

    @field_validator("delta", mode="before")
    @classmethod
    def _size_in_words(cls, size: object) -> object:
        return parse_size(size) if isinstance(size, str) else size


class EntryTrainer:
    """What all sources of one run share: base model, anchors, their factorised Gram matrix."""

    def __init__(
        self,
        pool: Pool,
        encoder: Encoder,
        cache: EmbeddingCache,
        config: TrainConfig,
        tasks: Sequence[Task],
        anchors: Anchors | None = None,
    ) -> None:
        self.pool = pool
        self.encoder = encoder
        self.cache = cache
        self.config = config
        self._tasks = tasks
        self._anchors = anchors

    @cached_property
    def anchors(self) -> Anchors:
        """The pool's anchor texts, read again where they are not at hand."""
        return self._anchors or restore_pool_anchors(self.pool, self._tasks)

    @cached_property
    def base_anchors(self) -> Embeddings:
        """The anchors as the base model embeds them, with wide features."""
        return self.anchors.embed(self.cache, self.encoder, wide=True)

    @cached_property
    def basis(self) -> AnchorBasis:
        """The anchors' features, factorised once for all sources."""
        wide = self.base_anchors.wide
        assert wide is not None
        return AnchorBasis(self.base_anchors.last, self.lift.transform(wide), self.anchors.groups)

    @cached_property
    def lift(self) -> Lift:
        """The pool's lift."""
        return self.pool.lift()

    @cached_property
    def fingerprint_key(self) -> FingerprintKey:
        """The pool's, on which the numbers of texts depend; made where it has none."""
        return open_key(self.pool.folder, lambda: self.base_anchors.last.mean(axis=0))

    def config_hash(self, task: Task, forms: Iterable[MapForm] | None = None) -> str:
        """Hash everything that determines the entry of a task.

        Args:
            task: The source task.
            forms: Its maps; None for those that are asked for.
        """
        config = self.config
        kinds = sorted(config.forms if forms is None else forms)
        anchors, lift = self.pool.common()
        return content_hash(
            POOL_FORMAT,
            self.pool.manifest.base.content_hash(),
            anchors.hash,
            lift.hash,
            task.content_hash(),
            config.fine_tune.model_dump(mode="json"),
            kinds,
            config.rank,
            config.dtype,
            config.published_method if MapForm.PUBLISHED in kinds else None,
        )

    def train(self, spec: TaskSpec, task: Task) -> None:
        """Fine-tune, fit, store: the entry appears when all of it is there."""
        from esm.training.sources import tune_on_source

        tuned = tune_on_source(self.encoder, task, self.config.fine_tune)
        fitted = self.fit(task, tuned.encoder, self.config.forms)
        with atomic_folder(self.pool.source_folder(task.id)) as folder:
            records = {
                form: self.store_map(folder / form, form, task, fitted) for form in fitted.maps
            }
            if tuned.head:
                save_tensors(folder / "head.safetensors", tuned.head)
            self.store_sidecars(folder, task)
            delta = None
            if self.config.delta != "none":
                delta = self.store_delta(folder, task, tuned.encoder)
            if self.config.keep_models:
                tuned.encoder.save(folder / "model")
            record = SourceRecord(
                id=task.id,
                config_hash=self.config_hash(task),
                task=spec,
                task_hash=task.content_hash(),
                problem=task.problem,
                metric=task.metric,
                label_names=task.label_names,
                metadata=with_language(task.metadata, task.train.texts),
                is_pair=task.is_pair,
                num_train=len(task.train),
                num_used=tuned.examples,
                fine_tune=self.config.fine_tune,
                quality=tuned.quality,
                maps=records,
                seconds={"fine_tune": round(tuned.seconds, 2), **fitted.seconds},
                num_cut=self._count_cut(task),
                delta=delta,
            )
            write_json(folder / "source.json", record.model_dump(mode="json"))

    def store_sidecars(self, folder: Path, task: Task) -> None:
        """Write what is read beside maps: it takes the data and the base model only.

        The vectors that selectors compare, and what is kept of the texts to tell leaks.
        """
        rows = _training_rows(task, self.config.fine_tune)
        rows = sample(rows, task.problem, _ROWS_FOR_VECTORS, self.config.fine_tune.seed)
        base = self.cache.embed(self.encoder, rows.texts, rows.pairs).last
        vectors = TaskVectors.of(text_level(task), text_level_rows(task, rows), base)
        vectors.save(folder / VECTORS_NAME)
        key = self.fingerprint_key
        fingerprint = Fingerprint.of(
            key, task, lambda rows: self.cache.embed(self.encoder, rows.texts, rows.pairs).last
        )
        fingerprint.save(folder, key)

    def fit(self, task: Task, tuned: Encoder, forms: Iterable[MapForm]) -> Fitted:
        """Embed anchors and own texts by a tuned encoder and fit maps of these forms."""
        clock = time.monotonic()
        # Not cached: nobody asks for the embeddings of this tuned encoder again.
        anchors = self.anchors.embed(EmbeddingCache(None), tuned).last
        own = self._own_texts(task, tuned)
        published = MapForm.PUBLISHED in forms
        training = self._training_texts(task, tuned) if published else None
        embedded = time.monotonic()
        fits: dict[MapForm, _Fit] = {}
        if MapForm.ANCHORED in forms:
            fit = self.basis.fit(anchors, source=task.id, rank=self.config.rank)
            fits[MapForm.ANCHORED] = _Fit(fit.map, fit.penalty, fit.r2_anchors)
        if training is not None:
            fits[MapForm.PUBLISHED] = self._fit_published(task, anchors, training)
        seconds = {
            "embed": round(embedded - clock, 2),
            "fit": round(time.monotonic() - embedded, 3),
        }
        return Fitted(fits, own, seconds)

    def store_delta(self, folder: Path, task: Task, tuned: Encoder) -> DeltaRecord:
        """Cut and write the delta of a tuned encoder, see :func:`~esm.pool.deltas.store_delta`."""
        anchors, groups = self.anchors, np.asarray(self.anchors.groups)
        others = np.flatnonzero(groups != task.id)
        others = others if len(others) else np.arange(len(groups))
        judged = anchors.take([int(others[place]) for place in spread(len(others))])
        own = self._own_rows(task)
        own = own.take(spread(len(own)))
        nothing_kept = EmbeddingCache(None)
        return store_delta(
            folder,
            self.encoder,
            tuned,
            self.config.delta,
            (
                lambda encoder: judged.embed(nothing_kept, encoder).last,
                lambda encoder: encoder.embed(own.texts, own.pairs).last,
            ),
        )

    def _count_cut(self, task: Task) -> int:
        rows = _training_rows(task, self.config.fine_tune)
        cut = self.encoder.count_cut(rows.texts, rows.pairs)
        if cut:
            _LOGGER.warning(
                f"{task.id}: {cut} of {len(rows)} training texts are longer than"
                f" {self.encoder.identity.reading}; only their beginning was used"
            )
        return cut

    def _own_texts(self, task: Task, tuned: Encoder) -> _Pairs:
        """Embed held-out texts of the source by the base and the tuned model."""
        rows = self._own_rows(task)
        base = self.cache.embed(self.encoder, rows.texts, rows.pairs, wide=True)
        assert base.wide is not None
        own = tuned.embed(rows.texts, rows.pairs)
        return _Pairs(base.last, self.lift.transform(base.wide), own.last)

    def _own_rows(self, task: Task) -> Examples:
        _, rows = held_out(task, self.config.fine_tune.seed)
        return sample(rows, task.problem, _HELD_OUT_FOR_R2, self.config.fine_tune.seed)

    def _training_texts(self, task: Task, tuned: Encoder) -> tuple[Array, Array]:
        """Embed the rows that fine-tuning used by the base and the tuned model."""
        rows = _training_rows(task, self.config.fine_tune)
        base = self.cache.embed(self.encoder, rows.texts, rows.pairs)
        return base.last, tuned.embed(rows.texts, rows.pairs).last

    def _fit_published(self, task: Task, anchors: Array, training: tuple[Array, Array]) -> _Fit:
        """Fit a dense map on the source's own training texts and judge it on others' anchors."""
        base_rows, tuned_rows = training
        fit = fit_published(
            base_rows,
            tuned_rows,
            method=self.config.published_method,
            seed=self.config.fine_tune.seed,
        )
        others = np.asarray(self.anchors.groups) != task.id
        others = others if others.any() else ~others
        base = self.base_anchors.last
        return _Fit(fit.map, fit.penalty, r_squared(anchors[others], fit.map.apply(base[others])))

    def store_map(self, folder: Path, form: MapForm, task: Task, fitted: Fitted) -> MapRecord:
        """Write one of the maps into a folder of its own and describe how well it fits."""
        fit, own = fitted.maps[form], fitted.own
        config = MapConfig.describe(
            fit.map,
            source=task.id,
            base=self.pool.manifest.base,
            lift=self.pool.common()[1].hash if form is MapForm.ANCHORED else None,
            dtype=self.config.dtype,
        )
        save_map(fit.map, folder, config)
        predicted = fit.map.apply(own.base, own.lifted if form is MapForm.ANCHORED else None)
        return MapRecord(
            rank=fit.map.rank,
            penalty=fit.penalty,
            r2_source=r_squared(own.tuned, predicted),
            r2_anchors=fit.r2_anchors,
            bytes=(folder / "model.safetensors").stat().st_size,
        )


@dataclass(frozen=True)
class _Fit:
    """A fitted map, its penalty and its R² on anchors of other tasks."""

    map: EmbeddingSpaceMap
    penalty: float
    r2_anchors: float


@dataclass(frozen=True)
class _Pairs:
    """Embeddings of the same texts: base (n, d), lifted (n, p), tuned (n, d)."""

    base: Array
    lifted: Array
    tuned: Array


@dataclass(frozen=True)
class Fitted:
    """Maps that were fitted to one tuned encoder.

    Attributes:
        maps: The fits, by form.
        own: Held-out texts of the source itself, to judge them by.
        seconds: Seconds of each step (embed, fit).
    """

    maps: Mapping[MapForm, _Fit]
    own: _Pairs
    seconds: Mapping[str, float]


def _training_rows(task: Task, config: FineTuneConfig) -> Examples:
    """The rows that fine-tuning used."""
    rows, _ = held_out(task, config.seed)
    return sample(rows, task.problem, config.max_examples, config.seed)


def restore_pool_anchors(pool: Pool, tasks: Sequence[Task] = ()) -> Anchors:
    """Read the texts of a pool's anchors again from where they came.

    Args:
        pool: The pool, which holds references only.
        tasks: Tasks already in memory, so that they are not read twice.

    Raises:
        TaskError: A task the anchors came from is gone or has changed.
    """
    record, _ = pool.common()
    if record.corpus is not None:
        anchors = corpus_anchors(Path(record.corpus), seed=record.seed)
    else:
        stored = read_json(pool.folder / "anchors.json")
        at_hand = {task.id: task for task in tasks}
        read = [
            at_hand[name] if name in at_hand else load_task(TaskSpec.model_validate(spec))
            for name, spec in stored["tasks"].items()
        ]
        refs = [AnchorRef.model_validate(ref) for ref in stored["anchors"]]
        anchors = restore_anchors(refs, read)
    if anchors.content_hash() != record.hash:
        raise TaskError(
            f"the anchor texts of pool {pool.folder} have changed since it was made",
            expected=f"{record.count} texts with hash {record.hash[:12]}",
            hint="restore the data they came from, or train another pool",
        )
    return anchors
