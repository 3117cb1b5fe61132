"""The published form: a dense map of the last layer, fitted on the source's own texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from esm.common.errors import FitError, ShapeError
from esm.maps.fit.ridge import PENALTIES, Features, Numbers, check_rows, r_squared
from esm.maps.forms import DenseMap

_HELD_OUT_SHARE = 0.2


class PublishedMethod(StrEnum):
    """How a published map is fitted."""

    CLOSED = "closed"
    ADAMW = "adamw"


@dataclass(frozen=True)
class PublishedFit:
    """A published map and how well it holds.

    Attributes:
        map: The map, float32.
        penalty: Chosen ridge penalty, in units of the features' mean eigenvalue; 0 for AdamW.
        rank: The full width d.
        r2_source: R² on a fifth of the source's texts, held out.
    """

    map: DenseMap
    penalty: float
    rank: int
    r2_source: float


def fit_published(
    base: Numbers,
    tuned: Numbers,
    *,
    method: PublishedMethod | str = PublishedMethod.CLOSED,
    seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
) -> PublishedFit:
    """Fit ``W h + b`` on the source's own texts, as published or as ridge regression.

    Args:
        base: (n, d) base embeddings.
        tuned: (n, d) embeddings of the same texts by the tuned model.
        method: ``"closed"``: ridge, the penalty chosen on a held-out fifth, then fitted to all.
            ``"adamw"``: as published, 10 epochs, batch 32, learning rate 1e-3 falling to 0.
        seed: Decides which fifth is held out and, for AdamW, start and order.
        penalties: Penalties to choose from, in mean eigenvalues of the features.

    Raises:
        ShapeError: The shapes differ.
        FitError: A number is not finite, there are fewer than ten texts, all tuned embeddings
            are equal, or the method is unknown.
    """
    check_rows(base, tuned)
    if base.shape != tuned.shape:
        raise ShapeError(f"base {base.shape}, tuned {tuned.shape}", expected="equal shapes")
    if method not in list(PublishedMethod):
        raise FitError(f"method {method!r}", expected=" or ".join(PublishedMethod))
    order = np.random.default_rng(seed).permutation(len(base))
    num_held = int(_HELD_OUT_SHARE * len(order))
    held, train = order[:num_held], order[num_held:]
    if method == PublishedMethod.ADAMW:
        half = _adamw(base[train], tuned[train], seed)
        fitted, penalty = _adamw(base, tuned, seed), 0.0
    else:
        path = [_ridge(base[train], tuned[train], penalty) for penalty in penalties]
        quality = [r_squared(tuned[held], fitted.apply(base[held])) for fitted in path]
        best = int(np.argmax(quality))
        half, penalty = path[best], penalties[best]
        fitted = _ridge(base, tuned, penalty)
    r2 = r_squared(tuned[held], half.apply(base[held]))
    return PublishedFit(map=fitted, penalty=penalty, rank=fitted.rank, r2_source=r2)


def _ridge(base: Numbers, tuned: Numbers, penalty: float) -> DenseMap:
    inputs, outputs = base.astype(np.float64), tuned.astype(np.float64)
    features, mean = Features.of(inputs), outputs.mean(axis=0)
    cross = features.eigenvectors.T @ ((inputs - features.mean).T @ (outputs - mean))
    weight = (features.eigenvectors @ (features.shrinkage(penalty) * cross)).T
    bias = mean - weight @ features.mean
    return DenseMap(weight=weight.astype(np.float32), bias=bias.astype(np.float32))


def _adamw(base: Numbers, tuned: Numbers, seed: int) -> DenseMap:
    """Train a linear layer as hf-dataset-selector 0.2.1 does, at the published settings."""
    import torch

    from esm.common.runtime import seeded

    epochs, batch_size = 10, 32
    inputs = torch.from_numpy(base.astype(np.float32))
    targets = torch.from_numpy(tuned.astype(np.float32))
    with seeded(seed):
        layer = torch.nn.Linear(inputs.shape[1], targets.shape[1])
        optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=0.01)
        steps = epochs * -(-len(inputs) // batch_size)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(inputs)), batch_size):
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(layer(inputs[rows]), targets[rows])
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    return DenseMap(weight=layer.weight.detach().numpy(), bias=layer.bias.detach().numpy())
