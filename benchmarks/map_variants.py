"""What of a map counts: the default against the published form, ingredient by ingredient.

Every variant is fitted anew from the tuned encoders that the pool of :mod:`benchmarks.truth` keeps,
then scores every target by class-balanced LogME. Writes ``map_variants.csv`` (target, source,
variant, score) and ``map_variants_r2.csv`` (R² on the target's training texts, where rankings use
the map) into ``benchmarks/results/``; :mod:`benchmarks.quality` judges them::

    python -m benchmarks.map_variants --data DATA --work WORK
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from benchmarks.truth import PLAN, RESULTS, Lab
from esm.common.runtime import seeded
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Embeddings, Encoder
from esm.maps.fit.anchored import AnchorBasis
from esm.maps.fit.ridge import r_squared
from esm.maps.forms import MapForm
from esm.maps.lift import Lift
from esm.pool.base_model import load_base
from esm.pool.entry import restore_pool_anchors
from esm.pool.pool import Pool, PoolEntry
from esm.scorers.logme import logme
from esm.tasks.load import load_target
from esm.training.class_weights import balance_weights

Array = npt.NDArray[Any]
Predict = Callable[[str, "Texts"], Array]
"""Gives the predicted tuned embeddings (n, d) of a target's texts after a source."""

_HIDDEN = 256
_STEPS = 300


@dataclass(frozen=True)
class Texts:
    """A target's training texts: embeddings, labels, and embeddings by every tuned encoder."""

    base: Array
    wide: Array
    labels: Array
    tuned: dict[str, Array]


@dataclass(frozen=True)
class Anchored:
    """Anchor texts: base embeddings, wide features, groups, embeddings by every tuned encoder."""

    base: Array
    wide: Array
    groups: tuple[str, ...]
    tuned: dict[str, Array]

    def take(self, rows: Array) -> Anchored:
        """Return some of the anchors."""
        return Anchored(
            self.base[rows],
            self.wide[rows],
            tuple(self.groups[row] for row in rows),
            {source: tuned[rows] for source, tuned in self.tuned.items()},
        )


def tuned_encoder(base: Encoder, entry: PoolEntry) -> Encoder:
    """Load the tuned encoder that an entry keeps."""
    update = {"model": str(entry.model_folder), "revision": None}
    return Encoder.load(base.config.model_copy(update=update), str(base.device))


def anchored(anchors: Anchored, width: int = 512, rank: int | None = 32) -> Predict:
    """Fit the default form: scaled identity and low rank over lifted features."""
    lift = Lift.fit(anchors.wide, width=width)
    basis = AnchorBasis(anchors.base, lift.transform(anchors.wide), anchors.groups)
    maps = {s: basis.fit(tuned, source=s, rank=rank).map for s, tuned in anchors.tuned.items()}
    return lambda source, texts: maps[source].apply(texts.base, lift.transform(texts.wide))


def last_layer(anchors: Anchored, rank: int = 32) -> Predict:
    """The same over the last layer's embedding alone."""
    basis = AnchorBasis(anchors.base, anchors.base, anchors.groups)
    maps = {s: basis.fit(tuned, source=s, rank=rank).map for s, tuned in anchors.tuned.items()}
    return lambda source, texts: maps[source].apply(texts.base, texts.base)


def perceptron(anchors: Anchored, width: int = 512) -> Predict:
    """A map that is not linear: one hidden layer of ReLUs over lifted features, added to h."""
    lift = Lift.fit(anchors.wide, width=width)
    lifted = lift.transform(anchors.wide)
    scale = lifted.std()
    inputs, base = torch.from_numpy(lifted / scale), torch.from_numpy(anchors.base)
    networks: dict[str, nn.Module] = {}
    for source, tuned in anchors.tuned.items():
        with seeded(0):
            network = nn.Sequential(
                nn.Linear(inputs.shape[1], _HIDDEN),
                nn.ReLU(),
                nn.Dropout(0.1),
                nn.Linear(_HIDDEN, base.shape[1]),
            )
            optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
            wanted = torch.from_numpy(tuned) - base
            for _ in range(_STEPS):
                optimiser.zero_grad()
                loss: torch.Tensor = nn.functional.mse_loss(network(inputs), wanted)
                torch.autograd.backward(loss)
                optimiser.step()
        networks[source] = network.eval()

    def predict(source: str, texts: Texts) -> Array:
        with torch.inference_mode():
            change = networks[source](torch.from_numpy(lift.transform(texts.wide) / scale))
        mapped: Array = texts.base + change.numpy()
        return mapped

    return predict


def stored(pool: Pool, form: MapForm) -> Predict:
    """The maps as they lie in the pool."""
    lift = pool.lift()
    maps = {entry.id: entry.load_map(form) for entry in pool.entries()[0]}
    wants_lift = form is MapForm.ANCHORED
    return lambda source, texts: maps[source].apply(
        texts.base, lift.transform(texts.wide) if wants_lift else None
    )


