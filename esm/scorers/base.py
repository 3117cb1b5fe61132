"""What a scorer receives, what it says of itself, and what it returns.

A scorer sees one *target* (an attribute of the user's data in one fold) and one *source* (an entry
of the pool). Either side is read lazily: a scorer that asks for moments costs no embedding of a
tuned encoder, and one that counts rows reads no map. What a scorer needs it declares, so that
sources which lack it can be left out, by name, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from esm.errors import PoolError, ShapeError
from esm.maps import EmbeddingSpaceMap, MapForm
from esm.moments import FeatureMoments, Moments, label_columns
from esm.pool import PoolEntry
from esm.tasks.task import Examples, Task

Array = npt.NDArray[Any]
Embed = Callable[[PoolEntry], npt.NDArray[np.float32]]

_Made = TypeVar("_Made")

NATS = "nats per example"


class Need(StrEnum):
    """What a scorer needs of a source.

    MAP: an Embedding Space Map of the form that is ranked. TUNED: the tuned encoder, kept.
    """

    MAP = "map"
    TUNED = "tuned"


class EmbeddingKind(StrEnum):
    """Which embeddings of the target's texts stand for a source.

    MAPPED: what its map predicts. TUNED: what its tuned encoder gives.
    """

    MAPPED = "mapped"
    TUNED = "tuned"

    @property
    def need(self) -> Need:
        """What a source must have for them."""
        return Need.MAP if self is EmbeddingKind.MAPPED else Need.TUNED


class TextEmbeddings(Protocol):
    """The N texts of a target as the base model embeds them; made when first asked for."""

    @property
    def base(self) -> npt.NDArray[np.float32]:
        """(N, d) base embeddings."""

    @property
    def lifted(self) -> npt.NDArray[np.float32] | None:
        """(N, p) lifted features; None where no map reads them."""


@dataclass(frozen=True, eq=False)
class TargetAttribute:
    """One attribute of the target in one fold: the rows by which sources are scored.

    Attributes:
        task: The attribute; its metric and its kind of labels.
        examples: The n rows that are used, their texts and labels: training rows only.
        rows: (n,) int64, where each of them stands among the N texts that were embedded.
        texts: Embeddings of those N texts.
        weights: (n,) weights of the examples under class balance; None weighs all the same.
    """

    task: Task
    examples: Examples
    rows: npt.NDArray[np.int64]
    texts: TextEmbeddings
    weights: npt.NDArray[np.float64] | None = None
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.rows.shape != (len(self.examples),):
            raise ShapeError(
                f"{len(self.rows)} rows for {len(self.examples)} examples", expected="as many"
            )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Array:
        """Labels of the rows, in the form of :class:`~esm.tasks.task.Examples`."""
        return self.examples.labels

    @property
    def base(self) -> npt.NDArray[np.float32]:
        """(n, d) base embeddings of the rows."""
        return self.texts.base[self.rows]

    @property
    def lifted(self) -> npt.NDArray[np.float32] | None:
        """(n, p) lifted features of the rows; None where no map reads them."""
        lifted = self.texts.lifted
        return None if lifted is None else lifted[self.rows]

    @cached_property
    def columns(self) -> npt.NDArray[np.float64]:
        """(n, K) label columns, see :func:`~esm.moments.label_columns`.

        Raises:
            TaskError: Labels are all the same.
        """
        return label_columns(self.task.problem, self.labels, self.task.num_outputs)

    @cached_property
    def moments(self) -> Moments:
        """Moments of the rows, made when they are first asked for: O(n (d + p)²)."""
        return Moments.of(self.base, self.lifted, self.columns, self.weights)

    def once(self, key: str, make: Callable[[], _Made]) -> _Made:
        """Return what a scorer derives from the target alone, made for the first source only."""
        if key not in self._made:
            self._made[key] = make()
        return cast(_Made, self._made[key])

    def reweighted(self, weights: npt.NDArray[np.float64]) -> TargetAttribute:
        """Return the same rows with other weights (n,); nothing derived is shared."""
        return replace(self, weights=weights, _made={})


@dataclass(frozen=True, eq=False)
class Source:
    """One source of a pool; every part is read when it is first asked for.

    Attributes:
        entry: The pool's entry: record, folder.
        form: Which of its maps is scored.
        embed: Gives (N, d) embeddings of all texts of the target by a source's tuned encoder.
    """

    entry: PoolEntry
    form: MapForm
    embed: Embed

    @property
    def id(self) -> str:
        """The source task's id."""
        return self.entry.id

    @cached_property
    def map(self) -> EmbeddingSpaceMap:
        """Its map.

        Raises:
            PoolError: It has none of this form.
            MapError: It is damaged, or another base model's.
        """
        return self.entry.load_map(self.form)

    @cached_property
    def tuned(self) -> npt.NDArray[np.float32]:
        """(N, d) embeddings of all texts of the target by the tuned encoder.

        Cost: one forward pass of the encoder per text, unless they are cached.

        Raises:
            PoolError: The tuned encoder was not kept.
            EncoderError: It is damaged.
        """
        return self.embed(self.entry)

    def passing(self) -> Source:
        """Return a source to score with and drop, where its map must not stay in memory.

        A pool of 1,500 dense maps would take 3.5 GB, and a packed pool may hold a million maps,
        which are read from memory-mapped files. Maps of low rank in folders are kept.
        """
        large = self.form is MapForm.PUBLISHED or self.entry.packed is not None
        return replace(self) if large else self

    def require(self, needs: frozenset[Need]) -> None:
        """Check that what a scorer needs is there, and what is small also that it is whole.

        Raises:
            EsmError: Something is missing or damaged.
        """
        if Need.MAP in needs:
            _ = self.passing().map
        if Need.TUNED in needs and self.entry.model_folder is None:
            raise PoolError(
                f"source {self.id} does not keep its tuned encoder",
                expected="an entry with a folder model",
                hint="esm train --keep-models",
            )


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that is known about one source and one target attribute.

    Attributes:
        target: The target side.
        source: The source side; None for the base model untouched.
    """

    target: TargetAttribute
    source: Source | None = None

    def features(self, kind: EmbeddingKind = EmbeddingKind.MAPPED) -> FeatureMoments:
        """Return the moments of the target's embeddings after the source.

        Mapped ones follow from the target's moments: O((d + p)² r), no row is touched.
        """
        if self.source is None:
            return self.target.moments.identity()
        if kind is EmbeddingKind.MAPPED:
            return self.target.moments.mapped(self.source.map)
        target = self.target
        rows = self.embeddings(kind)
        return Moments.of(rows, None, target.columns, target.weights).identity()

    def embeddings(self, kind: EmbeddingKind = EmbeddingKind.MAPPED) -> Array:
        """Return (n, d) float32 embeddings of the target's rows after the source."""
        if self.source is None:
            return self.target.base
        if kind is EmbeddingKind.MAPPED:
            return self.source.map.apply(self.target.base, self.target.lifted)
        return self.source.tuned[self.target.rows]


class Scorer(Protocol):
    """Estimates how well a target can be learned after a source; higher is better."""

    @property
    def name(self) -> str:
        """Name under which rankings report the score."""

    @property
    def unit(self) -> str:
        """Unit of the score, in words."""

    @property
    def needs(self) -> frozenset[Need]:
        """What a source must have."""

    @property
    def reads(self) -> EmbeddingKind | None:
        """Which embeddings stand for a source; None where it looks at none."""

    @property
    def weighs_classes(self) -> bool:
        """Whether the score can weigh all classes the same."""

    @property
    def has_base(self) -> bool:
        """Whether the base model untouched has a score too, so that there is a gain over it."""

    def score(self, evidence: Evidence) -> float:
        """Return the score of one source for one target attribute."""


@runtime_checkable
class PoolScorer(Protocol):
    """A scorer that is faster for all sources at once than for one after the other."""

    def score_pool(self, target: TargetAttribute, sources: Sequence[Source]) -> Mapping[str, float]:
        """Return the score of every source by id; the same as ``score`` gives for each.

        A source that cannot be scored is left out, or has a score that is not finite.
        """
