"""Our side of the benchmark: embed, score maps, rank, and how long that takes.

    python -m benchmarks.scoring JOB.json ANSWER.json

Jobs are described in :mod:`benchmarks.jobs`. The maps lie in a bundle on disk and are read one by
one, checksums and all, as ``esm rank`` reads them; ``stream`` reads blocks of a large bundle.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Clock, Memory, versions
from esm.common.runtime import show_progress
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.pool.bundle.read import Bundle
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import Balance, RankConfig
from esm.scorers.likelihood.engine import Engine
from esm.scorers.logme import evidences_of_moments, logme
from esm.scorers.moments import Moments, label_columns
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Problem

Job = Mapping[str, Any]

PEER_UPDATES = 50
_BLOCK = 256


def score_maps(job: Job) -> dict[str, Any]:
    """Score maps by case; the first one apart, since it also waits for the target's moments."""
    return {case["name"]: _score_case(case) for case in job["cases"]}


def _score_case(case: Job) -> dict[str, Any]:
    bundle, form = Bundle.open(Path(case["bundle"])), MapForm(case["form"])
    count = len(bundle)

    def maps(number: int) -> Iterator[EmbeddingSpaceMap]:
        return (bundle.entry(place).load_map(form) for place in range(number))

    _engine(case).evidences(maps(1))  # else the first clock also times what is loaded on first use
    with Clock() as first:
        _engine(case).evidences(maps(1))
    with Clock() as all_of_them:
        scores = _engine(case).evidences(maps(count)).mean(axis=1)
    alike = [_direct(case, one, PEER_UPDATES) for one in maps(case["compare"])]
    return {
        "first": first.seconds(),
        "total": all_of_them.seconds(),
        "maps": count,
        "bytes": sum(shard_bytes(bundle)) / count,
        "scores": scores[: case["compare"]].tolist(),
        "scores_50_updates": alike,
        "direct": [_direct(case, one) for one in maps(case["direct"])],
    }


def shard_bytes(bundle: Bundle) -> list[int]:
    """Return the sizes of a bundle's files of maps."""
    return [(bundle.folder / shard.file).stat().st_size for shard in bundle.manifest.maps]


def _engine(case: Job) -> Engine:
    base, labels = np.load(case["base"]), np.load(case["labels"])
    lifted = np.load(case["lifted"]) if case.get("lifted") else None
    columns = label_columns(Problem.CLASSIFICATION, labels, case["classes"])
    return Engine(Moments.of(base, lifted, columns), evidences_of_moments)


def _direct(case: Job, one: EmbeddingSpaceMap, reference_updates: int | None = None) -> float:
    """Return the score of the embeddings themselves, the map being float64.

    Args:
        case: The target.
        one: The map.
        reference_updates: Compute what the reference does, with so many updates; None: the
            maximum.
    """
    parts = [np.load(case["base"])]
    if one.lift_width:
        parts.append(np.load(case["lifted"]))
    inputs = np.hstack([*parts, np.ones((len(parts[0]), 1))]).astype(np.float64)
    features, labels = inputs @ one.affine().T, np.load(case["labels"])
    if reference_updates is None:
        return logme(features, labels)
    return logme(features, labels, variant="reference", max_updates=reference_updates)


def embed(job: Job) -> dict[str, Any]:
    """Load the packaged encoder and embed texts, with and without wide features."""
    texts = json.loads(Path(job["texts"]).read_text(encoding="utf-8"))["texts"]
    with Clock() as loading:
        encoder = Encoder.load(EncoderConfig(), "cpu")
    with Clock() as embedding:
        encoder.embed(texts)
    with Clock() as wide:
        encoder.embed(texts, wide=True)
    return {"load": loading.seconds(), "embed": embedding.seconds(), "embed_wide": wide.seconds()}


def rank(job: Job) -> dict[str, Any]:
    """Rank a pool for a target whose texts no cache knows, as ``esm rank`` does."""
    config = RankConfig(form=MapForm.PUBLISHED, balance=Balance.OFF)
    with Clock() as clock:
        ranking = rank_sources(
            TaskSpec(location=job["target"]),
            Pool.open(Path(job["pool"])),
            config,
            cache=EmbeddingCache(None),
            device="cpu",
        )
    ((_, ranked),) = ranking.attributes.items()
    scores = {line.source: line.score for line in ranked.ranking}
    return {"rank": clock.seconds(), "maps": len(scores), "scores": scores}


def stream(job: Job) -> dict[str, Any]:
    """Score every map of a bundle in blocks."""
    bundle = Bundle.open(Path(job["bundle"]))
    with Clock() as clock:
        engine = _engine(job)
        best = -np.inf
        for _, stack in bundle.stacks(MapForm(job["form"]), _BLOCK):
            best = max(best, float(engine.score(stack).mean(axis=1).max()))
    return {"total": clock.seconds(), "maps": len(bundle), "best": best}


_KINDS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "maps": score_maps,
    "embed": embed,
    "rank": rank,
    "stream": stream,
}


def main() -> None:
    """Read the job, do it, write the answer."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    show_progress(False)
    with Memory() as memory:
        found = _KINDS[job["kind"]](job)
    answer = {
        "result": found,
        "memory": memory.peaks(),
        "versions": versions("torch", "numpy", "transformers"),
    }
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