def variants(pool: Pool, anchors: Anchored) -> dict[str, Callable[[], Predict]]:
    """Return every variant, fitted when it is called."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(anchors.groups))
    groups = sorted(set(anchors.groups))
    few = set(rng.permutation(groups)[:5].tolist())
    five_tasks = np.flatnonzero([group in few for group in anchors.groups])
    return {
        "published, dense": lambda: stored(pool, MapForm.PUBLISHED),
        "anchors, last layer, rank 32": lambda: last_layer(anchors),
        "anchors, wide, rank 32 (default)": lambda: stored(pool, MapForm.ANCHORED),
        "rank 8": lambda: anchored(anchors, rank=8),
        "rank 16": lambda: anchored(anchors, rank=16),
        "rank 64": lambda: anchored(anchors, rank=64),
        "full rank": lambda: anchored(anchors, rank=anchors.base.shape[1]),
        "lift 256": lambda: anchored(anchors, width=256),
        "lift 768": lambda: anchored(anchors, width=768),
        "500 anchors": lambda: anchored(anchors.take(order[:500])),
        "1,000 anchors": lambda: anchored(anchors.take(order[:1000])),
        "anchors of 5 tasks": lambda: anchored(anchors.take(five_tasks)),
        "perceptron": lambda: perceptron(anchors),
        "tuned models": lambda: lambda source, texts: texts.tuned[source],
        "no change": lambda: lambda source, texts: texts.base,
    }


def with_own_texts(anchors: Anchored, own: Texts) -> Anchored:
    """Return anchors with a target's unlabelled texts added as a group of their own."""
    return Anchored(
        np.vstack([anchors.base, own.base]),
        np.vstack([anchors.wide, own.wide]),
        (*anchors.groups, *["the target"] * len(own.base)),
        {s: np.vstack([anchors.tuned[s], own.tuned[s]]) for s in anchors.tuned},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/truth"))
    parser.add_argument("--targets", default="", help="by commas; default: the plan's")
    options = parser.parse_args(arguments)
    lab = Lab(tomllib.loads(PLAN.read_text(encoding="utf-8")), options.data, options.work)
    pool = Pool.open(lab.pool_folder)
    encoder, cache = load_base(pool), EmbeddingCache.default()
    entries, _ = pool.entries()
    tuned = {entry.id: tuned_encoder(encoder, entry) for entry in entries}
    texts = restore_pool_anchors(pool)
    base = texts.embed(cache, encoder, wide=True)
    anchors = Anchored(
        base.last,
        _wide(base),
        texts.groups,
        {source: texts.embed(cache, model).last for source, model in tuned.items()},
    )
    targets, unlabelled = {}, {}
    wanted = options.targets.split(",") if options.targets else lab.plan["targets"]["all"]
    for name in wanted:
        ((_, task),) = load_target(lab.target_spec(name)).attributes.items()
        targets[name] = _embed(task.train, encoder, tuned, cache)
        unlabelled[name] = _embed(task.test, encoder, tuned, cache)
    scores: list[dict[str, object]] = []
    quality: list[dict[str, object]] = []

    def judge(name: str, predict: Predict, target: str) -> None:
        own = targets[target]
        weights = balance_weights(own.labels)
        explained = []
        for source in tuned:
            mapped = predict(source, own)
            explained.append(r_squared(own.tuned[source], mapped))
            score = logme(mapped, own.labels, variant="full", weights=weights)
            row = {"target": target, "source": source, "variant": name, "score": round(score, 7)}
            scores.append(row)
        mean = round(float(np.mean(explained)), 4)
        quality.append({"target": target, "variant": name, "r2": mean})

    for name, fit in variants(pool, anchors).items():
        predict = fit()
        for target in targets:
            judge(name, predict, target)
        print(name, flush=True)
    for target in targets:  # the 400 test texts, their labels unseen
        judge("target's own texts", anchored(with_own_texts(anchors, unlabelled[target])), target)
    pd.DataFrame(scores).to_csv(RESULTS / "map_variants.csv", index=False, lineterminator="\n")
    pd.DataFrame(quality).to_csv(RESULTS / "map_variants_r2.csv", index=False, lineterminator="\n")


def _embed(rows: Any, encoder: Encoder, tuned: dict[str, Encoder], cache: EmbeddingCache) -> Texts:
    base = cache.embed(encoder, rows.texts, rows.pairs, wide=True)
    return Texts(
        base.last,
        _wide(base),
        rows.labels,
        {s: cache.embed(model, rows.texts, rows.pairs).last for s, model in tuned.items()},
    )


def _wide(embeddings: Embeddings) -> Array:
    assert embeddings.wide is not None
    return embeddings.wide


if __name__ == "__main__":
    main()
