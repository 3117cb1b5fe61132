"""Let every selector score every target of the transfer matrix, and time it.

Writes ``scores.csv`` (target, selector, source, score, gain) and ``selectors.csv`` (seconds and
bytes per source, by target and selector) into ``benchmarks/results/``, from which
:mod:`benchmarks.quality` makes the verdict without a model::

    python -m benchmarks.scores --work WORK

Seconds are those of a ranking as a user would wait for it: the model load, the embedding of the
target by the base model or by all tuned models, whichever the selector reads, and the scoring.
The embeddings are made once and timed once per target; what each selector adds is timed apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.truth import PLAN, RESULTS, Lab
from esm.common.errors import EsmError
from esm.common.runtime import show_progress
from esm.encoder.cache import EmbeddingCache
from esm.maps.forms import MapForm
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import Balance, RankConfig, Ranking
from esm.scorers.base import EmbeddingKind, Need
from esm.scorers.registry import ScorerName, make_scorer

Row = dict[str, object]


@dataclass(frozen=True)
class Selector:
    """A way to rank: a scorer with its settings."""

    name: str
    config: RankConfig


def selectors() -> list[Selector]:
    """Return all ways to rank, those that read tuned models last.

    The fused scorer is not among them: its weights come from the same truth, so the verdict fits
    them anew without the dataset that it is judged on.
    """
    named = {
        "logme": RankConfig(),
        "logme-plain": RankConfig(balance=Balance.OFF),
        "published": RankConfig(form=MapForm.PUBLISHED),
        "published-plain": RankConfig(form=MapForm.PUBLISHED, balance=Balance.OFF),
        "leep-mapped": RankConfig(scorer=ScorerName.LEEP, embeddings=EmbeddingKind.MAPPED),
        "nce-mapped": RankConfig(scorer=ScorerName.NCE, embeddings=EmbeddingKind.MAPPED),
        "leep": RankConfig(scorer=ScorerName.LEEP, embeddings=EmbeddingKind.TUNED),
        "nce": RankConfig(scorer=ScorerName.NCE, embeddings=EmbeddingKind.TUNED),
        "hscore-mapped": RankConfig(scorer=ScorerName.HSCORE, embeddings=EmbeddingKind.MAPPED),
        "tuned-logme-plain": RankConfig(scorer=ScorerName.TUNED_LOGME, balance=Balance.OFF),
    }
    own = {
        ScorerName.FUSED,
        ScorerName.RANDOM,
        ScorerName.STATIC,
        *(config.scorer for config in named.values()),
    }
    own -= {ScorerName.TUNED_LOGME, ScorerName.HSCORE}
    named |= {str(name): RankConfig(scorer=name) for name in ScorerName if name not in own}
    found = [Selector(name, config) for name, config in named.items()]
    return sorted(found, key=lambda one: (reads_tuned(one), one.name))


def reads_tuned(selector: Selector) -> bool:
    """Whether a selector needs the tuned encoders."""
    return Need.TUNED in _needs(selector)


def _needs(selector: Selector) -> frozenset[Need]:
    return make_scorer(selector.config.scorer, embeddings=selector.config.embeddings).needs


def bytes_per_source(pool: Pool, selector: Selector) -> float:
    """Return what a selector needs on disk per source, in the mean over the pool."""
    entries, _ = pool.entries()
    sizes = [_bytes(entry.folder, selector) for entry in entries]
    return sum(sizes) / len(sizes)


def _bytes(folder: Path, selector: Selector) -> int:
    needs = _needs(selector)
    form = selector.config.form or MapForm.ANCHORED
    parts = {
        Need.MAP: folder / str(form),
        Need.TUNED: folder / "model",
        Need.HEAD: folder / "head.safetensors",
        Need.VECTORS: folder / "vectors.safetensors",
    }
    return sum(
        file.stat().st_size
        for need in needs & parts.keys()
        for file in (parts[need].rglob("*") if parts[need].is_dir() else [parts[need]])
        if file.is_file()
    )


def score_target(
    lab: Lab, pool: Pool, target: str, chosen: Sequence[Selector], cache: EmbeddingCache
) -> tuple[list[Row], list[Row]]:
    """Return the scores and the costs of all selectors on one target, embeddings being cached."""
    scores: list[Row] = []
    costs: list[Row] = []
    for selector in chosen:
        try:
            found, seconds = _timed(lab, pool, target, selector, cache)
        except EsmError as error:
            print(f"{target}: {selector.name}: {error}", flush=True)
            continue
        ((_, ranked),) = found.attributes.items()
        scores += [
            {
                "target": target,
                "selector": selector.name,
                "source": line.source,
                "score": line.score,
                "gain": line.gain,
            }
            for line in ranked.ranking
        ]
        costs.append({"target": target, "selector": selector.name, "scoring": seconds})
    return scores, costs


def _timed(
    lab: Lab, pool: Pool, target: str, selector: Selector, cache: EmbeddingCache
) -> tuple[Ranking, float]:
    started = time.monotonic()
    found = rank_sources(lab.target_spec(target), pool, selector.config, cache=cache)
    return found, time.monotonic() - started


def embedding_seconds(
    lab: Lab, pool: Pool, targets: Sequence[str], chosen: Sequence[Selector]
) -> dict[bool, float]:
    """Return what embedding a target costs, by the base model and by all tuned ones.

    The excess of a first ranking over the same ranking with all embeddings cached, in the mean
    over a few targets.
    """
    found = {}
    for tuned in sorted({reads_tuned(one) for one in chosen}):
        selector = next(one for one in chosen if reads_tuned(one) is tuned)
        excess = 0.0
        for target in targets:
            with tempfile.TemporaryDirectory() as folder:
                cache = EmbeddingCache(Path(folder))
                cold, warm = (_timed(lab, pool, target, selector, cache)[1] for _ in range(2))
            excess += max(cold - warm, 0.0) / len(targets)
        found[tuned] = excess
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Score all targets, time the selectors and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("runs/truth"))
    parser.add_argument("--timed", type=int, default=2, help="targets to time the embedding on")
    parser.add_argument("--targets", default="", help="by commas; the others' scores stay")
    parser.add_argument("--maps-only", action="store_true", help="no selector of tuned models")
    options = parser.parse_args(arguments)
    show_progress(False)
    lab = Lab(tomllib.loads(PLAN.read_text(encoding="utf-8")), Path(), options.work)
    pool = Pool.open(lab.pool_folder)
    chosen = [one for one in selectors() if not (options.maps_only and reads_tuned(one))]
    targets = options.targets.split(",") if options.targets else lab.plan["targets"]["all"]
    scores: list[Row] = []
    costs: list[Row] = []
    RESULTS.mkdir(exist_ok=True)
    for target in targets:
        said, cost = score_target(lab, pool, target, chosen, EmbeddingCache.default())
        scores, costs = scores + said, costs + cost
        print(f"{target}: {len(said)} scores", flush=True)
    embedding = embedding_seconds(lab, pool, targets[: options.timed], chosen)
    by_name = {selector.name: selector for selector in chosen}
    for row in costs:
        selector = by_name[str(row["selector"])]
        seconds = float(str(row.pop("scoring")))
        row["seconds"] = round(seconds + embedding[reads_tuned(selector)], 3)
        row["scoring_seconds"] = round(seconds, 3)
        row["bytes"] = round(bytes_per_source(pool, selector))
    table = pd.DataFrame(scores).round({"score": 7, "gain": 7})
    _write(table, RESULTS / "scores.csv", targets)
    _write(pd.DataFrame(costs), RESULTS / "selectors.csv", targets)


def _write(table: pd.DataFrame, path: Path, targets: Sequence[str]) -> None:
    """Put a table in place of the rows of these targets."""
    if path.is_file():
        stored = pd.read_csv(path)
        table = pd.concat([stored[~stored.target.isin(targets)], table])
    keys = [name for name in ("target", "selector", "source") if name in table]
    table.sort_values(keys).to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
