"""What a source takes on disk, and what compressing its map does to rankings.

    python -m benchmarks.disk --work WORK

Packs the pool of :mod:`benchmarks.truth` in float16 with its dense maps compressed to several
ranks, ranks every target with each bundle, and compares the orders with those of the dense maps as
the pool stores them, read into float32 and scored in float64. Sidecars (head, vectors, what is kept
of the texts) are told apart from the weights. Nothing is trained. Writes ``disk.md`` and
``disk.csv`` into ``benchmarks/results/``; the pool stays as it is.
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from benchmarks.scoring import shard_bytes
from benchmarks.truth import PLAN, RESULTS, Lab
from esm.common.runtime import show_progress
from esm.encoder.cache import EmbeddingCache
from esm.maps.forms import MapForm
from esm.pool.pack import pack_pool
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import RankConfig

RANKS = (8, 16, 32, 64)
_SIDECARS = ("head.safetensors", "vectors.safetensors", "texts.safetensors", "source.json")


def scores_of(lab: Lab, pool: Pool, target: str) -> dict[str, float]:
    """Return the score of every source by its published map."""
    config = RankConfig(form=MapForm.PUBLISHED)
    found = rank_sources(
        lab.target_spec(target), pool, config, cache=EmbeddingCache.default(), device="cpu"
    )
    ((_, ranked),) = found.attributes.items()
    return {line.source: line.score for line in ranked.ranking}


def weights_at(width: int, rank: int) -> int:
    """Return the bytes of ``a h + U V^T h + b`` in float16."""
    return 2 * (2 * width * rank + width + 1)


def agreement(one: dict[str, float], other: dict[str, float]) -> float:
    """Return Kendall's tau-b of two scorings of the same sources."""
    names = sorted(one)
    return float(kendalltau([one[name] for name in names], [other[name] for name in names])[0])


def compare(lab: Lab, targets: Sequence[str]) -> pd.DataFrame:
    """Return Kendall's tau and the loss of score by target and rank."""
    dense = Pool.open(lab.pool_folder)
    wanted = {target: scores_of(lab, dense, target) for target in targets}
    rows = []
    for rank in RANKS:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "bundle"
            report = pack_pool(dense, place, dtype="float16", rank=rank)
            packed = Pool.open(place)
            assert packed.bundle is not None  # it was just packed
            shards = zip(packed.bundle.manifest.maps, shard_bytes(packed.bundle), strict=True)
            size = sum(size for shard, size in shards if shard.form is MapForm.PUBLISHED)
            for target in targets:
                found = scores_of(lab, packed, target)
                rows.append(
                    {
                        "target": target,
                        "rank": rank,
                        "bytes": round(size / len(packed.bundle)),
                        "loss": round(float(np.mean(list(report.losses.values()))), 4),
                        "tau": round(agreement(wanted[target], found), 4),
                    }
                )
        print(f"rank {rank} done", flush=True)
    return pd.DataFrame(rows)


def sidecars(pool: Pool) -> dict[str, float]:
    """Return the mean bytes of what stands beside the maps, by file."""
    folders = [entry.folder for entry in pool.entries()[0]]
    return {
        name: float(np.mean([(folder / name).stat().st_size for folder in folders]))
        for name in _SIDECARS
    }


def render(table: pd.DataFrame, beside: dict[str, float], width: int) -> str:
    """Return both as Markdown."""
    rows = []
    for rank, part in table.groupby("rank"):
        error = part.tau.std(ddof=1) / len(part) ** 0.5
        rows.append(
            {
                "rank": rank,
                f"bytes of weights, d = {width}": f"{part.bytes.iloc[0]:,}",
                "the same, d = 768": f"{weights_at(768, int(str(rank))):,}",
                "lost of the map": f"{part.loss.iloc[0]:.3f}",
                "Kendall's tau to dense": f"{part.tau.mean():.3f} ± {error:.3f}",
                "lowest": f"{part.tau.min():.3f}",
            }
        )
    sizes = ", ".join(f"{name} {size:,.0f}" for name, size in beside.items())
    return (
        f"{pd.DataFrame(rows).to_markdown(index=False)}\n\nMeans over {table.target.nunique()}"
        " targets, published maps of the pool of `benchmarks/truth.toml`, compressed to float16;"
        " compared with the dense maps as the pool stores them, scored in float64. Beside the maps,"
        f" bytes per source: {sizes}. Made by `python -m benchmarks.disk`.\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("runs/truth"))
    options = parser.parse_args(arguments)
    show_progress(False)
    lab = Lab(tomllib.loads(PLAN.read_text(encoding="utf-8")), Path(), options.work)
    table = compare(lab, lab.plan["targets"]["all"])
    pool = Pool.open(lab.pool_folder)
    text = render(table, sidecars(pool), pool.manifest.base.width)
    print(text)
    table.to_csv(RESULTS / "disk.csv", index=False, lineterminator="\n")
    (RESULTS / "disk.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
