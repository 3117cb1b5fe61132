"""How often is the planted source ranked first, by what a source's effect is estimated with?

Targets whose right source is known: an attribute is one of the demo's three relations (whose
verdict it is, who went through it, which of two is advised), and one of six sources teaches the
same relation in another genre. Among the others are the same genre with other labels (shared
vocabulary) and the same texts with shuffled labels; all have 500 rows. In every post a sentence of
another subject stands beside the relation. At the level ``none`` it is drawn whatever the label,
``partly`` it follows the label in half of the posts, ``fully`` in all of them: then the base model
encodes the label already.

A case is a seed, a relation and a level; 200 balanced rows are scored by LogME at its maximum on
the embeddings that each way gives: the published map, the anchored map, the delta, the whole tuned
encoder. A finished seed is nine lines of ``benchmarks/results/blind.jsonl``; the same command goes
on where it was stopped::

    make bench-blind [SEEDS=24]
    .venv/bin/python -m benchmarks.blind --table
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import numpy as np

from esm.cli.demo.grammar import POSTS, advice, style_post, view, witness
from esm.cli.demo.run import ANCHORS_PER_TASK, FINE_TUNE
from esm.cli.demo.tasks import PLANTED, write_demo_tasks
from esm.common.arrays import Array, Float32
from esm.common.runtime import show_progress
from esm.encoder.cache import EmbeddingCache
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.delta.encoder import embed_by_delta
from esm.maps.forms import MapForm
from esm.pool.base_model import load_base
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool, PoolEntry
from esm.scorers.logme import logme
from esm.tasks.spec import TaskSpec

RESULTS = Path(__file__).parent / "results"
LEDGER = RESULTS / "blind.jsonl"
TABLE = RESULTS / "blind.md"
ROWS = 200
LEVELS = {"none": 0.0, "partly": 0.5, "fully": 1.0}
WAYS = ("published map", "anchored map", "delta", "whole encoder")
_RELATIONS: dict[str, Callable[..., str]] = {
    "endorsed": view,
    "first_hand": witness,
    "home_remedy": advice,
}
_CUES = (
    (
        "rained all morning here", "the fog would not lift", "first frost in the garden",
        "what a storm last night", "the sun is out at last", "snow up to the door",
    ),
    (
        "our team lost again", "the match went to penalties", "the new coach is a joke",
        "what a goal in the last minute", "they sold the best striker", "the referee was blind",
    ),
)  # fmt: skip
_LEVEL_OF_INTERVAL = 0.95


@dataclass(frozen=True)
class _Base:
    """The base model's embeddings of a case's posts."""

    last: Float32
    lifted: Float32


def main() -> None:
    """Measure seed after seed, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if not options.table:
        show_progress(True)
        done = {row["seed"] for row in rows()}
        for seed in range(options.seeds):
            if seed not in done:
                _keep(measure(seed))
    text = table(rows())
    TABLE.write_text(text, encoding="utf-8")
    print(text)


