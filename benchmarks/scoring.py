"""Seconds and memory per map: our scores of a pool, ours map by map, and the peer's steps.

    python -m benchmarks.scoring                         # d = 768, rank 16, n = 1,000, K = 4
    python -m benchmarks.scoring --width 384 --lift-width 384 --maps 100000 --plain 0 --peer 0
    python -m benchmarks.scoring --form dense --maps 64

The maps lie in a bundle on disk, whose loading is part of our time. *The peer's steps* are those
of hf-dataset-selector 0.2.1 for one map: batches of 128 embeddings through a linear layer in
float32, then LogME by a singular value decomposition of the (d, d) moments, or of the features
where n <= d, and up to 50 updates per class. They are carried out here by NumPy and torch with
the same number of threads, on as many maps as is affordable; that a map is loaded is not counted.
It cannot read wide features, so its scores are compared on the embeddings that our maps give.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.synthetic import Target, draw_dense, draw_low_rank, draw_target, write_bundle
from esm.bundle import Bundle
from esm.likelihood.engine import Engine
from esm.likelihood.rules import MAX_UPDATES
from esm.maps import EmbeddingSpaceMap, MapForm
from esm.moments import Float64, Moments, label_columns
from esm.scorers.logme import evidences_of_moments
from esm.tasks.task import Problem

_BLOCK = 256
_PEER_BATCH = 128
_PEER_UPDATES = 50


class Memory:
    """Watches the peak of anonymous and of mapped memory while something runs (Linux only).

    Attributes:
        anonymous: Peak, bytes.
        mapped: Peak of pages of mapped files, bytes; the system takes these back when it wants.
    """

    def __init__(self) -> None:
        self.anonymous, self.mapped = 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            try:
                status = Path("/proc/self/status").read_text(encoding="ascii")
            except OSError:
                return
            lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            self.anonymous = max(self.anonymous, _kilobytes(lines.get("RssAnon", "0")))
            self.mapped = max(self.mapped, _kilobytes(lines.get("RssFile", "0")))


def _kilobytes(value: str) -> int:
    return int(value.split()[0]) * 1024


# ------------------------------------------------------------------------------------- our scores


def score_bundle(target: Target, folder: Path, classes: int) -> Float64:
    """Score every map of a bundle."""
    engine, bundle = _engine(target, classes), Bundle.open(folder)
    scores = np.empty(len(bundle))
    for numbers, stack in bundle.stacks(MapForm.ANCHORED, _BLOCK):
        scores[numbers] = engine.score(stack).mean(axis=1)
    return scores


def score_dense(target: Target, maps: Sequence[EmbeddingSpaceMap], classes: int) -> Float64:
    """Score dense maps that are in memory; they read no lifted features."""
    moments = _moments(replace(target, lifted=None), classes)
    scores: Float64 = Engine(moments, evidences_of_moments).evidences(maps).mean(axis=1)
    return scores


def _engine(target: Target, classes: int) -> Engine:
    return Engine(_moments(target, classes), evidences_of_moments)


def _moments(target: Target, classes: int) -> Moments:
    columns = label_columns(Problem.CLASSIFICATION, target.labels, classes)
    return Moments.of(target.base, target.lifted, columns)


# ---------------------------------------------------------------------------------- map by map


def plain_scores(target: Target, maps: Sequence[EmbeddingSpaceMap], classes: int) -> Float64:
    """Score map by map from moments: one eigendecomposition each."""
    moments = _moments(target, classes)
    return np.array([evidences_of_moments(moments.mapped(one)).mean() for one in maps])


def peer_scores(target: Target, maps: Sequence[EmbeddingSpaceMap], updates: int) -> Float64:
    """Do the peer's steps for each map."""
    return np.array([_peer_logme(_peer_embeddings(target, one), target, updates) for one in maps])


def _peer_embeddings(target: Target, one: EmbeddingSpaceMap) -> Float64:
    """Map the embeddings in batches; for a wide map, also do the work of the dense layer."""
    width = target.base.shape[1]
    weight = one.tensors().get("model.weight", np.eye(width, dtype=np.float32))
    layer = torch.from_numpy(np.asarray(weight, dtype=np.float32))
    parts = []
    for start in range(0, len(target.base), _PEER_BATCH):
        batch = torch.from_numpy(target.base[start : start + _PEER_BATCH])
        parts.append((batch @ layer.T).numpy())
    mapped = np.vstack(parts)
    if one.lift_width:
        return one.apply(target.base, target.lifted).astype(np.float64)
    return (mapped + one.bias).astype(np.float64)


