"""The target's texts: sampled and embedded once for all attributes, folds and sources."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from esm.maps.delta.encoder import count_passed, embed_by_delta
from esm.pool.deltas import tuned_encoder
from esm.pool.fingerprints import FingerprintKey
from esm.pool.pool import PoolEntry
from esm.ranking.leaks.overlap import TargetSketches, sketch_rows
from esm.ranking.result import Balance, RankConfig
from esm.scorers.base import TargetAttribute
from esm.tasks.splits.draw import sample_together
from esm.tasks.tagging import text_level, text_level_rows
from esm.tasks.task import Examples, Metric, Problem, SplitName, Target, Task
from esm.training.class_weights import balance_weights

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache
    from esm.encoder.encoder import Embeddings, Encoder
    from esm.maps.lift import Lift

_LOGGER = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]
Row = tuple[str, str | None]
"""A text and, in a pair task, its second text."""


class TargetTexts:
    """The texts of a target that a ranking uses, as the base model embeds them.

    Cost: one forward pass per distinct text, unless the cache has it, when a scorer first asks
    for embeddings; a further one per source where it reads those of the tuned encoders.

    Args:
        targets: The target; all of its folds, where it is split into folds.
        config: How many texts to draw.
        encoder: The base model.
        cache: Cache of embeddings.
        lift: Reads the pool's lift, where maps read lifted features; else None.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        config: RankConfig,
        encoder: Encoder,
        cache: EmbeddingCache,
        lift: Callable[[], Lift] | None,
    ) -> None:
        self._targets = targets
        self._encoder, self._cache, self._lift = encoder, cache, lift
        place: dict[Row, int] = {}
        drawn = [sample_together(fold, config.max_examples, config.seed) for fold in targets]
        self._folds = [
            {
                name: (rows, np.array([place.setdefault(row, len(place)) for row in _keys(rows)]))
                for name, rows in examples.items()
            }
            for examples in drawn
        ]
        is_pair = next(iter(drawn[0].values())).pairs is not None
        self._near_tests = config.near_tests
        self._texts, self._pairs = _columns(place, is_pair)

    @cached_property
    def _embeddings(self) -> Embeddings:
        found = self._embed(self._encoder, wide=self._lift is not None)
        if found.cut:
            _LOGGER.warning(
                f"{found.cut} of {len(found)} texts are longer than"
                f" {self._encoder.identity.reading}; only their beginning is read"
                " (--max-chunks N reads more)"
            )
        return found

    @property
    def base(self) -> npt.NDArray[np.float32]:
        """(N, d) base embeddings of the distinct texts."""
        return self._embeddings.last

    @cached_property
    def lifted(self) -> npt.NDArray[np.float32] | None:
        """(N, p) lifted features; None where the maps that are ranked do not read them."""
        wide = self._embeddings.wide
        return None if self._lift is None or wide is None else self._lift().transform(wide)

    @property
    def cut(self) -> int:
        """How many texts were not read to their end; 0 where none was embedded."""
        return self._embeddings.cut if "_embeddings" in self.__dict__ else 0

    def attribute(self, name: str, balance: Balance) -> list[TargetAttribute]:
        """Return one attribute, in every fold.

        Maps move the embeddings of whole texts: of a tagging attribute, sources are judged by the
        types of spans that each text holds (:func:`~esm.tasks.tagging.text_level`).

        Args:
            name: The attribute.
            balance: Class balance of the scores.
        """
        return [
            _attribute(target.attributes[name], *fold[name], self, balance)
            for target, fold in zip(self._targets, self._folds, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def parameters(self) -> int:
        """Weights that a token passes: all but the tables of embeddings."""
        return count_passed(self._encoder.model)

    def tokens(self, rows: Rows) -> int:
        """Return how many tokens the texts at these positions have, as they are read."""
        texts, pairs = self._some(rows)
        read = self._encoder.tokenize(texts, pairs)
        return sum(len(chunk["input_ids"]) for text in read for chunk in text.chunks)

    def tuned(self, entry: PoolEntry, rows: Rows | None = None) -> npt.NDArray[np.float32]:
        """Return embeddings (N, d) of all texts by an entry's tuned encoder.

        By the whole encoder where it was kept, else by the base model with the entry's delta. It
        reads the texts as the base model does.

        Args:
            entry: The entry.
            rows: Positions of m texts, for (m, d) embeddings of them alone.

        Raises:
            PoolError: It has neither.
            MapError: The delta is damaged.
            EncoderError: The tuned encoder is damaged.
        """
        texts, pairs = self._some(np.arange(len(self)) if rows is None else rows)
        if entry.model_folder is None:
            return embed_by_delta(
                self._encoder, entry.load_delta(), texts, pairs, cache=self._cache
            ).last
        return self._cache.embed(tuned_encoder(entry, self._encoder), texts, pairs).last

    def _some(self, rows: Rows) -> tuple[list[str], list[str] | None]:
        pairs = self._pairs
        return (
            [self._texts[row] for row in rows],
            None if pairs is None else [pairs[row] for row in rows],
        )

    def sketches(self, key: FingerprintKey) -> TargetSketches:
        """Return sketches of the texts, and of the test texts where they are asked for.

        Cost: test texts are embedded for this alone.

        Args:
            key: The pool's.
        """
        is_pair = self._pairs is not None
        train = sketch_rows(key, self._texts, self._pairs, self.base)
        if not self._near_tests:
            return TargetSketches(is_pair, train)
        rows = {
            row: None
            for target in self._targets
            for task in target.attributes.values()
            if SplitName.TEST in task.splits
            for row in _keys(task.test)
        }
        if not rows:
            return TargetSketches(is_pair, train)
        texts, pairs = _columns(rows, is_pair)
        embedded = self._cache.embed(self._encoder, texts, pairs).last
        return TargetSketches(is_pair, train, sketch_rows(key, texts, pairs, embedded))

    def _embed(self, encoder: Encoder, *, wide: bool) -> Embeddings:
        return self._cache.embed(encoder, self._texts, self._pairs, wide=wide)


def _keys(examples: Examples) -> list[Row]:
    pairs = examples.pairs or (None,) * len(examples)
    return list(zip(examples.texts, pairs, strict=True))


def _columns(rows: Iterable[Row], is_pair: bool) -> tuple[list[str], list[str] | None]:
    """Return the texts of rows and, of pairs, the second texts."""
    listed = list(rows)
    return [text for text, _ in listed], [pair or "" for _, pair in listed] if is_pair else None


def _attribute(
    task: Task, examples: Examples, rows: Rows, texts: TargetTexts, balance: Balance
) -> TargetAttribute:
    balanced = is_balanced(task, balance)
    weights = balance_weights(examples.labels) if balanced else None
    seen = text_level_rows(task, examples)
    return TargetAttribute(text_level(task), seen, rows, texts, weights)


def is_balanced(task: Task, balance: Balance) -> bool:
    """Whether the score of an attribute weighs its classes equally."""
    if task.problem not in (Problem.CLASSIFICATION, Problem.ORDINAL):
        return False
    return balance is Balance.ON or (balance is Balance.AUTO and task.metric is Metric.MACRO_F1)
