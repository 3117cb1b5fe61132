"""What deltas keep of tuned encoders: R² on targets' texts, bytes, and the order of the sources.

The pool was trained with ``--keep-models``. Every finished pair of source and target is a line of
``benchmarks/results/deltas.jsonl``, so the same command goes on where it was stopped::

    .venv/bin/python -m benchmarks.deltas POOL TARGET... [--budget 0.44MB] [--texts 200]
    .venv/bin/python -m benchmarks.deltas --table
    .venv/bin/python -m benchmarks.deltas --time POOL TARGET

R² is that of ``esm show``: of embeddings, about their mean. ``R² of the change`` is the share that
the delta explains of what tuning changed, about its mean, which is stricter where little changed.
Scores are LogME with the full determinant on the same texts, for every attribute of the target.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.measure import Memory
from esm import logme
from esm.common.runtime import show_progress
from esm.encoder.encoder import Encoder
from esm.maps.delta.cut import cut_delta
from esm.maps.delta.encoder import embed_by_delta
from esm.maps.fit.ridge import r_squared
from esm.pool.base_model import load_base
from esm.pool.deltas import parse_size
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.refine import ROWS
from esm.ranking.result import RankConfig
from esm.tasks.load import load_target
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import sample_together
from esm.tasks.task import Examples, Problem
from esm.training.class_weights import balance_weights

LEDGER = Path(__file__).parent / "results" / "deltas.jsonl"
_FEWEST_OF_A_CLASS = 5


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path, nargs="?")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--budget", default="0.44MB")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--time", action="store_true")
    options = parser.parse_args()
    show_progress(True)
    if options.table:
        _table(_rows())
    elif options.time:
        _time(options.pool, options.targets[0])
    else:
        _measure(options.pool, options.targets, options.budget, options.texts)


def _measure(folder: Path, targets: Iterable[str], size: str, texts: int) -> None:
    pool = Pool.open(folder)
    base = load_base(pool, "cpu")
    done = {(row["source"], row["target"], row["budget"]) for row in _rows()}
    samples = {}
    for location in targets:
        target = load_target(TaskSpec(location=location))
        samples[target.id] = _Sample(sample_together(target, texts, 0), target.attributes, base)
    for entry in pool.entries()[0]:
        waiting = [name for name in samples if (entry.id, name, size) not in done]
        if not waiting or entry.model_folder is None:
            continue
        whole = base.config.model_copy(update={"model": str(entry.model_folder), "revision": None})
        tuned = base.with_model(Encoder.load(whole, "cpu").model)
        started = time.process_time()
        budget = parse_size(size)
        assert isinstance(budget, int)
        cut = cut_delta(base.model, tuned.model, str(base.identity.weights), budget)
        seconds = time.process_time() - started
        for name in waiting:
            sample = samples[name]
            far = tuned.embed(sample.texts, sample.pairs).last
            near = embed_by_delta(base, cut.delta, sample.texts, sample.pairs).last
            row = {
                "source": entry.id,
                "target": name,
                "budget": size,
                "bytes": sum(array.nbytes for array in cut.delta.tensors().values()),
                "cut_cpu_seconds": round(seconds, 1),
                "r2": r_squared(far, near),
                "r2_change": r_squared(far - sample.base, near - sample.base),
                "r2_base": r_squared(far, sample.base),
                "whole": sample.scores(far),
                "delta": sample.scores(near),
                "base": sample.scores(sample.base),
            }
            with LEDGER.open("a", encoding="utf-8") as ledger:
                ledger.write(json.dumps(row) + "\n")


class _Sample:
    """Texts of a target, embedded by the base model, and where each attribute's rows are."""

    def __init__(self, rows: dict[str, Examples], tasks: Any, base: Encoder) -> None:
        place: dict[tuple[str, str], int] = {}
        self._attributes = {}
        for name, examples in rows.items():
            seconds = examples.pairs or ("",) * len(examples)
            at = [
                place.setdefault(row, len(place))
                for row in zip(examples.texts, seconds, strict=True)
            ]
            if tasks[name].problem is Problem.CLASSIFICATION:
                counts = np.bincount(examples.labels)
                kept = np.flatnonzero(counts[examples.labels] >= _FEWEST_OF_A_CLASS)
                if len(set(examples.labels[kept])) > 1:
                    self._attributes[name] = (np.array(at)[kept], examples.labels[kept])
        self.texts = [text for text, _ in place]
        is_pair = next(iter(rows.values())).pairs is not None
        self.pairs = [second for _, second in place] if is_pair else None
        self.base = base.embed(self.texts, self.pairs).last

    def scores(self, embedded: Any) -> dict[str, float]:
        """Return LogME, class-balanced, by attribute."""
        return {
            name: logme(embedded[rows], labels, variant="full", weights=balance_weights(labels))
            for name, (rows, labels) in self._attributes.items()
        }


