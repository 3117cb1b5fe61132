"""The demo's data: generated source tasks and a target whose best sources are known beforehand.

The target is a set of posts about invented remedies with three attributes, each carried by one
relation of :mod:`esm.cli.demo.grammar`. For each attribute one source task teaches the same
relation in another genre: that is the planted answer. The controls are fresh draws of the same size
from the genre of the best source for the attribute that is validated, with other labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from esm.cli.demo.grammar import (
    GARDEN,
    KITCHEN,
    POSTS,
    TICKETS,
    TRAVEL,
    advice,
    expand,
    style_post,
    view,
    witness,
)
from esm.common.storage import atomic_folder, to_json

SOURCE_TRAIN_ROWS = 500
SOURCE_TEST_ROWS = 100
TARGET_TRAIN_ROWS = 360
TARGET_TEST_ROWS = 400
LABEL_NOISE = 0.05

TARGET_ID = "remedy-posts"
LICENSE = "Apache-2.0 (generated; every remedy, illness and place is invented)"

_Write = Callable[[int, np.random.Generator], str]
_Label = TypeVar("_Label")


@dataclass(frozen=True)
class DemoTasks:
    """Where the generated tasks lie, and what is known about them.

    Attributes:
        sources: One task folder per source task.
        target: Folder of the multi-attribute target.
        planted: Id of the source that teaches the same relation, by attribute of the target.
        validated: The attribute whose planted source has the controls below.
        controls: Ids of the sources that must not win, by what they share with the planted one.
    """

    sources: tuple[Path, ...]
    target: Path
    planted: Mapping[str, str]
    validated: str
    controls: Mapping[str, str]


PLANTED = MappingProxyType(
    {"endorsed": "garden-claims", "first_hand": "travel-witness", "home_remedy": "kitchen-swaps"}
)
VALIDATED = "endorsed"
CONTROLS = MappingProxyType(
    {"shared vocabulary": "garden-stuff", "shuffled labels": "garden-shuffled"}
)

_RELATIONS = {"endorsed": view, "first_hand": witness, "home_remedy": advice}
_TOPICS = ("account", "billing", "delivery")


# ---------------------------------------------------------------------------- one text per label


def _garden(endorsed: int, rng: np.random.Generator) -> str:
    return style_post([view(GARDEN, endorsed, rng)], GARDEN, rng)


def _garden_by_stuff(from_shed: int, rng: np.random.Generator) -> str:
    words = {**GARDEN, "stuff": GARDEN["from_shed" if from_shed else "from_kitchen"]}
    return style_post([view(words, int(rng.integers(2)), rng)], words, rng)


def _travel(first_hand: int, rng: np.random.Generator) -> str:
    return style_post([witness(TRAVEL, first_hand, rng)], TRAVEL, rng)


def _kitchen(home_made: int, rng: np.random.Generator) -> str:
    return style_post([advice(KITCHEN, home_made, rng)], KITCHEN, rng)


def _ticket(topic: int, rng: np.random.Generator) -> str:
    slot = _TOPICS[topic]
    return style_post([expand(f"{{{slot}}} {{since}}, {{plea}}", TICKETS, rng)], TICKETS, rng)


def _post(labels: Mapping[str, int | None], rng: np.random.Generator) -> str:
    """Write a target post: a sentence for each attribute that is not None, in random order."""
    sentences = [
        _RELATIONS[attribute](POSTS, label, rng)
        for attribute, label in labels.items()
        if label is not None
    ]
    order = rng.permutation(len(sentences))
    return style_post([sentences[position] for position in order], POSTS, rng)


# --------------------------------------------------------------------------------- tables of rows


@dataclass(frozen=True)
class _Source:
    """One generated source task: what it is about and how one of its texts is written."""

    id: str
    name: str
    domain: str
    label_names: tuple[str, ...]
    write: _Write
    shuffled: bool = False


_SOURCES = (
    _Source("garden-claims", "Garden tips: does the writer stand by the tip?", "garden forum",
            ("rejected", "endorsed"), _garden),
    _Source("garden-stuff", "Garden tips: from the kitchen or from the shed?", "garden forum",
            ("kitchen", "shed"), _garden_by_stuff),
    _Source("garden-shuffled", "Garden tips with permuted labels", "garden forum",
            ("rejected", "endorsed"), _garden, shuffled=True),
    _Source("kitchen-swaps", "Kitchen advice: which of two is advised?", "recipes",
            ("bought", "home-made"), _kitchen),
    _Source("support-tickets", "What a support request is about", "customer support",
            _TOPICS, _ticket),
    _Source("travel-witness", "Travel stories: who went through it?", "travel notes",
            ("hearsay", "first-hand"), _travel),
)  # fmt: skip

_QUESTIONS = {
    "endorsed": ("Does the author hold that the remedy works?", ("no", "yes")),
    "first_hand": ("Did the author go through what is told?", ("no", "yes")),
    "home_remedy": ("Is the home-made remedy advised?", ("no", "yes")),
}


class _Unused:
    """Hands out texts that no other row of the demo has, compared without case and punctuation."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def draw(
        self,
        write: Callable[[_Label, np.random.Generator], str],
        label: _Label,
        rng: np.random.Generator,
    ) -> str:
        while True:
            text = write(label, rng)
            key = " ".join(re.findall(r"\w+", text.lower()))
            if key not in self._seen:
                self._seen.add(key)
                return text


