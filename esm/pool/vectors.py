"""What selectors compare that need no map: a mean embedding, a Fisher vector, a vocabulary.

All three come from the base model and a task's training rows alone. A pool keeps them beside each
source's maps (8 to 10 kB for short texts, at most 20 kB, at d = 384); a target's are made when it
is ranked:

* **mean**: the mean base embedding of the texts (TextEmb: Vu et al., "Exploring and Predicting
  Transferability across NLP Tasks", EMNLP 2020, section 4.1).
* **fisher**: the diagonal of the empirical Fisher information of the task, with respect to the
  pooled output of the base model's last layer (TaskEmb, ibid., section 4.2). The paper fine-tunes
  the whole encoder and takes the Fisher of all weights or of each component's output; here the
  encoder stays as it is, the head is logistic (or ridge) regression, and of all components the
  last one's output is kept: d numbers, no backward pass, the same on every machine.
* **vocabulary**: 32-bit hashes of the words that at least two of the texts hold, the 4,096 smallest
  where there are more. A word of one text alone, say a name, is not kept.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float32, Float64
from esm.common.errors import MapError
from esm.common.storage import load_tensors, save_tensors
from esm.tasks.task import Examples, Outputs, Problem

VECTORS_NAME = "vectors.safetensors"
MOST_WORDS = 4096

_FEWEST_TEXTS = 2
_WORD = re.compile(r"\w+")
_INVERSE_PENALTY = 0.01

Hashes = npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class TaskVectors:
    """Three summaries of a task's training rows.

    Attributes:
        mean: (d,) float32, mean base embedding.
        fisher: (d,) float32, diagonal of the empirical Fisher information; zeros where all labels
            are the same, and for a corpus, which has none.
        vocabulary: (v,) uint32, ascending hashes of words, v at most 4,096.
    """

    mean: Float32
    fisher: Float32
    vocabulary: Hashes

    def __post_init__(self) -> None:
        arrays = {"mean": self.mean, "fisher": self.fisher}
        fits = self.mean.ndim == 1 and self.mean.shape == self.fisher.shape and self.mean.size > 0
        single = all(array.dtype == np.float32 for array in arrays.values())
        finite = single and all(np.isfinite(array).all() for array in arrays.values())
        words = self.vocabulary
        sorted_words = (
            words.ndim == 1 and words.dtype == np.uint32 and (words[1:] > words[:-1]).all()
        )
        if not (fits and finite and sorted_words):
            found = [f"{name} {array.shape} {array.dtype}" for name, array in arrays.items()]
            raise MapError(
                f"vectors {', '.join(found)}, vocabulary {words.shape} {words.dtype}",
                expected="finite float32 of shape (d,) twice, and ascending uint32 hashes",
                hint="esm train again makes them anew",
            )

    @property
    def width(self) -> int:
        """Embedding width d."""
        return len(self.mean)

    @classmethod
    def of(cls, task: Outputs, examples: Examples, base: npt.NDArray[Any]) -> Self:
        """Sum up a task.

        Args:
            task: Says what the labels are.
            examples: n rows.
            base: (n, d) their base embeddings.
        """
        return cls(
            mean=mean_embedding(base),
            fisher=fisher_diagonal(task.problem, examples.labels, base),
            vocabulary=hashed_words(examples),
        )

    def save(self, path: Path) -> None:
        """Write them, readable by their owner only: they derive from texts."""
        tensors = {"mean": self.mean, "fisher": self.fisher, "vocabulary": self.vocabulary}
        save_tensors(path, tensors, private=True)

    @classmethod
    def load(cls, path: Path, *, width: int) -> Self:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.
            width: Embedding width of the base model.

        Raises:
            StorageError: There is no such file.
            MapError: It is damaged, or another base model's.
        """
        return cls.from_tensors(load_tensors(path), where=path, width=width)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, npt.NDArray[Any]], *, where: object, width: int
    ) -> Self:
        """Check what :meth:`save` wrote, once it is read.

        Args:
            tensors: The arrays by name.
            where: The file, for the message.
            width: Embedding width of the base model.

        Raises:
            MapError: It is damaged, or another base model's.
        """
        if set(tensors) != {"mean", "fisher", "vocabulary"}:
            raise MapError(
                f"{where} holds {', '.join(sorted(tensors)[:5]) or 'nothing'}",
                expected="mean, fisher and vocabulary",
                hint="esm train again makes them anew",
            )
        vectors = cls(tensors["mean"], tensors["fisher"], tensors["vocabulary"])
        if vectors.width != width:
            raise MapError(
                f"{where} holds vectors of width {vectors.width}",
                expected=f"width {width}, the base model's",
                hint="esm train again makes them anew",
            )
        return vectors


