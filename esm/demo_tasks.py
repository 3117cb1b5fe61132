"""The demo's data: generated source tasks and a target whose best sources are known beforehand.

The target is a set of posts about invented remedies with three attributes, each carried by one
relation of :mod:`esm.demo_grammar`. For each attribute one source task teaches the same relation
in another genre: that is the planted answer. The controls have the size and the texts of the best
source for the attribute that is validated, but other labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from esm import demo_grammar as grammar
from esm.demo_grammar import Words, expand
from esm.storage import atomic_folder, to_json

SOURCE_TRAIN_ROWS = 500
SOURCE_TEST_ROWS = 100
TARGET_TRAIN_ROWS = 200
TARGET_TEST_ROWS = 400
LABEL_NOISE = 0.05
TYPO_SHARE = 0.15
ANNOTATED_SHARE = 0.7

TARGET_ID = "remedy-posts"
LICENSE = "Apache-2.0 (generated; every remedy, illness and place is invented)"

Write = Callable[[int, np.random.Generator], str]


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
    {"endorsed": "garden-claims", "first_hand": "travel-witness", "advice": "kitchen-swaps"}
)
VALIDATED = "endorsed"
CONTROLS = MappingProxyType(
    {"shared vocabulary": "garden-plants", "shuffled labels": "garden-shuffled"}
)


# ---------------------------------------------------------------------- one sentence per relation


def _view(words: Words, frames: Sequence[str], endorsed: int, rng: np.random.Generator) -> str:
    """The writer holds one of two opposite claims and rejects the other."""
    works, fails = _choice(grammar.WORKS, rng), _choice(grammar.FAILS, rng)
    mine, theirs = (works, fails) if endorsed else (fails, works)
    return expand(
        _choice(frames, rng),
        {**grammar.COMMON, **words, "mine": (mine,), "theirs": (theirs,)},
        rng,
    )


def _witness(words: Words, first_hand: int, rng: np.random.Generator) -> str:
    """The writer went through something, or someone else did and the writer knows of it."""
    someone = expand("{relative}", grammar.COMMON, rng)
    doer, hearer = ("i", someone) if first_hand else (someone, "i")
    return expand(
        _choice(grammar.WITNESS, rng), {**words, "doer": (doer,), "hearer": (hearer,)}, rng
    )


def _advice(words: Words, folk: int, rng: np.random.Generator) -> str:
    """Of a home-made and a bought or prescribed thing, one is advised instead of the other."""
    home, shop = (expand(pattern, words, rng) for pattern in ("{folk}", "{clinic}"))
    pick, drop = (home, shop) if folk else (shop, home)
    return expand(_choice(grammar.ADVICE, rng), {"pick": (pick,), "drop": (drop,)}, rng)


def _choice(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]


# ----------------------------------------------------------------------------------- whole texts


def _dress(sentences: Sequence[str], words: Words, rng: np.random.Generator) -> str:
    """Join sentences as people post them: opener, closer, hashtags, a typo here and there."""
    parts = [sentence + "." for sentence in sentences]
    if rng.random() < 0.3:
        parts.insert(0, _choice(grammar.COMMON["opener"], rng))
    if rng.random() < 0.3:
        parts.append(_choice(grammar.COMMON["closer"], rng))
    if rng.random() < 0.3:
        parts.append(_choice(words["tag"], rng))
    text = " ".join(parts)
    return _with_typo(text, rng) if rng.random() < TYPO_SHARE else text


def _with_typo(text: str, rng: np.random.Generator) -> str:
    """Swap two neighbouring letters inside one longer word."""
    starts = [match.start() for match in re.finditer(r"[a-z]{5,}", text)]
    if not starts:
        return text
    at = starts[int(rng.integers(len(starts)))] + 1 + int(rng.integers(2))
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _garden_claim(endorsed: int, crop: str, rng: np.random.Generator) -> str:
    words = {**grammar.GARDEN, "crop": grammar.GARDEN[crop]}
    sentence = _view(words, grammar.VIEWS + grammar.VIEWS_IN_FORUMS, endorsed, rng)
    return _dress([sentence], words, rng)


def _garden_by_view(label: int, rng: np.random.Generator) -> str:
    return _garden_claim(label, _choice(("flower", "vegetable"), rng), rng)


def _garden_by_crop(label: int, rng: np.random.Generator) -> str:
    return _garden_claim(int(rng.integers(2)), ("flower", "vegetable")[label], rng)


def _travel(label: int, rng: np.random.Generator) -> str:
    return _dress([_witness(grammar.TRAVEL, label, rng)], grammar.TRAVEL, rng)


def _kitchen(label: int, rng: np.random.Generator) -> str:
    return _dress([_advice(grammar.KITCHEN, label, rng)], grammar.KITCHEN, rng)


def _ticket(label: int, rng: np.random.Generator) -> str:
    topic = ("account", "billing", "delivery")[label]
    return _dress([expand(f"{{{topic}}}, {{plea}}", grammar.TICKETS, rng)], grammar.TICKETS, rng)


def _post(labels: Mapping[str, int | None], rng: np.random.Generator) -> str:
    """Write a target post that says something about each attribute whose label is not None."""
    words = grammar.POSTS
    sentences = []
    if (endorsed := labels["endorsed"]) is not None:
        sentences.append(_view(words, grammar.VIEWS + grammar.VIEWS_IN_POSTS, endorsed, rng))
    if (first_hand := labels["first_hand"]) is not None:
        sentences.append(_witness(words, first_hand, rng))
    if (folk := labels["advice"]) is not None:
        sentences.append(_advice(words, folk, rng))
    return _dress(sentences, words, rng)


# --------------------------------------------------------------------------------- tables of rows


@dataclass(frozen=True)
class _Source:
    """One generated source task: what it is about and how one of its texts is written."""

    id: str
    name: str
    domain: str
    label_names: tuple[str, ...]
    write: Write
    shuffled: bool = False


_SOURCES = (
    _Source("garden-claims", "Garden tips: does the writer stand by the tip?", "garden forum",
            ("rejected", "endorsed"), _garden_by_view),
    _Source("garden-plants", "Garden tips: flowers or vegetables?", "garden forum",
            ("flower", "vegetable"), _garden_by_crop),
    _Source("garden-shuffled", "Garden tips with permuted labels", "garden forum",
            ("rejected", "endorsed"), _garden_by_view, shuffled=True),
    _Source("kitchen-swaps", "Kitchen advice: which of two is advised?", "recipes",
            ("bought", "home-made"), _kitchen),
    _Source("support-tickets", "What a support request is about", "customer support",
            ("account", "billing", "delivery"), _ticket),
    _Source("travel-witness", "Travel stories: who went through it?", "travel notes",
            ("hearsay", "first-hand"), _travel),
)  # fmt: skip

_QUESTIONS = {
    "endorsed": ("Does the author hold that the remedy works?", ("no", "yes")),
    "first_hand": ("Did the author go through what is told?", ("no", "yes")),
    "advice": ("Which treatment is advised?", ("clinic", "home")),
}


class _Unused:
    """Hands out texts that no other row of the demo has, compared without case and punctuation."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def draw(self, write: Callable[[], str]) -> str:
        while True:
            text = write()
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
    texts = [unused.draw(lambda label=label: source.write(label, rng)) for label in labels]
    recorded = [_annotated(label, classes, rng) for label in labels]
    if source.shuffled:
        recorded = [recorded[row] for row in rng.permutation(rows)]
    return {"text": [*texts], "label": [*recorded]}


