"""What both sides of the benchmark are given: embeddings, maps in either format, texts, a pool."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.synthetic import dense, draw_target, name_of
from esm.cli.demo.tasks import write_demo_tasks
from esm.common.runtime import Precision
from esm.common.storage import write_json
from esm.encoder.find import locate
from esm.encoder.settings import OFFLINE, BaseIdentity, Pooling
from esm.maps.files import MapConfig, save_map
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.pool.bundle.write import BundleWriter
from esm.pool.pool import POOL_FORMAT, MapRecord, PoolManifest, SourceRecord
from esm.tasks.task import TaskMetadata
from esm.training.settings import FineTuneConfig

# Tasks of the demo whose texts are told apart: short texts, about 15 words each.
TOPICS = ("garden-claims", "kitchen-swaps", "support-tickets", "travel-witness")

# The peer takes the pooling of a local encoder from its path.
_PEER_ENCODER = Path("sentence-transformers") / "all-MiniLM-L6-v2"


def identity_of_width(width: int) -> BaseIdentity:
    """Return the identity of an encoder that does not exist, for maps of drawn embeddings."""
    return BaseIdentity(
        model="drawn",
        weights=None,
        pooling=Pooling.MEAN,
        max_length=128,
        precision=Precision.FLOAT32,
        width=width,
        num_layers=1,
    )


def write_target(folder: Path, examples: int, width: int, classes: int) -> dict[str, Any]:
    """Write drawn embeddings and labels; return their files, as cases of jobs name them."""
    folder.mkdir(parents=True, exist_ok=True)
    target = draw_target(examples, width, width, classes, seed=examples + classes)
    arrays = {"base": target.base, "lifted": target.lifted, "labels": target.labels}
    files = {name: str(folder / f"{name}.npy") for name in arrays}
    for name, array in arrays.items():
        assert array is not None  # drawn targets have lifted features
        np.save(files[name], array)
    return {**files, "classes": classes}


def write_published(
    maps: Iterable[EmbeddingSpaceMap], folder: Path, base: BaseIdentity
) -> list[str]:
    """Write maps as the peer reads them: dense, float32, a folder each; return the folders."""
    folders = []
    for number, one in enumerate(maps):
        place, whole = folder / name_of(number), dense(one)
        described = MapConfig.describe(whole, source=place.name, base=base, dtype="float32")
        save_map(whole, place, described)
        folders.append(str(place))
    return folders


def write_texts(path: Path, count: int) -> dict[str, Any]:
    """Write short texts of the demo and which of its tasks each is from; return both.

    Raises:
        ValueError: The demo has fewer texts.
    """
    folder = path.parent / "demo"
    write_demo_tasks(folder)
    share = -(-count // len(TOPICS))
    texts: list[str] = []
    labels: list[int] = []
    for label, topic in enumerate(TOPICS):
        found = [
            text
            for split in ("train", "test")
            for text in pd.read_parquet(folder / topic / f"{split}.parquet").text
        ][:share]
        texts += found
        labels += [label] * len(found)
    if len(texts) < count:
        raise ValueError(f"{len(texts)} texts, {count} are wanted")
    shutil.rmtree(folder)
    content = {"texts": texts[:count], "labels": labels[:count]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return content


def write_text_target(folder: Path, content: dict[str, Any]) -> None:
    """Write the texts as a target for ``esm rank``: all of them are training rows."""
    folder.mkdir(parents=True)
    names = [TOPICS[label] for label in content["labels"]]
    rows = pd.DataFrame({"text": content["texts"], "topic": names})
    rows.to_parquet(folder / "train.parquet")
    # A target needs test rows, which a ranking does not read.
    pd.DataFrame({"text": [f"a text of {topic}" for topic in TOPICS], "topic": TOPICS}).to_parquet(
        folder / "test.parquet"
    )
    attribute = {"labels": list(TOPICS), "metric": "accuracy"}
    described = {"id": "texts", "language": "en", "attributes": {"topic": attribute}}
    write_json(folder / "target.json", described)


def peer_encoder(folder: Path) -> str:
    """Copy the packaged encoder to where the peer finds out that it is mean-pooled."""
    place = folder / _PEER_ENCODER
    shutil.copytree(locate(OFFLINE), place)
    return str(place)


def plain_manifest(base: BaseIdentity) -> PoolManifest:
    """Return what a pool of published maps says of itself."""
    return PoolManifest(format=POOL_FORMAT, base=base, revision=None, anchors=None, lift=None)


def write_pool(
    maps: Iterable[EmbeddingSpaceMap],
    folder: Path,
    manifest: PoolManifest,
    form: MapForm = MapForm.PUBLISHED,
) -> None:
    """Write maps as a packed pool with records, as ``esm pool pack`` leaves it."""
    folder.mkdir(parents=True)
    write_json(folder / "pool.json", manifest.model_dump(mode="json"))
    writer = BundleWriter(folder)
    for number, one in enumerate(maps):
        record = _record(name_of(number), one, form)
        writer.add(record.id, record.model_dump(mode="json"), {form: one}, {})
    writer.close()


def _record(name: str, one: EmbeddingSpaceMap, form: MapForm) -> SourceRecord:
    size = sum(array.nbytes for array in one.tensors().values())
    described = MapRecord(rank=one.rank, penalty=0.0, r2_source=None, r2_anchors=None, bytes=size)
    return SourceRecord(
        id=name,
        config_hash=name,
        task=None,
        task_hash=None,
        problem=None,
        metric=None,
        label_names=(),
        metadata=TaskMetadata(),
        is_pair=False,
        num_train=None,
        num_used=None,
        fine_tune=FineTuneConfig(),
        quality={},
        maps={form: described},
        seconds={},
    )
