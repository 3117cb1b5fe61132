"""Toy tasks on disk, in the project's own formats, for tests that run the whole way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = [
    "a",
    "the",
    "cat",
    "dog",
    "tree",
    "house",
    "sun",
    "moon",
    "runs",
    "sleeps",
    "eats",
    "sees",
    "big",
    "small",
    "red",
    "blue",
    "not",
]


def texts(count: int, seed: int, length: int = 6) -> list[str]:
    """Return distinct short texts over a small vocabulary."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(rng.choice(WORDS, size=length))] = None
    return list(found)


def label_of(text: str, word: str) -> int:
    """Return 1 where a word occurs in the text."""
    return int(word in text.split())


def write_task(
    folder: Path,
    word: str = "cat",
    *,
    rows: int = 60,
    seed: int = 0,
    kind: str = "classification",
    metric: str = "macro_f1",
) -> Path:
    """Write a task folder whose label says whether a word occurs."""
    folder.mkdir(parents=True)
    names = [] if kind == "regression" else ["no", "yes"]
    for split, count, offset in (("train", rows, 0), ("test", rows // 2, 500)):
        drawn = texts(count, seed + offset)
        labels = [label_of(text, word) for text in drawn]
        labels[:2] = [0, 1]
        column = pa.array([float(x) for x in labels]) if kind == "regression" else pa.array(labels)
        pq.write_table(pa.table({"text": drawn, "label": column}), folder / f"{split}.parquet")
    _write_json(
        folder / "task.json",
        {
            "id": folder.name,
            "name": f"contains {word}",
            "task_type": kind,
            "label_names": names,
            "language": "en",
            "domain": "toy",
            "metric": metric,
            "license": "CC0",
            "origin": "generated",
            "citation": "",
            "train_rows": rows,
            "test_rows": rows // 2,
        },
    )
    return folder


def write_target(folder: Path, words: tuple[str, ...] = ("cat", "dog"), *, rows: int = 80) -> Path:
    """Write a multi-attribute target; every fifth row lacks its last attribute."""
    folder.mkdir(parents=True)
    for split, count, seed in (("train", rows, 1000), ("test", rows // 2, 2000)):
        drawn = texts(count, seed)
        columns: dict[str, object] = {"text": drawn}
        for word in words:
            labels: list[str | None] = ["yes" if label_of(t, word) else "no" for t in drawn]
            labels[:2] = ["yes", "no"]
            columns[word] = labels
        columns[words[-1]] = [
            None if row % 5 == 4 else label for row, label in enumerate(columns[words[-1]])
        ]
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    described = {"question": "?", "labels": ["no", "yes"], "counts": {}, "not_annotated": 0}
    _write_json(
        folder / "target.json",
        {
            "id": folder.name,
            "name": "toy target",
            "attributes": dict.fromkeys(words, described),
            "language": "en",
            "domain": "toy",
            "license": "CC0",
            "origin": "generated",
            "citation": "",
            "train_rows": rows,
            "test_rows": rows // 2,
        },
    )
    return folder


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
