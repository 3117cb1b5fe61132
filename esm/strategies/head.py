"""A neural head on an encoder that stays as it is, trained on embeddings that are computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from typing_extensions import override

from esm.common.arrays import Array
from esm.common.errors import FitError
from esm.common.runtime import progress
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import EVERY_PROBLEM
from esm.strategies.linear import check_state
from esm.strategies.protocol import training_settings
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort, Frozen, Learnt
from esm.tasks.task import Examples, Outputs, Problem, Task
from esm.training.losses import label_scale, loss_targets, loss_weights, training_loss
from esm.training.schedules import linear
from esm.training.settings import FineTuneConfig
from esm.training.state import State
from esm.training.units import EachWord, States

EmbedRows = Callable[[Sequence[int]], Tensor]

DEFAULT = FineTuneConfig(num_epochs=30, batch_size=16, learning_rate=1e-3)

_DROPOUT = 0.1
_LARGEST_NORM = 1.0


@dataclass(frozen=True)
class HeadModel:
    """An encoder and a head of two layers: ``outer tanh(inner x + b) + c``.

    Attributes:
        problem: Kind of output.
        encoder: The encoder, shared with whoever gave it.
        state: The head's arrays by their names in :data:`~esm.strategies.protocol.State`; those of
            the inner layer begin with ``head.hidden.``.
        cache: Where embeddings are looked for before they are computed.
    """

    problem: Problem
    encoder: Encoder
    state: State
    cache: EmbeddingCache

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Array:
        """Return outputs (n, c), or (n, w, c) of tags: logits, or values in the label's unit."""
        state = self.state
        frozen = _frozen(self.problem, self.encoder, texts, pairs, self.cache)
        embedded = frozen.states.astype(np.float64)
        hidden = np.tanh(embedded @ state["head.hidden.weight"].T + state["head.hidden.bias"])
        outputs = hidden @ state["head.weight"].T + state["head.bias"]
        return frozen.spread(outputs * state["head.label_scale"] + state["head.label_mean"])

    def trained_state(self) -> State:
        """Return the head's tensors."""
        return {name: array.copy() for name, array in self.state.items()}


class Head(Frozen):
    """Train a head of two layers, as wide as the encoder, on standardised embeddings.

    Without dropout in a frozen encoder a text has the same embedding in every epoch. So each text
    is embedded once, and what comes out is what training through the encoder would give. To tag
    words the head sits on the state of each word's first token.

    Source:
        Training only what sits on a frozen encoder is the feature-based approach of Devlin et al.
        2019, section 5.3; the head is that of RoBERTa (Liu et al. 2019), dense, tanh, dropout,
        dense. Epochs are many because one costs next to nothing.
    """

    name = "head"
    seed_varies = "order of the rows, dropout, head"
    problems = EVERY_PROBLEM

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        return training_settings(config.settings(DEFAULT, 0))

    @override
    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        return Effort(passes=1, stored=base.width**2)

    @override
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
        frozen = _frozen(task.problem, encoder, rows.texts, rows.pairs, self._cache)
        labels = frozen.labels(rows.labels)
        embedded = frozen.states.astype(np.float64)
        mean, scale = embedded.mean(axis=0), embedded.std(axis=0)
        scale[scale == 0] = 1.0
        features = torch.from_numpy((embedded - mean) / scale).float().to(encoder.device)
        layers = new_layers(encoder.width, task).to(encoder.device)
        train_layers(
            layers,
            task,
            labels,
            lambda batch: frozen.batch(features, batch),
            config.settings(DEFAULT, seed),
            weighs=weighs,
        )
        state = _state(layers, task, labels, mean, scale)
        trained = sum(p.numel() for p in layers.parameters())
        return Learnt(HeadModel(task.problem, encoder, state, self._cache), trained, trained)

    @override
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> HeadModel:
        width, outputs = encoder.width, task.num_outputs
        wanted = {
            "head.hidden.weight": (width, width),
            "head.hidden.bias": (width,),
            "head.weight": (outputs, width),
            "head.bias": (outputs,),
            "head.label_mean": (1,),
            "head.label_scale": (1,),
        }
        check_state(task, state, wanted)
        return HeadModel(task.problem, encoder, state, self._cache)


def _frozen(
    problem: Problem,
    encoder: Encoder,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    cache: EmbeddingCache,
) -> States:
    """Return what a head sits on: of whole texts from the cache, of words computed."""
    if problem is Problem.TAGGING:
        return EachWord().embed(encoder, texts, pairs)
    return States(cache.embed(encoder, texts, pairs).last)


def new_layers(width: int, task: Outputs) -> nn.Sequential:
    """Return the head's layers with weights drawn from torch's global generator."""
    return nn.Sequential(
        nn.Linear(width, width), nn.Tanh(), nn.Dropout(_DROPOUT), nn.Linear(width, task.num_outputs)
    )


def train_layers(
    layers: nn.Sequential,
    task: Task,
    labels: Array,
    embed: EmbedRows,
    config: FineTuneConfig,
    *,
    weighs: bool,
) -> None:
    """Train a head in place by AdamW with a linear schedule, gradients clipped to norm 1.

    Args:
        layers: The head.
        task: Says which loss to minimise; none of its rows is looked at.
        labels: Labels of the n rows.
        embed: Gives the (b, d) standardised embeddings of b rows, by their numbers; (b, w, d) of
            their words.
        config: The settings; the caller has seeded torch's generator.
        weighs: Whether rare classes weigh more.

    Raises:
        FitError: Training diverged.
    """
    device = next(layers.parameters()).device
    targets = loss_targets(task.problem, labels).to(device)
    class_weights = loss_weights(task.problem, labels).to(device) if weighs else None
    mean, scale = torch.tensor(label_scale(task.problem, labels), device=device)
    order = np.random.default_rng(config.seed)
    steps = config.num_epochs * math.ceil(len(labels) / config.batch_size)
    optimiser = torch.optim.AdamW(
        layers.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    multiple = linear(config.warmup_fraction)
    schedule = LambdaLR(optimiser, lambda step: multiple(step, steps))
    layers.train()
    with progress(f"training {task.id}", total=config.num_epochs) as advance:
        for _ in range(config.num_epochs):
            rows = order.permutation(len(labels))
            for first in range(0, len(rows), config.batch_size):
                batch = rows[first : first + config.batch_size].tolist()
                outputs = layers(embed(batch))
                loss = training_loss(
                    task.problem, outputs, targets[batch], class_weights, mean, scale
                )
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(layers.parameters(), _LARGEST_NORM)
                optimiser.step()
                schedule.step()
            advance(1)
    layers.eval()
    if not all(torch.isfinite(parameter).all() for parameter in layers.parameters()):
        raise FitError(
            f"training on {task.id} diverged: a weight is not finite",
            expected="finite numbers",
            hint=f"a learning rate below {config.learning_rate:g}",
        )


def _state(layers: nn.Sequential, task: Task, labels: Array, mean: Array, scale: Array) -> State:
    """Return the head as one of raw embeddings: the first layer takes the standardisation in."""
    inner, outer = (
        {name: weight.detach().double().cpu().numpy() for name, weight in layer.named_parameters()}
        for layer in (layers[0], layers[-1])
    )
    weight = inner["weight"] / scale
    label_mean, spread = label_scale(task.problem, labels)
    return {
        "head.hidden.weight": weight,
        "head.hidden.bias": inner["bias"] - weight @ mean,
        "head.weight": outer["weight"],
        "head.bias": outer["bias"],
        "head.label_mean": np.array([label_mean]),
        "head.label_scale": np.array([spread]),
    }
