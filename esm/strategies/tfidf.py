"""What words alone tell: a linear model on TF-IDF, without any encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from typing_extensions import override

from esm.common.arrays import Array
from esm.common.errors import EncoderError, FitError, ShapeError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import no_plain_model
from esm.strategies.linear import Penalties, check_state, fit_linear
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort, Frozen, Learnt
from esm.tasks.task import Examples, Outputs, Task
from esm.training.state import State

# For rows of length 1.
_PENALTIES = Penalties((0.1, 1.0, 10.0, 100.0), tuple(np.logspace(-2, 2, 9)))
_MOST_TERMS = 20_000
_WORDS_PER_TERM = (1, 2)
_WORD = r"(?u)\b\w+\b"

_VOCABULARY, _IDF = "tfidf.vocabulary", "tfidf.idf"


@dataclass(frozen=True)
class TfidfModel:
    """Words, their rarity, and an affine map of what a text holds of them.

    Attributes:
        terms: The v words and pairs of words, in the order of their columns.
        idf: (v,) inverse document frequencies.
        weight: (v, c) float64; of a pair task (3 v, c).
        bias: (c,) float64.
    """

    terms: tuple[str, ...]
    idf: Array
    weight: Array
    bias: Array

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Array:
        """Return outputs (n, c): logits, or values in the label's unit."""
        vectorizer = _vectorizer(self.terms)
        vectorizer.idf_ = self.idf
        outputs: Array = _features(vectorizer, texts, pairs) @ self.weight + self.bias
        return outputs

    def trained_state(self) -> State:
        """See :meth:`esm.strategies.protocol.TransferModel.trained_state`; terms are JSON."""
        terms = json.dumps(self.terms, ensure_ascii=False).encode()
        return {
            _VOCABULARY: np.frombuffer(terms, dtype=np.uint8).copy(),
            _IDF: self.idf.copy(),
            "head.weight": self.weight.T.copy(),
            "head.bias": self.bias.copy(),
        }


class Tfidf(Frozen):
    """Train a linear model on TF-IDF of words and pairs of neighbouring words.

    Of a pair of texts both are read by one vocabulary; a third block of features is the product
    of the two, what they share. The encoder is not used, so no source can matter.

    Source:
        Weights of terms: Salton and Buckley 1988, with logarithmic term frequencies; pairs of
        words in linear models of texts: Wang and Manning 2012, "Baselines and Bigrams".
    """

    name = "tfidf"
    seed_varies = "folds on which the penalty is chosen, nothing for regression and ordinal"
    uses_source = False

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`esm.strategies.protocol.Strategy.settings`; class weights are the only one."""
        return {"class_weights": config.class_weights.value}

    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """See :meth:`esm.strategies.protocol.Strategy.effort`; at most what an embedding costs."""
        return Effort(passes=1, stored=_MOST_TERMS)

    def learn(
        self,
        encoder: Encoder,
        task: Task,
        rows: Examples,
        config: TransferConfig,
        seed: int,
        *,
        weighs: bool,
    ) -> Learnt:
        """See :meth:`esm.strategies.single.Frozen.learn`; the encoder is not used."""
        vectorizer = _vectorizer()
        try:
            vectorizer.fit([*rows.texts, *(rows.pairs or ())])
        except ValueError as error:
            raise FitError(
                f"the {len(rows)} training rows of {task.id} hold no words",
                expected="texts of letters or digits",
            ) from error
        features = _features(vectorizer, rows.texts, rows.pairs)
        weight, bias = fit_linear(task, features, rows.labels, seed, _PENALTIES, balanced=weighs)
        terms = tuple(vectorizer.get_feature_names_out().tolist())
        model = TfidfModel(terms, vectorizer.idf_, weight, bias)
        return Learnt(model, weight.size + bias.size, weight.size + bias.size)

    @override
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> TfidfModel:
        terms = _terms(task, state)
        columns = state.get("head.weight", np.empty((0, 0))).shape[-1]
        blocks = 3 if columns == 3 * len(terms) else 1
        wanted = {
            _VOCABULARY: state[_VOCABULARY].shape,
            _IDF: (len(terms),),
            "head.weight": (task.num_outputs, blocks * len(terms)),
            "head.bias": (task.num_outputs,),
        }
        check_state(task, state, wanted)
        return TfidfModel(terms, state[_IDF], state["head.weight"].T, state["head.bias"])

    def export_task(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """See :meth:`esm.strategies.protocol.Strategy.exported`: there is no encoder."""
        raise no_plain_model(self.name, "it has no encoder, only words and their weights")


def _vectorizer(terms: Sequence[str] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=_WORDS_PER_TERM,
        token_pattern=_WORD,
        sublinear_tf=True,
        max_features=_MOST_TERMS,
        vocabulary=None if terms is None else list(terms),
    )


def _features(
    vectorizer: TfidfVectorizer, texts: Sequence[str], pairs: Sequence[str] | None
) -> csr_matrix:
    """Return (n, v) features; of pairs (n, 3 v): first texts, second ones, their product."""
    if not texts:
        raise ShapeError("no texts", expected="at least one")
    first = vectorizer.transform(texts)
    if pairs is None:
        return csr_matrix(first)
    second = vectorizer.transform(pairs)
    return csr_matrix(hstack([first, second, first.multiply(second)]))


def _terms(task: Outputs, state: State) -> tuple[str, ...]:
    """Read the vocabulary of a state.

    Raises:
        EncoderError: There is none, or it is no list of different words.
    """
    try:
        terms = json.loads(state[_VOCABULARY].tobytes())
        if not all(isinstance(term, str) for term in terms) or len(set(terms)) < len(terms):
            raise ValueError("no list of different words")
    except (KeyError, TypeError, ValueError) as error:
        raise EncoderError(
            f"the trained weights of {task.id} hold no vocabulary ({error})",
            expected="a JSON list of different words",
            hint="esm validate again",
        ) from error
    return tuple(terms)
