"""What a head labels: a text as a whole, or each of its words.

The two read the same encoder in two ways. Everything above, the head, its loss and the training
loop, does not tell them apart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from esm.common.arrays import Float32
from esm.common.errors import ShapeError
from esm.common.memory import in_batches
from esm.common.runtime import progress, warn_once
from esm.encoder.alignment import NOT_READ, Aligned, align
from esm.encoder.chunks import Tokens
from esm.encoder.encoder import Encoder
from esm.tasks.tagging import NO_WORD
from esm.tasks.task import Problem

_LOGGER = logging.getLogger(__name__)

FIRST = "first_tokens"
"""Name under which a batch says where the words of its texts begin; no input of the model."""

_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Reading:
    """Examples as they are trained on.

    Attributes:
        tokens: The n texts.
        extra: What a batch holds beside them, with a row per text.
    """

    tokens: Sequence[Tokens]
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def labels(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the labels to learn: without the tags of words that are not read."""
        return _read_tags(labels, self.extra[FIRST].numpy()) if FIRST in self.extra else labels


@dataclass(frozen=True)
class States:
    """What a frozen encoder gives for n texts: what heads on it are trained on.

    Attributes:
        states: (m, d): of the texts, or of all words that are read, text by text.
        first: Of words (n, w), :data:`~esm.encoder.alignment.NOT_READ` for those that are not read,
            and behind the last word of each text; None of whole texts.
    """

    states: Float32
    first: npt.NDArray[np.int64] | None = None

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        """(n, w) row of each word among the states; -1 for words that are not read."""
        assert self.first is not None
        read = self.first != NOT_READ
        return np.where(read, np.cumsum(read).reshape(read.shape) - 1, -1)

    def labels(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the labels to learn: without the tags of words that are not read."""
        return labels if self.first is None else _read_tags(labels, self.first)

    def batch(self, features: Tensor, rows: Sequence[int]) -> Tensor:
        """Return what (m, d) features have for some texts, (b, d) or (b, w, d)."""
        if self.first is None:
            return features[list(rows)]
        return features[torch.from_numpy(self._places[list(rows)]).clamp(min=0).to(features.device)]

    def spread(self, outputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return (m, c) outputs text by text, (n, c) or (n, w, c).

        A word that is not read has zeros: by them it gets the first tag, ``O`` where tags mark
        spans.
        """
        if self.first is None:
            return outputs
        by_text = np.zeros((*self.first.shape, outputs.shape[1]), outputs.dtype)
        by_text[self.first != NOT_READ] = outputs
        return by_text


class Unit(Protocol):
    """What a head labels."""

    def read(self, encoder: Encoder, texts: Sequence[str], pairs: Sequence[str] | None) -> Reading:
        """Return texts as they are trained on."""
        ...

    def states(self, encoder: Encoder, batch: dict[str, Tensor]) -> Tensor:
        """Return what the head sits on for a batch, (b, d) or (b, w, d), differentiable."""
        ...

    def outputs(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        head: Callable[[Tensor], Tensor],
        doing: str,
    ) -> Float32:
        """Return a head's outputs for texts, (n, c) or (n, w, c), without gradients.

        Args:
            encoder: The encoder.
            texts: n texts.
            pairs: Their second texts.
            head: From (m, d) states to (m, c) outputs.
            doing: What the progress is called.
        """
        ...


class WholeText(Unit):
    """A head on the pooled embedding of a text, or text pair."""

    @override
    def read(self, encoder: Encoder, texts: Sequence[str], pairs: Sequence[str] | None) -> Reading:
        return Reading(encoder.tokenize(texts, pairs))

    @override
    def states(self, encoder: Encoder, batch: dict[str, Tensor]) -> Tensor:
        return encoder.pooled(batch)

    @override
    def outputs(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        head: Callable[[Tensor], Tensor],
        doing: str,
    ) -> Float32:
        embeddings = encoder.embed(texts, pairs, batch_size=_EVALUATION_BATCH, doing=doing)
        return _applied(head, embeddings.last, encoder)


class EachWord(Unit):
    """A head on the last hidden state of the first token of each word.

    Words that are cut off or not read are counted and named.

    Source:
        Devlin et al. 2019, "BERT", section 5.3, who label a word by its first sub-token.
    """

    @override
    def read(self, encoder: Encoder, texts: Sequence[str], pairs: Sequence[str] | None) -> Reading:
        aligned = _aligned(encoder, texts, pairs)
        _tell_cut(aligned, encoder, "nothing is learnt of them")
        return Reading(aligned.tokens, {FIRST: torch.from_numpy(aligned.first)})

    @override
    def states(self, encoder: Encoder, batch: dict[str, Tensor]) -> Tensor:
        hidden = encoder.hidden(batch)
        first = batch[FIRST].to(hidden.device).clamp(min=0)
        return hidden.gather(1, first[:, :, None].expand(-1, -1, hidden.shape[2]))

    @override
    def outputs(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        head: Callable[[Tensor], Tensor],
        doing: str,
    ) -> Float32:
        words = self.embed(encoder, texts, pairs, doing=doing)
        outputs: Float32 = words.spread(_applied(head, words.states, encoder))
        return outputs

    def embed(
        self,
        encoder: Encoder,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        doing: str = "embedding words",
    ) -> States:
        """Return the states of all words that are read, text by text.

        Args:
            encoder: The encoder.
            texts: n texts.
            pairs: None: words of pairs are refused.
            doing: What the progress is called.
        """
        aligned = _aligned(encoder, texts, pairs)
        _tell_cut(aligned, encoder, "they get the first tag")
        tokens, first = aligned.tokens, aligned.first
        read = first != NOT_READ
        states = np.zeros((int(read.sum()), encoder.width), np.float32)
        ends = np.cumsum(read.sum(axis=1))  # of each text among the words that are read
        order = np.argsort([-len(text) for text in tokens], kind="stable")

        def forward(part: slice) -> None:
            rows = order[part]
            batch = encoder.collate([tokens[row] for row in rows])
            hidden = encoder.hidden(batch).float().cpu().numpy()
            for row, of_text in zip(rows, hidden, strict=True):
                here = first[row][read[row]]
                states[ends[row] - len(here) : ends[row]] = of_text[here]
            advance(len(rows))

        with encoder.inference(), progress(doing, len(tokens)) as advance:
            in_batches(len(tokens), _EVALUATION_BATCH, forward)
        return States(states, first)


def unit_of(problem: Problem) -> Unit:
    """Return what a head of this kind of output labels."""
    return EachWord() if problem is Problem.TAGGING else WholeText()


def _applied(head: Callable[[Tensor], Tensor], states: Float32, encoder: Encoder) -> Float32:
    with torch.inference_mode():
        outputs: Float32 = head(torch.from_numpy(states).to(encoder.device)).cpu().numpy()
    return outputs


def _read_tags(labels: npt.NDArray[Any], first: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return (n, w) tags as wide as the widest of these texts, those of unread words taken out."""
    tags: npt.NDArray[Any] = np.where(first == NOT_READ, NO_WORD, labels[:, : first.shape[1]])
    return tags


def _aligned(encoder: Encoder, texts: Sequence[str], pairs: Sequence[str] | None) -> Aligned:
    if pairs is not None:
        raise ShapeError(
            f"second texts for {len(texts)} texts whose words are to be tagged",
            expected="single texts",
            hint="leave --text-pair out",
        )
    return align(encoder.reader, texts)


def _tell_cut(aligned: Aligned, encoder: Encoder, what: str) -> None:
    if aligned.cut:
        warn_once(  # every epoch's evaluation reads the same texts
            _LOGGER,
            f"{aligned.cut:,} of {aligned.words:,} words stand behind the first"
            f" {encoder.max_length} tokens of their text, or have no token: {what}",
        )
