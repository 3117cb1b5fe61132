"""A target with two attributes, four source tasks, a pool of records and a ranking: no maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esm.common.storage import write_json
from esm.encoder.settings import BaseIdentity
from esm.pool.pool import POOL_FORMAT, AnchorRecord, LiftRecord, Pool, PoolManifest, SourceRecord
from esm.ranking.result import AttributeRanking, RankConfig, RankedSource, Ranking
from esm.tasks.load import load_target, load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Target
from esm.training.settings import FineTuneConfig

SOURCES = ("reviews", "moods", "weather", "claims")
ATTRIBUTES = ("harmful", "topic")
FINE_TUNE = FineTuneConfig(num_epochs=1, batch_size=8, max_examples=24)

_TELLING = {0: "good great joy love warm happy", 1: "bad awful hate sad cold angry"}
_FILLER = "the film food service vaccine virus doctor home team game people said new old"


@dataclass(frozen=True)
class World:
    """Where everything lies."""

    target: Target
    pool: Pool
    ranking: Ranking


def make_world(folder: Path, identity: BaseIdentity) -> World:
    """Write target, sources and pool into a folder; rank the sources in their written order."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = _write_target(folder)
    target = load_target(spec)
    pool = _write_pool(folder, identity)
    ranking = Ranking(
        target=target.id,
        target_spec=spec,
        target_hash=target.content_hash(),
        pool=str(pool.folder),
        base_model=identity.model,
        scorer="logme",
        config=RankConfig(),
        attributes={name: ranked(SOURCES) for name in ATTRIBUTES},
        unusable={},
        cut=0,
        seconds=1.0,
    )
    return World(target, pool, ranking)


def ranked(order: Sequence[str]) -> AttributeRanking:
    """Return a ranking of sources in this order, with falling scores."""
    lines = tuple(
        RankedSource(
            rank=place, source=source, score=-0.1 * place, gain=0.1 - 0.01 * place, r2=0.8, size=24
        )
        for place, source in enumerate(order, start=1)
    )
    return AttributeRanking(
        metric=Metric.MACRO_F1,
        examples=40,
        balanced=True,
        base_score=-0.5,
        ranking=lines,
        skipped=(),
    )


def _write_target(folder: Path) -> TaskSpec:
    for name, rows, seed in (("posts", 40, 1), ("posts-test", 24, 2)):
        table = _table(rows, seed)
        table["topic"] = np.where(np.arange(rows) % 3 == 0, "food", "film")
        table.rename(columns={"label": "harmful"}).to_csv(folder / f"{name}.csv", index=False)
    return TaskSpec(
        location=str(folder / "posts.csv"),
        text="text",
        attributes=ATTRIBUTES,
        test=str(folder / "posts-test.csv"),
    )


def _write_pool(folder: Path, identity: BaseIdentity) -> Pool:
    pool = Pool(folder / "pool", _manifest(identity))
    write_json(pool.folder / "pool.json", pool.manifest.model_dump(mode="json"))
    for seed, source in enumerate(SOURCES):
        path = folder / f"{source}.csv"
        _table(32, 10 + seed).to_csv(path, index=False)
        spec = TaskSpec(location=str(path), text="text", attributes=("label",))
        record = source_record(source, spec)
        write_json(pool.source_folder(source) / "source.json", record.model_dump(mode="json"))
    return pool


def source_record(source: str, spec: TaskSpec) -> SourceRecord:
    """The record of a source that nobody trained, as far as its task decides it."""
    task = load_task(spec)
    return SourceRecord(
        id=source,
        config_hash="c",
        task=spec,
        task_hash=task.content_hash(),
        problem=task.problem,
        metric=task.metric,
        label_names=task.label_names,
        metadata=task.metadata,
        is_pair=False,
        num_train=len(task.train),
        num_used=24,
        fine_tune=FINE_TUNE,
        quality={"macro_f1": 0.5},
        maps={},
        seconds={"fine_tune": 7.2},
    )


def _manifest(identity: BaseIdentity) -> PoolManifest:
    return PoolManifest(
        format=POOL_FORMAT,
        base=identity,
        revision=None,
        anchors=AnchorRecord(count=2, hash="a", corpus=None, per_task=1, seed=0),
        lift=LiftRecord(hash="l", width=8),
    )


def _table(rows: int, seed: int) -> pd.DataFrame:
    """Texts of six words, some of which tell the label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    texts = [
        " ".join(
            rng.permutation(
                [*rng.choice(_TELLING[label].split(), 2), *rng.choice(_FILLER.split(), 4)]
            )
        )
        for label in labels
    ]
    return pd.DataFrame({"text": texts, "label": np.where(labels == 1, "yes", "no")})
