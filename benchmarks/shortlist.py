"""Is the whole exact top ten inside the shortlist, and how long does it take?

    python -m benchmarks.shortlist make --pool POOL --bundle BUNDLE --maps 100000
    python -m benchmarks.shortlist time --pool POOL --bundle BUNDLE --target FOLDER/ATTRIBUTE

``make`` writes mixed and perturbed real maps (:mod:`benchmarks.mixtures`) as a bundle and indexes
it. ``time`` ranks them for a target, or several, through a shortlist and, with ``--exact``, all of
them, minutes each, and says how many of the exact top ten are inside: the recall. A target that is
itself a source of the pool is ranked without the mixtures that hold its own map.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.mixtures import Mixtures
from benchmarks.synthetic import write_bundle
from esm.base import load_base
from esm.bundle import Bundle
from esm.embeddings import EmbeddingCache
from esm.likelihood.engine import Engine
from esm.likelihood.quick import QuickEngine
from esm.maps import LowRankMap, MapForm
from esm.moments import Moments
from esm.pool import Pool
from esm.ranking import Balance, RankConfig
from esm.scorers.logme import evidences_of_moments
from esm.shortlist import ShortlistIndex, build_index, find_shortlist
from esm.target_texts import TargetTexts
from esm.tasks.read import load_targets
from esm.tasks.spec import TaskSpec

_BLOCK = 256


def real_maps(pool: Pool) -> dict[str, LowRankMap]:
    """Return the anchored maps of a pool by source."""
    entries, _ = pool.entries()
    found = {entry.id: entry.load_map(MapForm.ANCHORED) for entry in entries}
    return {source: one for source, one in found.items() if isinstance(one, LowRankMap)}


def make(pool: Pool, folder: Path, count: int) -> None:
    """Write the mixtures as a bundle, and its index."""
    mixtures = Mixtures(list(real_maps(pool).values()))

    def maps() -> Iterator[LowRankMap]:
        for begin in range(0, count, _BLOCK):
            stack = mixtures.maps(range(begin, min(begin + _BLOCK, count)))
            for row in range(len(stack)):
                one = stack.map(row)
                assert isinstance(one, LowRankMap)
                yield one

    bundle = write_bundle(maps(), folder)
    started = time.perf_counter()
    build_index(bundle, MapForm.ANCHORED).save(bundle, MapForm.ANCHORED)
    print(json.dumps({"maps": count, "index_seconds": time.perf_counter() - started}))


def measure(pool: Pool, folder: Path, target: str, limit: int, exact: bool) -> dict[str, object]:
    """Rank the mixtures for a target."""
    moments, source = moments_of(pool, target)
    engine = Engine(moments, evidences_of_moments)
    started = time.perf_counter()
    bundle = Bundle.open(folder)
    index = ShortlistIndex.load(bundle, MapForm.ANCHORED)
    _ = index.near
    loaded = time.perf_counter()

    def score(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        maps = (_map(bundle, *index.places[number].tolist()) for number in numbers)
        scores: npt.NDArray[np.float64] = engine.evidences(maps).mean(axis=1)
        return scores

    quick = QuickEngine(engine)

    def estimate(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        maps = (_map(bundle, *index.places[number].tolist()) for number in numbers)
        estimates: npt.NDArray[np.float64] = quick.evidences(maps).mean(axis=1)
        return estimates

    everyone = others(pool, source, len(index))
    begin = time.perf_counter()
    found = find_shortlist(index, score, limit, everyone, estimate)
    done = time.perf_counter()
    result: dict[str, object] = {
        "target": target,
        "load": loaded - started,
        "shortlist": done - begin,
        "left_out": found.left_out,
    }
    if exact:
        scores = score(everyone)
        top = everyone[np.argsort(-scores, kind="stable")[:10]]
        result["exact"] = time.perf_counter() - done
        result["whole"] = bool(np.isin(top, found.numbers).all())
        result["inside"] = int(np.isin(top, found.numbers).sum())
    return result


def _map(bundle: Bundle, shard: int, row: int) -> LowRankMap:
    rows = bundle.shard(shard).row(row)
    return LowRankMap(float(rows["scale"]), rows["left"].T, rows["right"].T, rows["bias"])


def others(pool: Pool, source: str, count: int) -> npt.NDArray[np.int64]:
    """Return the mixtures without the target's own map."""
    maps = real_maps(pool)
    if source not in maps:
        return np.arange(count)
    parents = Mixtures(list(maps.values())).recipes(range(count), noise=False).parents
    return np.flatnonzero((parents != list(maps).index(source)).all(axis=1))


def moments_of(pool: Pool, target: str) -> tuple[Moments, str]:
    """Return a target's moments, at most 300 rows, and its folder's name."""
    folder, _, attribute = target.rpartition("/")
    targets = load_targets(TaskSpec(location=folder))
    config = RankConfig(max_examples=300)
    encoder = load_base(pool, "cpu", model=None, max_chunks=None)
    texts = TargetTexts(targets, config, encoder, EmbeddingCache.default(), pool.lift)
    return texts.attribute(attribute, Balance.AUTO)[0].moments, Path(folder).name


def main() -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description="Recall and seconds of a shortlist.")
    parser.add_argument("step", choices=("make", "time"))
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--maps", type=int, default=100_000)
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pool = Pool.open(options.pool)
    if options.step == "make":
        make(pool, options.bundle, options.maps)
    results = []
    for target in options.target:
        results.append(measure(pool, options.bundle, target, options.limit, options.exact))
        print(json.dumps(results[-1]), flush=True)
    if options.exact and results:
        whole = sum(bool(result["whole"]) for result in results)
        print(json.dumps({"targets": len(results), "whole_top_ten_inside": whole}))


if __name__ == "__main__":
    main()
