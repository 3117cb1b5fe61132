"""Linear models: logistic regression for classes and labels, ridge for values and ranks.

The penalty is chosen on the training rows. Features may be embeddings or sparse counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from esm.common.arrays import Array
from esm.common.errors import EncoderError, FitError
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.tasks.task import Outputs, Problem, Task
from esm.training.class_weights import balance_weights
from esm.training.state import State

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


_FOLDS = 3


@dataclass(frozen=True)
class Penalties:
    """Among which penalties to choose.

    Attributes:
        inverse: Inverse penalties of logistic regression.
        ridge: Penalties of ridge regression.
    """

    inverse: tuple[float, ...]
    ridge: tuple[float, ...]


STANDARDISED = Penalties((0.001, 0.01, 0.1, 1.0), tuple(np.logspace(-1, 5, 13)))
"""For features of mean 0 and variance 1."""

NEVER = -1e6
"""The logit of a class without a training row: far below any other, yet a finite number."""


@dataclass(frozen=True)
class LinearModel:
    """An encoder and an affine map of its embeddings.

    Attributes:
        encoder: The encoder, shared with whoever gave it.
        weight: (d, c) float64.
        bias: (c,) float64.
        cache: Where embeddings are looked for before they are computed.
    """

    encoder: Encoder
    weight: Array
    bias: Array
    cache: EmbeddingCache

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Array:
        """Return outputs (n, c): logits, or values in the label's unit."""
        embedded = self.cache.embed(self.encoder, texts, pairs).last
        outputs: Array = embedded @ self.weight + self.bias
        return outputs

    def trained_state(self) -> State:
        """Return the linear model's arrays."""
        return {
            "head.weight": self.weight.T.copy(),
            "head.bias": self.bias.copy(),
            "head.label_mean": np.zeros(1),
            "head.label_scale": np.ones(1),
        }

    @classmethod
    def of_state(
        cls, encoder: Encoder, task: Outputs, state: State, cache: EmbeddingCache
    ) -> LinearModel:
        """Return the model that :meth:`trained_state` was taken of.

        Raises:
            EncoderError: Names or shapes are others, or a number is not finite.
        """
        wanted = {
            "head.weight": (task.num_outputs, encoder.width),
            "head.bias": (task.num_outputs,),
            "head.label_mean": (1,),
            "head.label_scale": (1,),
        }
        check_state(task, state, wanted)
        return cls(encoder, state["head.weight"].T, state["head.bias"], cache)


def check_state(task: Outputs, state: State, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a state whose arrays have other names or shapes, or numbers that are not finite.

    Raises:
        EncoderError: The state is not of this encoder, task and strategy.
    """
    shapes = {name: array.shape for name, array in state.items()}
    if shapes != wanted or not all(np.isfinite(array).all() for array in state.values()):
        raise EncoderError(
            f"the trained weights of {task.id} do not fit: {shapes}",
            expected=f"finite numbers of the shapes {dict(wanted)}",
            hint="esm validate again, with the same base model",
        )


def fit_linear(
    task: Task,
    features: Array | csr_matrix,
    labels: Array,
    seed: int,
    penalties: Penalties,
    *,
    balanced: bool,
) -> tuple[Array, Array]:
    """Return weight (d, c) and bias (c,): outputs are ``features @ weight + bias``.

    Args:
        task: Says what to predict; none of its rows is looked at.
        features: (n, d), dense or sparse.
        labels: As :class:`~esm.tasks.task.Examples` has them.
        seed: Decides the folds on which logistic regression chooses its penalty.
        penalties: Among which to choose.
        balanced: Whether all classes weigh the same.

    Raises:
        FitError: The rows have one class only.
    """
    if task.problem in (Problem.REGRESSION, Problem.ORDINAL):
        weights = balance_weights(labels) if balanced else None
        ridge = RidgeCV(alphas=penalties.ridge).fit(features, labels, sample_weight=weights)
        return ridge.coef_[:, None], np.array([ridge.intercept_])
    class_weight = "balanced" if balanced else None
    if task.problem is Problem.MULTILABEL:
        columns = [
            _one_label(features, column > 0.5, seed, penalties, class_weight) for column in labels.T
        ]
        return np.stack([w for w, _ in columns], axis=1), np.array([b for _, b in columns])
    return _classes(task, features, labels, seed, penalties, class_weight)


def _classes(
    task: Task,
    features: Array | csr_matrix,
    labels: Array,
    seed: int,
    penalties: Penalties,
    class_weight: str | None,
) -> tuple[Array, Array]:
    if len(np.unique(labels)) < 2:
        raise FitError(
            f"the {len(labels)} training rows of {task.id} have one class only",
            expected="at least two classes",
            hint="more training rows",
        )
    model = _logistic_regression(features, labels, seed, penalties, class_weight)
    weight = np.zeros((features.shape[1], task.num_outputs))
    bias = np.full(task.num_outputs, NEVER)
    if len(model.classes_) == 2:  # one row of coefficients: the second class against the first
        first, second = model.classes_
        weight[:, second], bias[[first, second]] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        weight[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return weight, bias


def _one_label(
    features: Array | csr_matrix,
    label: Array,
    seed: int,
    penalties: Penalties,
    class_weight: str | None,
) -> tuple[Array, float]:
    """Return weight (d,) and bias; constant where all rows, or none, have the label."""
    if label.all() or not label.any():
        return np.zeros(features.shape[1]), 1.0 if label.all() else -1.0
    model = _logistic_regression(features, label.astype(np.int64), seed, penalties, class_weight)
    return model.coef_[0], float(model.intercept_[0])


def _logistic_regression(
    features: Array | csr_matrix,
    labels: Array,
    seed: int,
    penalties: Penalties,
    class_weight: str | None,
) -> LogisticRegression:
    penalty = inverse_penalty(features, labels, seed, penalties.inverse, class_weight)
    return _model(penalty, class_weight).fit(features, labels)


def _model(inverse_penalty: float, class_weight: str | None) -> LogisticRegression:
    return LogisticRegression(C=inverse_penalty, class_weight=class_weight, max_iter=1000)


def inverse_penalty(
    features: Array | csr_matrix,
    labels: Array,
    seed: int,
    choices: Sequence[float],
    class_weight: str | None = "balanced",
) -> float:
    """Return the inverse penalty with the best cross-validated macro-F1, the smallest of equals.

    The predictions of all folds are scored together: a rare class may be in one of them only.
    """
    # With fewer rows in the second largest class, a fold could be left with one class.
    num_folds = min(_FOLDS, int(np.sort(np.bincount(labels))[-2]))
    if num_folds < 2:
        return choices[0]
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)

    def quality(choice: float) -> float:
        model = _model(choice, class_weight)
        predicted = cross_val_predict(model, features, labels, cv=folds)
        return float(f1_score(labels, predicted, average="macro", labels=np.unique(labels)))

    with warnings.catch_warnings():
        # A class with fewer rows than folds is missing in some; that is no reason to stop.
        warnings.filterwarnings("ignore", message="The least populated class")
        return max(choices, key=quality)
