"""What training minimises, for each kind of label."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from esm.tasks.tagging import NO_WORD
from esm.tasks.task import Problem
from esm.training.class_weights import balanced_class_weights, positive_weights

Labels = npt.NDArray[Any]


def label_scale(problem: Problem, labels: Labels) -> tuple[float, float]:
    """Return mean and spread of training amounts or ranks; 0 and 1 for classes.

    Trained on z-scores, ratings from 1 to 5 and prices in thousands take the same learning rate.
    """
    if problem in (Problem.REGRESSION, Problem.ORDINAL):
        return float(labels.mean()), float(labels.std()) or 1.0
    return 0.0, 1.0


def loss_targets(problem: Problem, labels: Labels) -> Tensor:
    """Return labels as the loss wants them: classes, ranks or tags, amounts, or zeros and ones."""
    is_class = problem in (Problem.CLASSIFICATION, Problem.ORDINAL, Problem.TAGGING)
    return torch.from_numpy(labels.astype(np.int64 if is_class else np.float32))


def loss_weights(problem: Problem, labels: Labels) -> Tensor:
    """Return (c,) weights of the classes by which rare ones count as much as frequent ones."""
    if problem is Problem.TAGGING:
        labels = labels[labels != NO_WORD]
    is_set = problem is Problem.MULTILABEL
    weights = positive_weights(labels) if is_set else balanced_class_weights(labels)
    return torch.from_numpy(weights).float()


def row_losses(
    problem: Problem,
    outputs: Tensor,
    targets: Tensor,
    class_weights: Tensor | None,
    mean: Tensor,
    scale: Tensor,
) -> Tensor:
    """Return each row's loss times the weight of its class, (b,); see :func:`training_loss`."""
    if problem is Problem.MULTILABEL:
        losses = binary_cross_entropy_with_logits(
            outputs, targets, pos_weight=class_weights, reduction="none"
        )
        return losses.mean(dim=1)
    if problem is Problem.TAGGING:
        return _mean_over_words(outputs, targets, class_weights)
    if problem is Problem.CLASSIFICATION:
        losses = cross_entropy(outputs, targets, reduction="none")
    else:
        losses = (outputs[:, 0] - (targets - mean) / scale).square()
    return losses if class_weights is None else class_weights[targets] * losses


def _mean_over_words(outputs: Tensor, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the mean loss of each text's words, (b,); 0 for a text of which no word is read."""
    losses = cross_entropy(outputs.transpose(1, 2), targets, reduction="none", ignore_index=NO_WORD)
    if class_weights is not None:
        losses = losses * class_weights[targets.clamp(min=0)]
    words = (targets != NO_WORD).sum(dim=1)
    return losses.sum(dim=1) / words.clamp(min=1)


def training_loss(
    problem: Problem,
    outputs: Tensor,
    targets: Tensor,
    class_weights: Tensor | None,
    mean: Tensor,
    scale: Tensor,
) -> Tensor:
    """Return the mean over a batch of each row's loss times the weight of its class.

    The weights are not made to average 1 within a batch: a batch with a rare class counts for
    more, so that over an epoch every class has its weight.

    Args:
        problem: Kind of label.
        outputs: (b, c) logits, (b, w, c) those of words, or (b, 1) standardised amounts or ranks.
        targets: (b,) int64 classes or ranks, (b,) amounts, (b, c) zeros and ones, or (b, w) tags,
            -1 where there is none to learn.
        class_weights: (c,) weights of the classes, of a multi-label task those of a label's
            presence against its absence; None weighs all rows the same.
        mean: (1,), mean of the training amounts or ranks.
        scale: (1,), their standard deviation.
    """
    return row_losses(problem, outputs, targets, class_weights, mean, scale).mean()
