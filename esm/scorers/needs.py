"""What scorers need, what they read, and the units they answer in."""

from __future__ import annotations

from enum import StrEnum

NATS = "nats per example"
METRIC = "the target's metric, as a fraction"
COSINE = "cosine similarity"


class Need(StrEnum):
    """What a scorer needs of a source.

    MAP: an Embedding Space Map of the form that is ranked. TUNED: its delta, or the whole tuned
    encoder. HEAD:
    a head that gives class probabilities. VECTORS: mean embedding, Fisher vector and vocabulary.
    SIZE: the number of its training rows.
    """

    MAP = "map"
    TUNED = "delta or tuned encoder"
    HEAD = "head"
    VECTORS = "vectors"
    SIZE = "number of rows"


class EmbeddingKind(StrEnum):
    """Which embeddings of the target's texts stand for a source.

    MAPPED: what its map predicts. TUNED: what its tuned encoder gives, kept whole
    or as a delta.
    """

    MAPPED = "mapped"
    TUNED = "tuned"

    @property
    def need(self) -> Need:
        """What a source must have for them."""
        return Need.MAP if self is EmbeddingKind.MAPPED else Need.TUNED
