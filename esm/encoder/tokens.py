"""From texts to batches of tokens: cut to what the encoder takes, or read in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from esm.common.errors import EncoderError, ShapeError
from esm.encoder.chunks import Encoding, Frame, Tokens, Windows, windows

SHARES = "shares"
"""Name under which a batch says how its chunks make up its texts; no input of the model."""

_LEAST_ROOM = 8


@dataclass(frozen=True, eq=False)
class TextReader:
    """Reads texts as one encoder takes them.

    Attributes:
        tokenizer: The encoder's tokenizer.
        max_length: Most tokens of one input of the model, special tokens included.
        max_chunks: Most windows in which a longer text is read; 1 keeps its beginning alone.
        stride: Tokens that neighbouring windows share.
        prefix: What stands before every text, of a pair before the first; in every window again.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    max_chunks: int = 1
    stride: int = 32
    prefix: str = ""

    def check_prefix(self) -> None:
        """Refuse a prefix that leaves hardly any room for a text.

        Raises:
            EncoderError: Fewer than 8 tokens of an input are left.
        """
        frame = self._frames[0]
        if self.prefix and self.max_length - frame.size < _LEAST_ROOM:
            raise EncoderError(
                f"the prefix {self.prefix[:40]!r} and special tokens are {frame.size} tokens, an"
                f" input has {self.max_length}",
                expected=f"room for {_LEAST_ROOM} tokens of a text",
                hint="a shorter --prefix, or a larger --max-length",
            )

    def read(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Tokens]:
        """Return the tokens of each text, or text pair.

        A text of at most ``max_length`` tokens is one chunk. Of a longer one, a single chunk keeps
        the beginning (of a pair, the tokenizer shortens the longer text first); several are the
        overlapping windows of :func:`~esm.encoder.chunks.windows`.

        Raises:
            ShapeError: There are not as many second texts as first ones.
        """
        columns = self._columns(texts, pairs)
        if self.max_chunks == 1:
            cut = {"truncation": True, "max_length": self.max_length}
            return [Tokens((encoding,)) for encoding in self._encode(columns, **cut)]
        encodings = self._encode(columns)
        split = self._split(columns, encodings)
        return [
            split[row].of(encoding) if row in split else Tokens((encoding,))
            for row, encoding in enumerate(encodings)
        ]

    def read_places(self, texts: Sequence[str]) -> list[tuple[Tokens, list[tuple[int, int]]]]:
        """Return the beginning of each text, as one chunk, and where in it its tokens stand.

        Of each token, where what it stands for begins and ends in the text; equal numbers for
        special tokens and those of the prefix. Only fast tokenizers tell.
        """
        before = len(_valid(self.prefix))
        [column] = self._columns(texts, None)
        batch = self.tokenizer(
            column,
            verbose=False,
            truncation=True,
            max_length=self.max_length,
            return_offsets_mapping=True,
        )
        return [
            (Tokens((encoding,)), [(max(a - before, 0), max(b - before, 0)) for a, b in places])
            for encoding, places in zip(
                self._rows(batch, len(texts)), batch["offset_mapping"], strict=True
            )
        ]

    def count_cut(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> int:
        """Return how many of the texts, or text pairs, are not read to their end."""
        if not texts:
            return 0
        columns = self._columns(texts, pairs)
        split = self._split(columns, self._encode(columns))
        return sum(text.is_cut for text in split.values())

    def batch(self, texts: Sequence[Tokens], device: torch.device) -> dict[str, Tensor]:
        """Return a batch of texts with all their chunks, padded on the right to the longest one.

        Returns:
            (c, t) int64 tensors by the names that the model takes, c chunks of b texts; and
            ``shares`` (b, c) float32 where a text has several chunks: the weight of each chunk in
            the embedding of each text.
        """
        batch = self.pad([chunk for text in texts for chunk in text.chunks], device)
        if len(batch["input_ids"]) > len(texts):
            batch[SHARES] = _shares(texts).to(device)
        return batch

    def pad(
        self, chunks: Sequence[Mapping[str, Sequence[int]]], device: torch.device
    ) -> dict[str, Tensor]:
        """Return chunks as (c, t) int64 tensors, padded on the right to the longest one."""
        longest = max(len(chunk["input_ids"]) for chunk in chunks)
        batch = {}
        for name in chunks[0]:
            padded = torch.full((len(chunks), longest), self._padding[name])
            for row, chunk in enumerate(chunks):
                tokens = chunk[name]
                padded[row, : len(tokens)] = torch.as_tensor(tokens)
            batch[name] = padded.to(device)
        return batch

    @property
    def overlap(self) -> int:
        """How many tokens neighbouring windows of a single text really share."""
        return min(self.stride, (self.max_length - self._frames[0].size) // 2)

    @property
    def between(self) -> str:
        """What is put before the second text of a pair.

        GPT-2 and its kind put nothing between the two; a line break does.
        """
        extra = self.tokenizer.num_special_tokens_to_add
        return "\n" if extra(pair=True) == extra(pair=False) else ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what the model takes."""
        return tuple(self._padding)

    @cached_property
    def _padding(self) -> dict[str, int]:
        """The inputs that this model takes, each with the value that fills it up."""
        values = {
            "input_ids": self.tokenizer.pad_token_id or 0,
            "attention_mask": 0,
            "token_type_ids": self.tokenizer.pad_token_type_id,
        }
        taken = {"input_ids", "attention_mask", *self.tokenizer.model_input_names}
        return {name: value for name, value in values.items() if name in taken}

    def _encode(self, columns: Sequence[list[str]], **cut: bool | int) -> list[Encoding]:
        """Return the tokens of each row, whole unless it is to be cut."""
        batch = self.tokenizer(*columns, verbose=False, **({"truncation": False} | cut))
        return self._rows(batch, len(columns[0]))

    def _rows(self, batch: Mapping[str, Any], rows: int) -> list[Encoding]:
        """Return what a tokenizer made of each row."""
        encodings = [
            {name: batch[name][row] for name in self.inputs if name in batch} for row in range(rows)
        ]
        return [encoding if encoding["input_ids"] else self._no_tokens() for encoding in encodings]

    def _split(
        self, columns: Sequence[list[str]], encodings: Sequence[Encoding]
    ) -> dict[int, Windows]:
        """Return, by row, how each text that is too long for one chunk is read."""
        counts = [len(encoding["input_ids"]) for encoding in encodings]
        long = [row for row, count in enumerate(counts) if count > self.max_length]
        if not long:
            return {}
        frame = self._frames[len(columns) - 1]
        firsts = [counts[row] - frame.size for row in long]
        if len(columns) == 2:
            texts = [columns[0][row] for row in long]
            prefix = frame.before - self._special[1].before
            firsts = [len(tokens) - prefix for tokens in _content(self.tokenizer, texts)]
        return {
            row: windows(
                first,
                counts[row] - frame.size - first,
                frame,
                max_length=self.max_length,
                stride=self.stride,
                max_chunks=self.max_chunks,
            )
            for row, first in zip(long, firsts, strict=True)
        }

    @cached_property
    def _frames(self) -> tuple[Frame, Frame]:
        """Where the tokens stand that every window repeats: special ones and the prefix."""
        with_prefix, without = _content(self.tokenizer, [f"{_valid(self.prefix)}a", "a"])
        prefix = len(with_prefix) - len(without)
        single, pair = (replace(frame, before=frame.before + prefix) for frame in self._special)
        return single, pair

    @cached_property
    def _special(self) -> tuple[Frame, Frame]:
        """Where the special tokens of a single text and of a pair stand, seen on short ones."""
        return _frame(self.tokenizer, ["a"]), _frame(self.tokenizer, ["a", "b"])

    def _columns(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[list[str]]:
        """Return the tokenizer's arguments: valid Unicode, second texts set apart."""
        firsts = [_valid(self.prefix + text) for text in texts]
        if pairs is None:
            return [firsts]
        if len(pairs) != len(texts):
            raise ShapeError(
                f"{len(texts)} texts and {len(pairs)} second texts", expected="as many of each"
            )
        return [firsts, [self.between + _valid(text) for text in pairs]]

    def _no_tokens(self) -> Encoding:
        """Stand for an empty text, of which some tokenizers leave no token at all."""
        token = self.tokenizer.eos_token_id
        ids = self.tokenizer.pad_token_id or 0 if token is None else token
        values = {"input_ids": ids, "attention_mask": 1, "token_type_ids": 0}
        return {name: [values[name]] for name in self.inputs}


def _valid(text: str) -> str:
    """Replace lone surrogates, which tokenizers refuse, by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _shares(texts: Sequence[Tokens]) -> Tensor:
    shares = torch.zeros(len(texts), sum(len(text.chunks) for text in texts))
    start = 0
    for row, text in enumerate(texts):
        stop = start + len(text.chunks)
        shares[row, start:stop] = torch.tensor(text.weights)
        start = stop
    return shares


def _content(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Return the tokens of texts without special ones."""
    batch = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)
    content: list[list[int]] = batch["input_ids"]
    return content


def _frame(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Frame:
    """Find where a short text, or pair of texts, stands among its special tokens."""
    whole: list[int] = tokenizer(*texts, verbose=False)["input_ids"]
    first, *rest = _content(tokenizer, texts)
    second = rest[0] if rest else []
    special = len(whole) - len(first) - len(second)
    before = _find(first, whole, 0)
    between = _find(second, whole, before + len(first)) - before - len(first) if rest else 0
    return Frame(before, between, special - before - between)


def _find(part: list[int], whole: list[int], start: int) -> int:
    """Return where a run of tokens begins, from ``start`` on."""
    places = range(start, len(whole) - len(part) + 1)
    return next(place for place in places if whole[place : place + len(part)] == part)
