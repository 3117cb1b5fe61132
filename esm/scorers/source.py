"""The source side of a score: one entry of a pool, read as far as a scorer asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import MapError, PoolError
from esm.maps.delta.delta import DELTA_NAME
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.pool.pool import PoolEntry
from esm.pool.vectors import TaskVectors
from esm.scorers.needs import Need
from esm.tasks.task import Problem

Embed = Callable[[PoolEntry], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Head:
    """The linear head of a classification source.

    Attributes:
        weight: (c, d) float64.
        bias: (c,) float64.
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def probabilities(self, embeddings: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return (n, c) class probabilities of (n, d) embeddings."""
        logits = embeddings.astype(np.float64) @ self.weight.T + self.bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        normalised: npt.NDArray[np.float64] = exponentials / exponentials.sum(1, keepdims=True)
        return normalised


@dataclass(frozen=True, eq=False)
class Source:
    """One source of a pool; every part is read when it is first asked for.

    Attributes:
        entry: The pool's entry: record, folder.
        form: Which of its maps is scored.
        embed: Gives (N, d) embeddings of all texts of the target by a source's tuned encoder, or
            by its delta.
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
            PoolError: It has no delta, and the tuned encoder was not kept.
            MapError: The delta is damaged.
            EncoderError: The tuned encoder is damaged.
        """
        return self.embed(self.entry)

    @cached_property
    def head(self) -> Head:
        """Its head.

        Raises:
            PoolError: It has none, or one that gives no class probabilities.
            MapError: It is damaged.
        """
        problem = self.entry.record.problem
        if problem is Problem.CORPUS:
            raise PoolError(
                f"source {self.id} is a corpus without labels, so that it has no head",
                expected="a source of single-label classification",
            )
        if problem is not None and problem is not Problem.CLASSIFICATION:
            raise PoolError(
                f"the head of {self.id}, a {problem} task, gives no class probabilities",
                expected="a source of single-label classification",
            )
        tensors = self.entry.load_head()
        width = self.entry.manifest.base.width
        weight, bias = tensors.get("weight"), tensors.get("bias")
        if weight is None or bias is None or weight.shape != (len(bias), width):
            raise MapError(
                f"the head of {self.id} holds {', '.join(sorted(tensors)) or 'nothing'}",
                expected=f"weight (c, {width}) and bias (c,)",
                hint="esm train --replace",
            )
        return Head(weight.astype(np.float64), bias.astype(np.float64))

    @cached_property
    def vectors(self) -> TaskVectors:
        """Its vectors.

        Raises:
            PoolError: It has none.
            MapError: They are damaged.
        """
        return self.entry.load_vectors()

    @property
    def size(self) -> int:
        """Training rows of the source task; of a published map, those that were used.

        Raises:
            PoolError: They are not known.
        """
        record = self.entry.record
        known = record.num_used if record.num_train is None else record.num_train
        if known is None:
            raise PoolError(
                f"how many training rows {self.id} has is not known",
                expected="an entry that says so",
            )
        return known

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
        for need, name in ((Need.HEAD, "head"), (Need.VECTORS, "vectors"), (Need.SIZE, "size")):
            if need in needs:
                getattr(self, name)
        if Need.TUNED in needs and not self.entry.has_tuned:
            raise PoolError(
                f"source {self.id} keeps neither a delta nor its tuned encoder",
                expected=f"an entry with {DELTA_NAME} or a folder model",
                hint="esm train --replace",
            )
