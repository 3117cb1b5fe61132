"""Is the whole exact top ten inside the shortlist, and how long does it take?

    python -m benchmarks.shortlist make --pool POOL --bundle BUNDLE --maps 100000
    python -m benchmarks.shortlist time --pool POOL --bundle BUNDLE --target FOLDER/ATTRIBUTE
    python -m benchmarks.shortlist recall --pool POOL --work DIR --data DIR --maps 100000

``make`` writes mixed and perturbed real maps (:mod:`benchmarks.mixtures`) as a bundle and indexes
it. ``time`` ranks them for a target, or several, through a shortlist and, with ``--exact``, all of
them, minutes each, and says how many of the exact top ten are inside: the recall. A target that is
itself a source of the pool is ranked without the mixtures that hold its own map.

``recall`` does both for every attribute of every dataset, or for ``--targets`` of them, evenly
spaced, and sums up. It keeps the bundle and the exact top tens in the folder of the work and goes
on where it was stopped: hours for 100,000 maps. The pool is that of the transfer matrix
(``python -m benchmarks.truth pool``), or any with anchored maps.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.mixtures import Mixtures
from benchmarks.synthetic import write_bundle
from esm.common.errors import EsmError
from esm.common.storage import read_json, write_json
from esm.encoder.cache import EmbeddingCache
from esm.maps.forms import LowRankMap, MapForm
from esm.pool.base_model import load_base
from esm.pool.bundle.index import ShortlistIndex, build_index
from esm.pool.bundle.read import Bundle
from esm.pool.pool import Pool
from esm.ranking.result import Balance, RankConfig
from esm.ranking.shortlist.search import find_shortlist
from esm.ranking.target import TargetTexts
from esm.scorers.likelihood.engine import Engine
from esm.scorers.likelihood.quick import QuickEngine
from esm.scorers.logme import evidences_of_moments
from esm.scorers.moments import Moments
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec

Numbers = npt.NDArray[np.int64]

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


def measure(
    pool: Pool, folder: Path, target: str, limit: int, exact: bool, known: Path | None = None
) -> dict[str, object]:
    """Rank the mixtures for a target.

    Args:
        pool: The pool of the real maps.
        folder: Bundle of the mixtures.
        target: Folder and attribute.
        limit: Most maps to score through the shortlist.
        exact: Also score all of them.
        known: File of the exact top ten, written where it is missing.
    """
    moments, source = moments_of(pool, target)
    engine = Engine(moments, evidences_of_moments)
    started = time.perf_counter()
    bundle = Bundle.open(folder)
    index = ShortlistIndex.load(bundle, MapForm.ANCHORED)
    _ = index.near
    loaded = time.perf_counter()
    quick = QuickEngine(engine)

    def evidences(judge: Engine | QuickEngine, numbers: Numbers) -> npt.NDArray[np.float64]:
        places = index.places[numbers].tolist()
        maps = (bundle.shard(shard).map(row) for shard, row in places)
        scores: npt.NDArray[np.float64] = judge.evidences(maps).mean(axis=1)
        return scores

    everyone = others(pool, source, len(index))
    begin, cpu = time.perf_counter(), time.process_time()
    found = find_shortlist(
        index, partial(evidences, engine), limit, everyone, partial(evidences, quick)
    )
    result: dict[str, object] = {
        "target": "/".join(target.split("/")[-2:]),
        "load": loaded - started,
        "shortlist": time.perf_counter() - begin,
        "shortlist_cpu": time.process_time() - cpu,
        "left_out": found.left_out,
    }
    if exact:
        begin = time.perf_counter()
        if known is None or not known.exists():
            scores = evidences(engine, everyone)
            top = everyone[np.argsort(-scores, kind="stable")[:10]].tolist()
            result["exact"] = time.perf_counter() - begin
            if known is not None:
                write_json(known, {"top": top})
        else:
            top = read_json(known)["top"]
        result["inside"] = int(np.isin(top, found.numbers).sum())
    return result


def recall(pool: Pool, work: Path, data: Path, count: int, targets: int | None, limit: int) -> None:
    """Measure over many targets; datasets are halved, so that one half can check the other."""
    bundle = work / f"bundle-{count}"
    if not (bundle / "shortlist-anchored.safetensors").exists():
        make(pool, bundle, count)
    truth = work / f"truth-{count}"
    truth.mkdir(exist_ok=True)
    names = attributes(data)
    if targets is not None:
        names = [names[number] for number in np.linspace(0, len(names) - 1, targets).astype(int)]
    datasets = sorted({name.rpartition("/")[0] for name in names})
    inside: dict[int, list[int]] = {0: [], 1: []}
    seconds = []
    for name in names:
        folder, _, attribute = name.rpartition("/")
        known = truth / f"{Path(folder).name}@{attribute}.json"
        try:
            found = measure(pool, bundle, name, limit, exact=True, known=known)
        except EsmError as error:
            print(json.dumps({"target": name, "skipped": str(error)}), flush=True)
            continue
        print(json.dumps(found), flush=True)
        inside[datasets.index(folder) % 2].append(int(str(found["inside"])))
        seconds.append(float(str(found["shortlist"])))
    print(
        json.dumps(
            {
                "maps": count,
                "targets": len(seconds),
                "whole_top_ten_inside": {
                    half: f"{sum(one == 10 for one in found)} of {len(found)}"
                    for half, found in zip(("even", "odd"), inside.values(), strict=True)
                },
                "places": f"{sum(map(sum, inside.values()))} of {10 * len(seconds)}",
                "seconds_mean": float(np.mean(seconds)),
                "seconds_most": max(seconds),
            }
        )
    )


def attributes(data: Path) -> list[str]:
    """Return FOLDER/ATTRIBUTE of all datasets that can be read."""
    found = []
    for folder in sorted([*(data / "tasks").iterdir(), *(data / "targets").iterdir()]):
        try:
            targets = load_targets(TaskSpec(location=str(folder)))
        except EsmError as error:
            print(json.dumps({"dataset": folder.name, "skipped": str(error)}), flush=True)
            continue
        found += [f"{folder}/{name}" for name in targets[0].attributes]
    return found


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
    """Run one of the steps."""
    parser = argparse.ArgumentParser(description="Recall and seconds of a shortlist.")
    parser.add_argument("step", choices=("make", "time", "recall"))
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--maps", type=int, default=100_000)
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--targets", type=int)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pool = Pool.open(options.pool)
    if options.step == "recall":
        if options.work is None or options.data is None:
            parser.error("recall needs --work and --data")
        recall(pool, options.work, options.data, options.maps, options.targets, options.limit)
        return
    if options.bundle is None:
        parser.error(f"{options.step} needs --bundle")
    if options.step == "make":
        make(pool, options.bundle, options.maps)
    for target in options.target:
        found = measure(pool, options.bundle, target, options.limit, options.exact)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