def measure(seed: int, base: str = "offline") -> list[dict[str, Any]]:
    """Train the six sources of a seed and score all nine cases: about a minute on two cores."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tasks = write_demo_tasks(folder / "tasks", seed)
        config = TrainConfig(
            encoder=EncoderConfig(model=base),
            fine_tune=FINE_TUNE.model_copy(update={"seed": seed}),
            forms=(MapForm.ANCHORED, MapForm.PUBLISHED),
            anchors_per_task=ANCHORS_PER_TASK,
            keep_models=True,
        )
        specs = [TaskSpec(location=str(source)) for source in tasks.sources]
        train_pool(specs, folder / "pool", config, cache=EmbeddingCache(folder / "cache"))
        pool = Pool.open(folder / "pool")
        encoder, entries = load_base(pool, "auto"), pool.entries(strict=True)[0]
        return [
            _case(pool, encoder, entries, seed, relation, level)
            for relation in _RELATIONS
            for level in LEVELS
        ]


def posts(seed: int, relation: str, level: str, count: int = ROWS) -> tuple[list[str], Array]:
    """Return balanced posts and their labels; at ``none`` the cue tells nothing of the label."""
    names = (list(_RELATIONS).index(relation), list(LEVELS).index(level))
    rng = np.random.default_rng([seed, 77, *names])
    labels = rng.permutation(np.arange(count) % 2)
    texts = []
    for label in labels:
        told = rng.random() < LEVELS[level]
        cue = _CUES[int(label) if told else int(rng.integers(2))]
        sentences = [
            _RELATIONS[relation](POSTS, int(label), rng),
            cue[int(rng.integers(len(cue)))],
        ]
        order = rng.permutation(2)
        texts.append(style_post([sentences[place] for place in order], POSTS, rng))
    return texts, labels


def _case(
    pool: Pool,
    encoder: Encoder,
    entries: list[PoolEntry],
    seed: int,
    relation: str,
    level: str,
) -> dict[str, Any]:
    texts, labels = posts(seed, relation, level)
    embedded = encoder.embed(texts, wide=True)
    assert embedded.wide is not None
    base = _Base(embedded.last, pool.lift().transform(embedded.wide))
    scores = {
        entry.id: {way: logme(_features(way, entry, encoder, base, texts), labels) for way in WAYS}
        for entry in entries
    }
    return {
        "seed": seed,
        "relation": relation,
        "level": level,
        "planted": PLANTED[relation],
        "base": logme(base.last, labels),
        "scores": scores,
    }


def _features(
    way: str, entry: PoolEntry, encoder: Encoder, base: _Base, texts: list[str]
) -> Float32:
    """Return the embeddings that stand for a source, as one way gives them."""
    if way == "delta":
        return embed_by_delta(encoder, entry.load_delta(), texts).last
    if way == "whole encoder":
        assert entry.model_folder is not None
        config = encoder.config.model_copy(update={"model": str(entry.model_folder)})
        return encoder.with_model(Encoder.load(config, str(encoder.device)).model).embed(texts).last
    form = MapForm.PUBLISHED if way == "published map" else MapForm.ANCHORED
    return entry.load_map(form).apply(base.last, base.lifted)


def _keep(found: list[dict[str, Any]]) -> None:
    with LEDGER.open("a", encoding="utf-8") as ledger:
        ledger.writelines(json.dumps(row) + "\n" for row in found)


def rows() -> list[dict[str, Any]]:
    """Return the finished cases."""
    if not LEDGER.is_file():
        return []
    return [json.loads(line) for line in LEDGER.read_text(encoding="utf-8").splitlines()]


def margin(row: Mapping[str, Any], way: str) -> float:
    """Return by how much the planted source's score exceeds the best other one, nats."""
    scores = {source: found[way] for source, found in row["scores"].items()}
    planted = scores.pop(row["planted"])
    return float(planted - max(scores.values()))


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the limits of the Wilson interval of a share, level 95 %.

    Source:
        Wilson 1927, Journal of the American Statistical Association 22.
    """
    z = NormalDist().inv_cdf((1 + _LEVEL_OF_INTERVAL) / 2)
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count)
    half *= (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return middle - half, middle + half


def table(found: list[dict[str, Any]]) -> str:
    """Return how often the planted source is first, in Markdown."""
    seeds = len({row["seed"] for row in found})
    lines = [
        "# Blind spots: how often is the planted source first?",
        "",
        f"{len(found)} cases of {seeds} seeds, six sources of 500 rows each, {ROWS} rows of the"
        " target; the packaged encoder. Share of cases with the planted source first, Wilson"
        " interval (95 %), and the median margin to the best other source in nats; chance: 17 %."
        " Made by `make bench-blind`.",
        "",
        "| what the base encodes | cases | " + " | ".join(WAYS) + " |",
        "|---|---|" + "---|" * len(WAYS),
    ]
    for level in LEVELS:
        chosen = [row for row in found if row["level"] == level]
        cells = [_cell([margin(row, way) for row in chosen]) for way in WAYS]
        lines.append(f"| {level} | {len(chosen)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(margins: list[float]) -> str:
    if not margins:
        return "-"
    right = sum(one > 0 for one in margins)
    low, high = wilson(right, len(margins))
    share = 100 * right / len(margins)
    return f"{share:.0f} % ({100 * low:.0f} to {100 * high:.0f}), {median(margins):+.3f}"


if __name__ == "__main__":
    main()