def _peer_logme(features: Float64, target: Target, updates: int) -> float:
    n, d = features.shape
    if n > d:
        _, squares, right = np.linalg.svd(features.T @ features)
        singular = np.sqrt(squares)
        left = (features @ right.T) / singular
    else:
        left, singular, _ = np.linalg.svd(features, full_matrices=False)
    sigma = np.square(singular)
    evidences = []
    for label in range(int(target.labels.max()) + 1):
        column = (target.labels == label).astype(np.float64)
        squares = np.square(left.T @ column)
        rest = column @ column - squares.sum()
        alpha = beta = 1.0
        for _ in range(updates):
            ratio = alpha / beta
            gamma = (sigma / (sigma + ratio)).sum()
            norm = (sigma * squares / np.square(ratio + sigma)).sum()
            residual = (squares / np.square(1 + sigma / ratio)).sum() + rest
            alpha, beta = gamma / (norm + 1e-5), (n - gamma) / (residual + 1e-5)
            if abs(alpha / beta - ratio) <= 1e-3 * ratio:
                break
        total = d * np.log(alpha) + n * np.log(beta) - np.log(alpha + beta * sigma).sum()
        evidences.append((total - beta * residual - alpha * norm - n * np.log(2 * np.pi)) / (2 * n))
    return float(np.mean(evidences))


# ----------------------------------------------------------------------------------------- main


class Clock:
    """Wall-clock and processor seconds of a block; the second bear a busy machine better."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Clock:
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def per_map(self, count: int) -> dict[str, float]:
        """Return the seconds of one of ``count`` maps."""
        return {"wall": self.wall / count, "cpu": self.cpu / count}


def main() -> None:
    """Measure and print; the figures are JSON on the last line."""
    options = _options()
    torch.set_num_threads(options.threads)
    target = draw_target(
        options.examples, options.width, options.lift_width, options.classes, options.seed
    )
    low_rank = (options.width, options.lift_width, options.rank, options.seed)

    def maps(count: int) -> Iterator[EmbeddingSpaceMap]:
        if options.form == "dense":
            return draw_dense(count, options.width, options.seed)
        return draw_low_rank(count, *low_rank)

    result: dict[str, Any] = {"options": vars(options), "load_before": os.getloadavg()}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Path(folder) / "bundle"
        if options.form == "dense":
            at_hand = list(maps(options.maps))
        else:
            bundle = write_bundle(draw_low_rank(options.maps, *low_rank), place)
            size = sum((place / shard.file).stat().st_size for shard in bundle.manifest.maps)
            result["bytes_per_map"] = size / options.maps
        with Memory() as memory, Clock() as clock:
            if options.form == "dense":
                scores = score_dense(target, at_hand, options.classes)
            else:
                scores = score_bundle(target, place, options.classes)
    result["ours"] = clock.per_map(options.maps)
    result["seconds"] = {"wall": clock.wall, "cpu": clock.cpu}
    result["peak_anonymous"], result["peak_mapped"] = memory.anonymous, memory.mapped
    _compare(result, scores, options, target, maps)
    result["load_after"] = os.getloadavg()
    for name, value in result.items():
        print(f"{name}: {value}")
    print(json.dumps(result))


def _compare(
    result: dict[str, Any],
    scores: Float64,
    options: argparse.Namespace,
    target: Target,
    maps: Callable[[int], Iterator[EmbeddingSpaceMap]],
) -> None:
    """Time the computations map by map, and compare their scores."""

    def difference(found: Float64) -> float:
        return float(np.abs(found - scores[: len(found)]).max())

    def compare(name: str, count: int, score: Callable[[], Float64]) -> Float64:
        with Clock() as clock:
            found = score()
        seconds = result[name] = clock.per_map(count)
        result[f"{name}_over_ours"] = {key: seconds[key] / result["ours"][key] for key in seconds}
        return found

    if options.plain:
        at_hand = list(maps(options.plain))
        plain = compare(
            "plain", options.plain, lambda: plain_scores(target, at_hand, options.classes)
        )
        result["difference_to_plain"] = difference(plain)
    if options.peer:
        at_hand = list(maps(options.peer))
        peer = compare("peer", options.peer, lambda: peer_scores(target, at_hand, _PEER_UPDATES))
        if options.examples > options.width:  # else the peer leaves out part of the determinant
            result["difference_to_peer"] = difference(peer)
            reference = peer_scores(target, at_hand, MAX_UPDATES)
            result["difference_to_reference"] = difference(reference)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds and memory per map.")
    parser.add_argument("--form", choices=("low-rank", "dense"), default="low-rank")
    parser.add_argument("--width", type=int, default=768, help="d")
    parser.add_argument("--lift-width", type=int, default=768, help="p")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--examples", type=int, default=1000, help="n")
    parser.add_argument("--classes", type=int, default=4, help="K")
    parser.add_argument("--maps", type=int, default=1500)
    parser.add_argument("--plain", type=int, default=20, help="maps to score map by map")
    parser.add_argument("--peer", type=int, default=10, help="maps for the peer's steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default=None, help="where the bundle is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
