"""Where the words of a text stand among its tokens: each is read off its first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esm.common.errors import EncoderError
from esm.encoder.chunks import Tokens
from esm.encoder.tokens import TextReader
from esm.tasks.tagging import words_of

NOT_READ = -1
"""Stands for the first token of a word that has none: it is cut off, or there is no word."""


@dataclass(frozen=True)
class Aligned:
    """Texts as an encoder reads them, and where their words are.

    Attributes:
        tokens: The n texts, each in one chunk.
        first: (n, w) position of each word's first token; :data:`NOT_READ` where it has none and
            behind the last word. w is the most words of a text.
        words: How many words there are.
        cut: How many of them the encoder does not read.
    """

    tokens: list[Tokens]
    first: npt.NDArray[np.int64]
    words: int
    cut: int


def align(reader: TextReader, texts: Sequence[str]) -> Aligned:
    """Read texts whose words stand between single spaces, and find their words.

    Words behind the reader's ``max_length`` are cut off, however many chunks it reads of a text,
    and so are words of which the tokenizer makes no token.

    Args:
        reader: How the encoder reads texts.
        texts: n texts.

    Raises:
        EncoderError: The tokenizer does not tell which part of a text a token stands for.
    """
    if not reader.tokenizer.is_fast:
        raise EncoderError(
            f"the tokenizer {type(reader.tokenizer).__name__} does not tell where in a text its"
            " tokens stand",
            expected="a base model with a fast tokenizer, to tag words",
            hint="another --base-model",
        )
    found = [
        (tokens, first_tokens(words_of(text), places))
        for text, (tokens, places) in zip(texts, reader.read_places(texts), strict=True)
    ]
    first = np.full((len(found), max(len(row) for _, row in found)), NOT_READ, dtype=np.int64)
    for row, (_, positions) in enumerate(found):
        first[row, : len(positions)] = positions
    words = sum(len(positions) for _, positions in found)
    return Aligned([tokens for tokens, _ in found], first, words, words - int((first >= 0).sum()))


def first_tokens(words: Sequence[str], places: Sequence[tuple[int, int]]) -> list[int]:
    """Return the position of the first token that holds a part of each word.

    Args:
        words: The words of a text, between single spaces.
        places: Of each token, where what it stands for begins and ends in the text; equal numbers
            for special tokens.

    Returns:
        A position per word, :data:`NOT_READ` for a word that no token holds a part of.

    Example:
        "ab c" as the tokens [CLS] a ##b c [SEP]:

        >>> first_tokens(["ab", "c"], [(0, 0), (0, 1), (1, 2), (3, 4), (0, 0)])
        [1, 3]
    """
    positions = []
    start, token = 0, 0
    for word in words:
        stop = start + len(word)
        # Tokens come in the order of the text: what ends before this word is behind us.
        while token < len(places) and (
            places[token][0] == places[token][1] or places[token][1] <= start
        ):
            token += 1
        holds = token < len(places) and places[token][0] < stop and word != ""
        positions.append(token if holds else NOT_READ)
        start = stop + 1
    return positions
