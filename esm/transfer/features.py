"""The cheap proof: a linear model on the embeddings of an encoder that stays as it is.

Logistic regression for classes and labels, ridge regression for values and ranks, both on
standardised embeddings with the penalty chosen on the training rows: seconds, not minutes. The
embeddings come from the cache where they are there, so that further seeds, and further attributes
of the same texts, cost next to nothing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from esm.class_weights import weighs_classes
from esm.embeddings import EmbeddingCache
from esm.encoder import Encoder
from esm.errors import EncoderError, FitError
from esm.moments import balance_weights
from esm.settings import TransferConfig
from esm.tasks.task import Examples, Outputs, Problem, Task
from esm.transfer.strategy import State, Transferred

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Array = npt.NDArray[Any]

_FOLDS = 3
_INVERSE_PENALTIES = (0.001, 0.01, 0.1, 1.0)
_RIDGE_PENALTIES = np.logspace(-1, 5, 13)

# The logit of a class without a training row: far below any other, yet a finite number.
_NEVER = -1e6


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
        """See :meth:`esm.transfer.strategy.TransferModel.trained_state`."""
        return {
            "head.weight": self.weight.T.copy(),
            "head.bias": self.bias.copy(),
            "head.label_mean": np.zeros(1),
            "head.label_scale": np.ones(1),
        }


class Features:
    """Train a linear model on embeddings.

    A seed decides only the folds on which logistic regression chooses its penalty, so results
    vary little over seeds, and not at all for regression and ordinal: their standard error says
    nothing about training.

    Args:
        cache: Cache of embeddings; None for the default one.
    """

    name = "features"
    seed_varies = "folds on which the penalty is chosen, nothing for regression and ordinal"

    def __init__(self, cache: EmbeddingCache | None = None) -> None:
        self._cache = EmbeddingCache.default() if cache is None else cache

    def check(self, architecture: PreTrainedConfig) -> None:
        """See :meth:`esm.transfer.strategy.Strategy.check`; any base model will do."""

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`esm.transfer.strategy.Strategy.settings`; class weights are the only one."""
        return {"class_weights": config.class_weights.value}

    def fit(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        """See :meth:`esm.transfer.strategy.Strategy.fit`; only class weights are used."""
        start = time.monotonic()
        features = self._cache.embed(encoder, rows.texts, rows.pairs).last.astype(np.float64)
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale[scale == 0] = 1.0
        balanced = weighs_classes(config.class_weights, task)
        weight, bias = _fit(task, (features - mean) / scale, rows.labels, seed, balanced=balanced)
        weight = weight / scale[:, None]
        trained = weight.size + bias.size
        return Transferred(
            model=LinearModel(encoder, weight, bias - mean @ weight, self._cache),
            trained_parameters=trained,
            total_parameters=trained + sum(p.numel() for p in encoder.model.parameters()),
            seconds=time.monotonic() - start,
        )

    def restore(self, encoder: Encoder, task: Outputs, state: State) -> LinearModel:
        """See :meth:`esm.transfer.strategy.Strategy.restore`."""
        shapes = {name: array.shape for name, array in state.items()}
        outputs = task.num_outputs
        wanted = {
            "head.weight": (outputs, encoder.width),
            "head.bias": (outputs,),
            "head.label_mean": (1,),
            "head.label_scale": (1,),
        }
        if shapes != wanted or not all(np.isfinite(array).all() for array in state.values()):
            raise EncoderError(
                f"the trained weights of {task.id} do not fit: {shapes}",
                expected=f"finite numbers of the shapes {wanted}",
                hint="esm validate again, with the same base model",
            )
        return LinearModel(encoder, state["head.weight"].T, state["head.bias"], self._cache)


def _fit(
    task: Task, features: Array, labels: Array, seed: int, *, balanced: bool
) -> tuple[Array, Array]:
    """Return weight (d, c) and bias (c,) for standardised features (n, d)."""
    if task.problem in (Problem.REGRESSION, Problem.ORDINAL):
        weights = balance_weights(labels) if balanced else None
        ridge = RidgeCV(alphas=_RIDGE_PENALTIES).fit(features, labels, sample_weight=weights)
        return ridge.coef_[:, None], np.array([ridge.intercept_])
    class_weight = "balanced" if balanced else None
    if task.problem is Problem.MULTILABEL:
        columns = [_one_label(features, column > 0.5, seed, class_weight) for column in labels.T]
        return np.stack([w for w, _ in columns], axis=1), np.array([b for _, b in columns])
    return _classes(task, features, labels, seed, class_weight)


def _classes(
    task: Task, features: Array, labels: Array, seed: int, class_weight: str | None
) -> tuple[Array, Array]:
    if len(np.unique(labels)) < 2:
        raise FitError(
            f"the {len(labels)} training rows of {task.id} have one class only",
            expected="at least two classes",
            hint="more training rows",
        )
    model = _logistic_regression(features, labels, seed, class_weight)
    weight = np.zeros((features.shape[1], task.num_outputs))
    bias = np.full(task.num_outputs, _NEVER)
    if len(model.classes_) == 2:  # one row of coefficients: the second class against the first
        first, second = model.classes_
        weight[:, second], bias[[first, second]] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        weight[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return weight, bias


def _one_label(
    features: Array, label: Array, seed: int, class_weight: str | None
) -> tuple[Array, float]:
    """Return weight (d,) and bias; constant where all rows, or none, have the label."""
    if label.all() or not label.any():
        return np.zeros(features.shape[1]), 1.0 if label.all() else -1.0
    model = _logistic_regression(features, label.astype(np.int64), seed, class_weight)
    return model.coef_[0], float(model.intercept_[0])


def _logistic_regression(
    features: Array, labels: Array, seed: int, class_weight: str | None
) -> LogisticRegression:
    penalty = _inverse_penalty(features, labels, seed, class_weight)
    return _model(penalty, class_weight).fit(features, labels)


def _model(inverse_penalty: float, class_weight: str | None) -> LogisticRegression:
    return LogisticRegression(C=inverse_penalty, class_weight=class_weight, max_iter=1000)


def _inverse_penalty(
    features: Array, labels: Array, seed: int, class_weight: str | None = "balanced"
) -> float:
    """Return the inverse penalty with the best cross-validated macro-F1, the smallest of equals.

    The predictions of all folds are scored together: a rare class may be in one of them only.
    """
    # With fewer rows in the second largest class, a fold could be left with one class.
    num_folds = min(_FOLDS, int(np.sort(np.bincount(labels))[-2]))
    if num_folds < 2:
        return _INVERSE_PENALTIES[0]
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)

    def quality(inverse_penalty: float) -> float:
        model = _model(inverse_penalty, class_weight)
        predicted = cross_val_predict(model, features, labels, cv=folds)
        return float(f1_score(labels, predicted, average="macro", labels=np.unique(labels)))

    with warnings.catch_warnings():
        # A class with fewer rows than folds is missing in some; that is no reason to stop.
        warnings.filterwarnings("ignore", message="The least populated class")
        return max(_INVERSE_PENALTIES, key=quality)