def mean_embedding(base: npt.NDArray[Any]) -> Float32:
    """Return the mean (d,) of base embeddings (n, d), summed in float64."""
    mean: Float32 = base.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


# ----------------------------------------------------------------------------------- vocabulary


def hashed_words(examples: Examples) -> Hashes:
    """Return ascending 32-bit hashes of the words that at least two rows hold, at most 4,096.

    Where there are more, the smallest are kept: hashes being uniform, they are a random sample of
    the words, the same sample in every task, so that overlaps can be estimated from them.
    """
    seconds = examples.pairs or ("",) * len(examples)
    counts: Counter[str] = Counter()
    for text, second in zip(examples.texts, seconds, strict=True):
        plain = unicodedata.normalize("NFKC", f"{text} {second}").casefold()
        counts.update(set(_WORD.findall(plain)))
    found = {_hash(word) for word, texts in counts.items() if texts >= _FEWEST_TEXTS}
    return np.array(sorted(found)[:MOST_WORDS], dtype=np.uint32)


def _hash(word: str) -> int:
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little")


# --------------------------------------------------------------------------------------- fisher


def fisher_diagonal(problem: Problem, labels: npt.NDArray[Any], base: npt.NDArray[Any]) -> Float32:
    """Return the diagonal of the empirical Fisher information with respect to the embedding.

    ``F_j = 1/n sum_i (d log p(y_i | x_i) / d x_ij)²`` for a linear head with weight W on the
    embedding x: the gradient is ``W^T (onehot(y) - p)`` for classes, the same with independent
    sigmoids for labels, and ``w (y - f(x))`` for amounts and ranks, standardised, whose noise is
    taken for Gaussian of unit variance. Heads are fitted with a fixed ridge penalty to x, the
    embeddings about their mean in units of their root mean square deviation. That unit is one for
    all dimensions: scaled one by one, those that hardly vary would decide.

    Cost: one logistic regression, a second at n = 1,000, d = 384 and a few classes.

    Args:
        problem: Kind of labels.
        labels: Labels of n rows, in the form of :class:`~esm.tasks.task.Examples`.
        base: (n, d) base embeddings.

    Returns:
        (d,); zeros where all labels are the same, and for a corpus.

    Source:
        Vu et al. 2020 (arXiv 2005.00770), section 4.2; Achille et al. 2019 (arXiv 1902.03545).
    """
    if problem is Problem.CORPUS:
        return np.zeros(base.shape[1], dtype=np.float32)
    centred = base.astype(np.float64)
    centred -= centred.mean(axis=0)
    features = centred / (np.sqrt(np.square(centred).mean()) or 1.0)
    if problem is Problem.MULTILABEL:
        gradients = np.zeros_like(features)
        for column in labels.T:
            gradients += _class_gradients(column > 0.5, features)
    elif problem is Problem.CLASSIFICATION:
        gradients = _class_gradients(labels, features)
    else:
        gradients = _amount_gradients(labels, features)
    diagonal: Float32 = np.square(gradients).mean(axis=0).astype(np.float32)
    return diagonal


def _class_gradients(labels: npt.NDArray[Any], features: Float64) -> Float64:
    """Return (n, d) gradients of log p(y | x), or zeros where there is one class only."""
    from sklearn.linear_model import LogisticRegression

    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        return np.zeros_like(features)
    head = LogisticRegression(C=_INVERSE_PENALTY, max_iter=1000).fit(features, codes)
    surprise = np.eye(len(classes))[codes] - head.predict_proba(features)
    if len(classes) == 2:  # one row of weights: the second class against the first
        surprise = surprise[:, 1:]
    gradients: Float64 = surprise @ head.coef_
    return gradients


def _amount_gradients(labels: npt.NDArray[Any], features: Float64) -> Float64:
    from sklearn.linear_model import Ridge

    amounts = labels.astype(np.float64)
    if np.ptp(amounts) == 0:
        return np.zeros_like(features)
    amounts = (amounts - amounts.mean()) / amounts.std()
    head = Ridge(alpha=1 / _INVERSE_PENALTY).fit(features, amounts)
    gradients: Float64 = (amounts - head.predict(features))[:, None] * head.coef_[None, :]
    return gradients
