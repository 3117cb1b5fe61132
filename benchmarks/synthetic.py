"""Targets and pools of maps drawn from seeds: the same numbers on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.maps.compressed import CompressedMap
from esm.maps.forms import DenseMap, EmbeddingSpaceMap, LowRankMap
from esm.pool.bundle.read import Bundle
from esm.pool.bundle.write import BundleWriter

Array = npt.NDArray[Any]

# Directions that the maps of a pool share: fine-tuning moves few of them.
_DIRECTIONS = 512


@dataclass(frozen=True)
class Target:
    """Embeddings and classes of a target.

    Attributes:
        base: (n, d) float32.
        lifted: (n, p) float32, partly a function of the base embeddings and partly not; None for
            maps that do not read them.
        labels: (n,) classes.
    """

    base: Array
    lifted: Array | None
    labels: Array


def draw_target(num_examples: int, width: int, lift_width: int, classes: int, seed: int) -> Target:
    """Draw embeddings whose spectrum falls as that of encoders does, with a common offset."""
    rng = np.random.default_rng(seed)
    size = max(width, lift_width)
    latent = rng.standard_normal((num_examples, size)) * np.exp(-4 * np.arange(size) / size)
    turn = np.linalg.qr(rng.standard_normal((size, size)))[0]
    base = (latent @ turn)[:, :width] + rng.standard_normal(width)
    lifted = np.tanh(latent @ turn.T)[:, :lift_width] + 0.1 * rng.standard_normal(
        (num_examples, lift_width)
    )
    told = latent[:, :classes] + np.tanh(2 * latent[:, classes : 2 * classes])
    labels = (told + rng.standard_normal((num_examples, classes))).argmax(axis=1)
    return Target(base.astype(np.float32), lifted.astype(np.float32), labels)


def draw_low_rank(
    count: int, width: int, lift_width: int, rank: int, seed: int
) -> Iterator[LowRankMap]:
    """Draw maps that mix directions of one pool, in float16, as pools store them."""
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((_DIRECTIONS, width)).astype(np.float32) / np.float32(width**0.5)
    right = rng.standard_normal((_DIRECTIONS, lift_width)).astype(np.float32)
    right /= np.float32(lift_width**0.5)
    bias = rng.standard_normal((_DIRECTIONS, width)).astype(np.float32) / 8
    for _ in range(count):
        picks = rng.integers(0, _DIRECTIONS, (3, rank))
        strength = rng.uniform(0.2, 1.2, (rank, 1)).astype(np.float32)
        tilt = left[picks[2]] * np.float32(0.3)
        yield LowRankMap(
            float(np.float16(rng.uniform(0.4, 1.1))),
            ((left[picks[0]] + tilt) * strength).T.astype(np.float16),
            right[picks[1]].T.astype(np.float16),
            bias[picks[0, 0]].astype(np.float16),
        )


def draw_compressed(count: int, width: int, rank: int, seed: int) -> Iterator[CompressedMap]:
    """Draw published maps of low rank, ``a h + U V^T h + b``, in float16."""
    for one in draw_low_rank(count, width, width, rank, seed):
        yield CompressedMap(one.scale, one.left, one.right, one.bias)


def draw_dense(count: int, width: int, seed: int) -> Iterator[DenseMap]:
    """Draw dense maps: a scaled identity, ten strong directions and noise; float32."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((width, width)).astype(np.float32) / np.float32(4 * width**0.5)
    for _ in range(count):
        scale = np.float32(rng.uniform(0.5, 1))
        columns = rng.standard_normal((2, width, 10)).astype(np.float32) / np.float32(width**0.5)
        shift = int(rng.integers(width))
        weight = scale * np.eye(width, dtype=np.float32) + columns[0] @ columns[1].T
        weight += np.roll(noise, shift, axis=1)
        yield DenseMap(weight, rng.standard_normal(width).astype(np.float32) / 8)


def dense(one: EmbeddingSpaceMap) -> DenseMap:
    """Return the same map as one float32 matrix; it must not read lifted features."""
    matrix = one.affine().astype(np.float32)
    return DenseMap(np.ascontiguousarray(matrix[:, :-1]), matrix[:, -1].copy())


def name_of(number: int) -> str:
    """Return the id of a drawn map; ids sort by number."""
    return f"map-{number:07}"


def write_bundle(maps: Iterable[EmbeddingSpaceMap], folder: Path) -> Bundle:
    """Write maps as a bundle without records."""
    folder.mkdir(parents=True)
    writer = BundleWriter(folder)
    for number, one in enumerate(maps):
        writer.add(name_of(number), {}, {one.form: one}, {})
    writer.close()
    return Bundle.open(folder)
