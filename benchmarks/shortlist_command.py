"""``esm rank`` itself on a large packed pool, from the start of the process to its end.

    python -m benchmarks.shortlist_command --pool POOL --work DIR --target FOLDER [--maps 100000]

Mixed and perturbed real maps (:mod:`benchmarks.mixtures`) are written as a packed pool whose
sources have records of their own, and indexed; that is not repeated. Then the command runs as a
user runs it, imports, loading the encoder and embedding the texts included, through a shortlist
and, with ``--whole``, without one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.materials import write_pool
from benchmarks.mixtures import Mixtures
from benchmarks.shortlist import real_maps
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.pool.bundle.index import index_bundle
from esm.pool.bundle.read import Bundle
from esm.pool.pool import Pool

_BLOCK = 250


def make(pool: Pool, folder: Path, count: int) -> None:
    """Write a packed pool of mixtures with its index."""
    mixtures = Mixtures(list(real_maps(pool).values()))

    def maps() -> Iterator[EmbeddingSpaceMap]:
        for begin in range(0, count, _BLOCK):
            stack = mixtures.maps(range(begin, min(begin + _BLOCK, count)))
            yield from (stack.map(row) for row in range(len(stack)))

    begun = folder.with_suffix(".tmp")
    shutil.rmtree(begun, ignore_errors=True)
    write_pool(maps(), begun, pool.manifest, MapForm.ANCHORED)
    shutil.copy2(pool.folder / "lift.safetensors", begun)
    index_bundle(Bundle.open(begun))
    begun.rename(folder)


def rank(pool: Path, target: str, threads: int, *options: str) -> dict[str, Any]:
    """Run the command; return its seconds and what it ranked first."""
    started = time.perf_counter()
    verb = [sys.executable, "-m", "esm", "--quiet", "rank", target, "--pool", str(pool)]
    done = subprocess.run(
        [*verb, "--json", "--no-cache", *options],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    attributes = json.loads(done.stdout)["attributes"]
    return {
        "seconds": seconds,
        "top": {
            name: [line["source"] for line in found["ranking"][:10]]
            for name, found in attributes.items()
        },
        "not_scored": [found["not_scored"] for found in attributes.values()],
    }


def main() -> None:
    """Make the pool, run the command, print what it took."""
    parser = argparse.ArgumentParser(description="Seconds of esm rank on a large pool.")
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--maps", type=int, default=100_000)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--whole", action="store_true", help="also without a shortlist")
    options, more = parser.parse_known_args()
    packed = options.work / f"pool-{options.maps}"
    if not packed.is_dir():
        make(Pool.open(options.pool), packed, options.maps)
    found = rank(packed, options.target, options.threads, "--shortlist", str(options.limit), *more)
    print(json.dumps({"maps": options.maps, **found}), flush=True)
    if options.whole:
        whole = rank(packed, options.target, options.threads, *more)
        inside = {
            name: len(set(top) & set(found["top"][name])) for name, top in whole["top"].items()
        }
        print(json.dumps({"seconds_of_all": whole["seconds"], "of_the_top_ten": inside}))


if __name__ == "__main__":
    main()
