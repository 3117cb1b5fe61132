"""A pool with real maps that nobody trained, small enough to damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from esm.common.storage import save_tensors, write_json
from esm.encoder.settings import BaseIdentity
from esm.maps.files import MapConfig, save_map
from esm.maps.forms import MapForm
from esm.maps.lift import Lift
from esm.pool.fingerprints import FINGERPRINT_NAME
from esm.pool.pool import (
    HEAD_NAME,
    POOL_FORMAT,
    AnchorRecord,
    LiftRecord,
    MapRecord,
    Pool,
    PoolManifest,
    SourceRecord,
)
from esm.tasks.task import Metric, Problem, TaskMetadata
from esm.training.settings import FineTuneConfig
from tests.likelihood_cases import draw_dense, draw_low_rank

WIDTH, LIFT_WIDTH = 6, 8
IDENTITY = BaseIdentity(
    model="tiny",
    weights="w",
    pooling="mean",
    max_length=32,
    max_chunks=1,
    stride=8,
    precision="float32",
    width=WIDTH,
    num_layers=2,
)


def write_pool(
    folder: Path,
    sources: tuple[str, ...] = ("b/two", "a", "c"),
    *,
    forms: tuple[MapForm, ...] = (MapForm.ANCHORED, MapForm.PUBLISHED),
    ranks: tuple[int, ...] = (2,),
    dtype: str = "float16",
) -> Pool:
    """Write a pool; source number i has maps of rank ``ranks[i % len(ranks)]``."""
    rng = np.random.default_rng(0)
    lift = Lift.fit(rng.standard_normal((30, 12)), LIFT_WIDTH)
    folder.mkdir(parents=True)
    lift.save(folder / "lift.safetensors")
    manifest = PoolManifest(
        format=POOL_FORMAT,
        base=IDENTITY,
        revision=None,
        anchors=AnchorRecord(count=2, hash="a", corpus=None, per_task=1, seed=0),
        lift=LiftRecord(hash=lift.content_hash(), width=LIFT_WIDTH),
    )
    write_json(folder / "pool.json", manifest.model_dump(mode="json"))
    write_json(folder / "anchors.json", {"tasks": {}, "anchors": []})
    pool = Pool.open(folder)
    for number, source in enumerate(sources):
        _write_source(pool, source, number, forms, ranks[number % len(ranks)], dtype)
    return pool


def _write_source(pool, source, number, forms, rank, dtype):
    rng = np.random.default_rng(number)
    folder = pool.source_folder(source)
    maps = {
        MapForm.ANCHORED: draw_low_rank(rng, WIDTH, LIFT_WIDTH, rank),
        MapForm.PUBLISHED: draw_dense(rng, WIDTH),
    }
    for form in forms:
        lift = pool.manifest.lift.hash if form is MapForm.ANCHORED else None
        described = MapConfig.describe(
            maps[form], source=source, base=IDENTITY, lift=lift, dtype=dtype
        )
        save_map(maps[form], folder / form, described)
    head = {"weight": rng.standard_normal((2, WIDTH)).astype(np.float32), "bias": np.zeros(2)}
    save_tensors(folder / HEAD_NAME, head)
    numbers = np.arange(number + 3, dtype=np.uint64)  # as earlier versions kept them
    save_tensors(folder / FINGERPRINT_NAME, {"keys": numbers}, private=True)
    record = SourceRecord(
        id=source,
        config_hash="c",
        task=None,
        task_hash=f"h{number}",
        problem=Problem.CLASSIFICATION,
        metric=Metric.MACRO_F1 if number % 2 == 0 else Metric.ACCURACY,
        label_names=("no", "yes"),
        metadata=TaskMetadata(
            language=("en", "sk")[number % 2],
            domain=("medical posts", "news")[number % 2],
            license=("MIT", "CC BY-NC 4.0")[number % 2],
        ),
        is_pair=False,
        num_train=100 * (number + 1),
        num_used=100 * (number + 1),
        fine_tune=FineTuneConfig(),
        quality={"macro_f1": 0.5 + number / 10, "accuracy": 0.6 + number / 10},
        maps={
            form: MapRecord(
                rank=rank if form is MapForm.ANCHORED else WIDTH,
                penalty=1.0,
                r2_source=0.5,
                r2_anchors=0.2 * (number + 1),
                bytes=1,
            )
            for form in forms
        },
        seconds={"fine_tune": 1.0},
    )
    write_json(folder / "source.json", record.model_dump(mode="json"))