def _rows() -> list[dict[str, Any]]:
    if not LEDGER.is_file():
        return []
    return [json.loads(line) for line in LEDGER.read_text(encoding="utf-8").splitlines()]


def _table(rows: list[dict[str, Any]]) -> None:
    budgets = sorted({row["budget"] for row in rows})
    for budget in budgets:
        chosen = [row for row in rows if row["budget"] == budget]
        sources = {row["source"] for row in chosen}
        kilobytes = np.mean([row["bytes"] for row in chosen]) / 1e3
        print(f"{budget}: {len(sources)} sources, {kilobytes:.0f} kB of tensors each")
        print("| target | R² of the base as it is | R² | lowest | R² of the change |")
        print("|---|---|---|---|---|")
        by_target = defaultdict(list)
        for row in chosen:
            by_target[row["target"]].append((row["r2_base"], row["r2"], row["r2_change"]))
        by_target["all"] = [one for of in list(by_target.values()) for one in of]
        for target, fits in by_target.items():
            (before, mean, change), lowest = np.mean(fits, axis=0), np.min(fits, axis=0)[1]
            print(f"| {target} | {before:.3f} | {mean:.3f} | {lowest:.3f} | {change:.3f} |")
        print("\n| attribute | Kendall's tau | first the same | lost by the first, nats |")
        print("|---|---|---|---|")
        taus = []
        for name, tau, same, lost in _orders(chosen):
            taus.append(tau)
            print(f"| {name} | {tau:.3f} | {'yes' if same else 'no'} | {lost:.4f} |")
        if taus:
            print(f"mean tau over {len(taus)} attributes: {np.mean(taus):.3f}")


def _orders(rows: list[dict[str, Any]]) -> Iterator[tuple[str, float, bool, float]]:
    """Yield how the order by deltas agrees with that by whole encoders, attribute by attribute."""
    for target in sorted({row["target"] for row in rows}):
        of = [row for row in rows if row["target"] == target]
        for name in sorted(of[0]["whole"]):
            whole = np.array([row["whole"][name] for row in of])
            delta = np.array([row["delta"][name] for row in of])
            if len(whole) > 2:
                lost = float(whole.max() - whole[delta.argmax()])
                yield f"{target}/{name}", kendalltau(whole, delta).statistic, lost == 0, lost


def _time(folder: Path, location: str) -> None:
    """Print what it takes to refine all sources, model load included, nothing cached."""
    from esm.encoder.cache import EmbeddingCache

    spec = TaskSpec(location=location)
    with Memory() as memory:
        started = time.monotonic(), time.process_time()
        found = rank_sources(
            spec,
            Pool.open(folder),
            RankConfig(refine="all", max_examples=ROWS),
            cache=EmbeddingCache(None),
            device="cpu",
        )
        wall, cpu = time.monotonic() - started[0], time.process_time() - started[1]
    refined = next(iter(found.attributes.values())).refined
    print(
        f"{refined and refined.rounds}: {wall:.1f} s, {cpu:.1f} s of processor,"
        f" {memory.peaks()['anonymous'] / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