def _target_rows(rows: int, unused: _Unused, rng: np.random.Generator) -> dict[str, list[object]]:
    """Write posts; an attribute that a post says nothing about is null."""
    columns: dict[str, list[int | None]] = {
        name: [*_balanced(rows, len(names), rng)] for name, (_, names) in _QUESTIONS.items()
    }
    for name in columns:
        if name != VALIDATED:
            silent = set(rng.permutation(rows)[round(ANNOTATED_SHARE * rows) :].tolist())
            columns[name] = [
                None if row in silent else label for row, label in enumerate(columns[name])
            ]
    table: dict[str, list[object]] = {"text": []}
    for row in range(rows):
        labels = {name: column[row] for name, column in columns.items()}
        table["text"].append(unused.draw(lambda labels=labels: _post(labels, rng)))
    for name, (_, names) in _QUESTIONS.items():
        table[name] = [
            None if label is None else names[_annotated(label, len(names), rng)]
            for label in columns[name]
        ]
    return table


# ---------------------------------------------------------------------------------------- writing


def write_demo_tasks(folder: Path, seed: int = 0) -> DemoTasks:
    """Write the source tasks to ``folder/tasks`` and the target to ``folder/targets``.

    Args:
        folder: Made where it is missing; tasks of an earlier call are replaced.
        seed: The same seed writes the same bytes.

    Returns:
        Where the tasks are and which sources are planted as the right answers.

    Raises:
        StorageError: The folder cannot be written.
    """
    unused = _Unused()
    target = folder / "targets" / TARGET_ID
    _write_target(target, unused, np.random.default_rng([seed, 0]))
    sources = []
    for number, source in enumerate(_SOURCES, start=1):
        path = folder / "tasks" / source.id
        _write_source(path, source, unused, np.random.default_rng([seed, number]))
        sources.append(path)
    return DemoTasks(tuple(sources), target, PLANTED, VALIDATED, CONTROLS)


def _write_source(
    path: Path, source: _Source, unused: _Unused, rng: np.random.Generator
) -> None:
    description = {
        "id": source.id,
        "name": source.name,
        "task_type": "classification",
        "label_names": list(source.label_names),
        "language": "en",
        "domain": source.domain,
        "metric": "macro_f1",
        "license": LICENSE,
        "origin": "esm.demo_tasks",
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
        "origin": "esm.demo_tasks",
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
