"""Which tokens of a long text stand together in which chunk: arithmetic on positions.

A text that is longer than the encoder takes is read in overlapping windows. Each window keeps
the special tokens of its text, so that the model sees in every chunk what it sees in a short text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Encoding = dict[str, list[int]]
"""Token ids, attention mask and, for some models, token types of one input of the model."""


@dataclass(frozen=True)
class Tokens:
    """What is read of one text, or text pair.

    Attributes:
        chunks: One input of the model, or the windows of a long text in their order.
        weights: The share of each chunk in the text's embedding; they add up to 1.
    """

    chunks: tuple[Encoding, ...]
    weights: tuple[float, ...] = (1.0,)

    def __len__(self) -> int:
        """Return the number of tokens of all chunks together."""
        return sum(len(chunk["input_ids"]) for chunk in self.chunks)

    @property
    def longest(self) -> int:
        """The number of tokens of the longest chunk."""
        return max(len(chunk["input_ids"]) for chunk in self.chunks)


@dataclass(frozen=True)
class Frame:
    """How many special tokens stand before the text, between the texts of a pair, and after."""

    before: int
    between: int
    after: int

    @property
    def size(self) -> int:
        """All of them."""
        return self.before + self.between + self.after


@dataclass(frozen=True)
class Windows:
    """How a long text is read.

    Attributes:
        positions: Per chunk, the positions of its tokens in the whole text with its special
            tokens, ascending.
        own: Per chunk, how many tokens of the text that is read in windows it holds.
        is_cut: Whether some token of the text, or of one of a pair's texts, is in no chunk.
    """

    positions: tuple[tuple[int, ...], ...]
    own: tuple[int, ...]
    is_cut: bool

    def of(self, whole: Encoding) -> Tokens:
        """Return the chunks of a text, each weighted by the tokens of its own."""
        return Tokens(
            chunks=tuple(
                {name: [values[position] for position in chunk] for name, values in whole.items()}
                for chunk in self.positions
            ),
            weights=tuple(count / sum(self.own) for count in self.own),
        )


def windows(
    first: int, second: int, frame: Frame, *, max_length: int, stride: int, max_chunks: int
) -> Windows:
    """Split a text, or text pair, into windows of at most ``max_length`` tokens.

    Of a pair, the longer text is read in windows and the shorter one (of equals the first) stands
    whole beside each of them, cut to half of the room where it is longer than that. So a short
    claim is seen with every part of a long article, whichever comes first.

    Args:
        first: Tokens of the first text, without special tokens.
        second: Tokens of the second text; 0 for a single text.
        frame: The special tokens.
        max_length: Most tokens of a window, special tokens included.
        stride: Tokens that a window shares with the next; half a window at most.
        max_chunks: Most windows; what stands behind the last one is left out.

    Example:
        >>> split = windows(6, 0, Frame(1, 0, 1), max_length=6, stride=1, max_chunks=9)
        >>> split.positions, split.own
        (((0, 1, 2, 3, 4, 7), (0, 4, 5, 6, 7)), (4, 3))
    """
    total = first + second + frame.size
    texts = (
        range(frame.before, frame.before + first),
        range(total - frame.after - second, total - frame.after),
    )
    long = 0 if first > second else 1
    room = max_length - frame.size
    whole = texts[1 - long]
    beside = whole[: min(len(whole), room // 2)]
    spans = _spans(len(texts[long]), room - len(beside), stride, max_chunks)
    special = [position for position in range(total) if _is_special(position, texts)]
    return Windows(
        positions=tuple(
            tuple(sorted((*special, *beside, *texts[long][start:stop]))) for start, stop in spans
        ),
        own=tuple(stop - start for start, stop in spans),
        is_cut=len(beside) < len(whole) or spans[-1][1] < len(texts[long]),
    )


def _is_special(position: int, texts: Sequence[range]) -> bool:
    return not any(position in text for text in texts)


def _spans(length: int, width: int, overlap: int, most: int) -> list[tuple[int, int]]:
    """Return where windows start and stop; the last one ends with the text or is the most-th."""
    step = width - min(overlap, width // 2)
    count = min(most, 1 + max(0, -(-(length - width) // step)))
    return [(k * step, min(k * step + width, length)) for k in range(count)]