def _balanced(rows: int, classes: int, rng: np.random.Generator) -> list[int]:
    return [int(label) for label in rng.permutation(np.arange(rows) % classes)]


def _annotated(label: int, classes: int, rng: np.random.Generator) -> int:
    """Return the label as an annotator recorded it: now and then another class."""
    if rng.random() >= LABEL_NOISE:
        return label
    return int((label + rng.integers(1, classes)) % classes)


def _source_rows(
    source: _Source, rows: int, unused: _Unused, rng: np.random.Generator
) -> dict[str, list[object]]:
    classes = len(source.label_names)
    labels = _balanced(rows, classes, rng)
    texts = [unused.draw(source.write, label, rng) for label in labels]
    recorded = [_annotated(label, classes, rng) for label in labels]
    if source.shuffled:
        recorded = [recorded[row] for row in rng.permutation(rows)]
    return {"text": [*texts], "label": [*recorded]}


def _target_rows(rows: int, unused: _Unused, rng: np.random.Generator) -> dict[str, list[object]]:
    """Write posts: all hold a view, every other one tells a story, the rest give advice.

    What a post says nothing about is null, as in data whose questions build on each other.
    """
    columns: dict[str, list[int | None]] = {
        name: [*_balanced(rows, len(names), rng)] for name, (_, names) in _QUESTIONS.items()
    }
    for row, tells in enumerate(_balanced(rows, 2, rng)):
        columns["home_remedy" if tells else "first_hand"][row] = None
    table: dict[str, list[object]] = {"text": []}
    for row in range(rows):
        labels = {name: column[row] for name, column in columns.items()}
        table["text"].append(unused.draw(_post, labels, rng))
    for name, (_, names) in _QUESTIONS.items():
        table[name] = [
            None if label is None else names[_annotated(label, len(names), rng)]
            for label in columns[name]
        ]
    return table


# ---------------------------------------------------------------------------------------- writing


def write_demo_tasks(folder: Path, seed: int = 0) -> DemoTasks:
    """Write the source tasks and the target, each to a folder of its name.

    Args:
        folder: Made where it is missing; tasks of an earlier call are replaced.
        seed: The same seed writes the same bytes.

    Returns:
        Where the tasks are and which sources are planted as the right answers.

    Raises:
        StorageError: The folder cannot be written.
    """
    unused = _Unused()
    target = folder / TARGET_ID
    _write_target(target, unused, np.random.default_rng([seed, 0]))
    sources = []
    for number, source in enumerate(_SOURCES, start=1):
        path = folder / source.id
        _write_source(path, source, unused, np.random.default_rng([seed, number]))
        sources.append(path)
    return DemoTasks(tuple(sources), target, PLANTED, VALIDATED, CONTROLS)


def _write_source(path: Path, source: _Source, unused: _Unused, rng: np.random.Generator) -> None:
    description = {
        "id": source.id,
        "name": source.name,
        "task_type": "classification",
        "label_names": list(source.label_names),
        "language": "en",
        "domain": source.domain,
        "metric": "macro_f1",
        "license": LICENSE,
        "origin": "esm.cli.demo.tasks",
        "train_rows": SOURCE_TRAIN_ROWS,
        "test_rows": SOURCE_TEST_ROWS,
    }
    with atomic_folder(path) as temporary:
        for split, rows in (("train", SOURCE_TRAIN_ROWS), ("test", SOURCE_TEST_ROWS)):
            _write_table(temporary / f"{split}.parquet", _source_rows(source, rows, unused, rng))
        (temporary / "task.json").write_text(to_json(description), encoding="utf-8")


def _write_target(path: Path, unused: _Unused, rng: np.random.Generator) -> None:
    description = {
        "id": TARGET_ID,
        "name": "Posts about invented remedies, three questions",
        "attributes": {
            name: {"question": question, "labels": list(names)}
            for name, (question, names) in _QUESTIONS.items()
        },
        "language": "en",
        "domain": "health posts",
        "license": LICENSE,
        "origin": "esm.cli.demo.tasks",
        "train_rows": TARGET_TRAIN_ROWS,
        "test_rows": TARGET_TEST_ROWS,
    }
    with atomic_folder(path) as temporary:
        for split, rows in (("train", TARGET_TRAIN_ROWS), ("test", TARGET_TEST_ROWS)):
            _write_table(temporary / f"{split}.parquet", _target_rows(rows, unused, rng))
        (temporary / "target.json").write_text(to_json(description), encoding="utf-8")


def _write_table(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), path, compression="zstd")
