"""A million maps through the shortlist, of which only signatures are stored.

    python -m benchmarks.shortlist_million --work DIR --pool POOL --target FOLDER/ATTRIBUTE

Mixed and perturbed real maps (:mod:`benchmarks.mixtures`) are made from seeds, signed and dropped:
about a millisecond each, in parts that a second run does not repeat; ``--minutes`` ends this early
and goes on with those that are there. The few maps that the search asks for are made again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.mixtures import Mixtures
from benchmarks.shortlist import moments_of, others, real_maps
from esm.common.neighbours import NearIndex
from esm.common.storage import load_tensors, save_tensors
from esm.pool.bundle.index import ShortlistIndex
from esm.pool.bundle.signature import SignatureBasis
from esm.pool.pool import Pool
from esm.ranking.shortlist.search import find_shortlist
from esm.scorers.likelihood.engine import Engine
from esm.scorers.likelihood.quick import QuickEngine
from esm.scorers.logme import evidences_of_moments

_BLOCK, _PART, _SAMPLE = 250, 5000, 4000


def sign(mixtures: Mixtures, folder: Path, count: int, minutes: float) -> int:
    """Write signatures part by part; return how many maps have them."""
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * minutes
    basis = SignatureBasis.of(
        lambda: (mixtures.maps(range(i, i + _BLOCK)) for i in range(0, _SAMPLE, _BLOCK))
    )
    for begin in range(0, count, _PART):
        path = folder / f"part-{begin:08}.safetensors"
        if path.exists():
            continue
        if time.monotonic() > until:
            return begin
        blocks = range(begin, min(begin + _PART, count), _BLOCK)
        rows = [basis.sign(mixtures.maps(range(i, min(i + _BLOCK, count)))) for i in blocks]
        save_tensors(path, {"signatures": np.concatenate(rows)})
    return count


def build(folder: Path, path: Path) -> None:
    """Write one index of all parts."""
    parts = [load_tensors(part)["signatures"] for part in sorted(folder.glob("part-*"))]
    signatures = np.concatenate(parts)
    save_tensors(path, {"signatures": signatures, "centres": NearIndex.cells(signatures)})


def search(mixtures: Mixtures, path: Path, pool: Pool, target: str) -> None:
    """Load the index, search for one target and print the seconds."""
    moments, source = moments_of(pool, target)
    engine = Engine(moments, evidences_of_moments)
    started = time.perf_counter()
    found = load_tensors(path)
    signatures = found["signatures"]
    places = np.zeros((len(signatures), 2), dtype=np.int64)
    index = ShortlistIndex(places, signatures, found["centres"])
    _ = index.near
    loaded = time.perf_counter()
    quick, making = QuickEngine(engine), 0.0

    def score(
        judge: Engine | QuickEngine, numbers: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        nonlocal making
        parts = []
        for begin in range(0, len(numbers), _BLOCK):
            start = time.perf_counter()
            stack = mixtures.maps(numbers[begin : begin + _BLOCK].tolist())
            making += time.perf_counter() - start
            parts.append(judge.score(stack).mean(axis=1))
        return np.concatenate(parts)

    allowed = others(pool, source, len(index))
    begin = time.perf_counter()
    chosen = find_shortlist(
        index,
        lambda numbers: score(engine, numbers),
        2000,
        allowed,
        lambda numbers: score(quick, numbers),
    )
    done = time.perf_counter()
    print(
        json.dumps(
            {
                "target": target,
                "maps": len(index),
                "index_bytes": path.stat().st_size,
                "load": loaded - started,
                "search": done - begin,
                "of_it_making_maps_again": making,
                "left_out": chosen.left_out,
                "best": float(np.nanmax(chosen.scores)),
            }
        )
    )


def main() -> None:
    """Sign, index, search."""
    parser = argparse.ArgumentParser(description="A million maps through the shortlist.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--target", required=True, help="FOLDER/ATTRIBUTE")
    parser.add_argument("--maps", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pool = Pool.open(options.pool)
    mixtures = Mixtures(list(real_maps(pool).values()))
    started = time.perf_counter()
    signed = sign(mixtures, options.work / "parts", options.maps, options.minutes)
    print(json.dumps({"signed": signed, "seconds": time.perf_counter() - started}), flush=True)
    path = options.work / f"index-{signed}.safetensors"
    if not path.exists():
        started = time.perf_counter()
        build(options.work / "parts", path)
        print(json.dumps({"index_seconds": time.perf_counter() - started}), flush=True)
    search(mixtures, path, pool, options.target)


if __name__ == "__main__":
    main()
