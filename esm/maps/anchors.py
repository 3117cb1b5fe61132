"""The texts on which all maps of a pool are fitted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from esm.common.errors import ShapeError, TaskError
from esm.common.records import Record
from esm.common.storage import content_hash, hash_texts
from esm.tasks.formats.encodings import read_text
from esm.tasks.formats.files import SUFFIXES, read_table
from esm.tasks.raw import is_missing, missing_column
from esm.tasks.task import Task

if TYPE_CHECKING:
    from esm.encoder.cache import Embedder, EmbeddingCache
    from esm.encoder.encoder import Embeddings

Row = tuple[str, str | None]
"""A text and, for pair tasks, its second text."""


class AnchorRef(Record):
    """Where an anchor comes from; a pool keeps this instead of the text.

    Attributes:
        task: Id of the task, of whose training rows it is one; or name of the corpus file.
        row: Position among them; line or row of the corpus.
        hash: SHA-256 of the text or text pair.
    """

    task: str
    row: int = Field(ge=0)
    hash: str


@dataclass(frozen=True)
class Anchors:
    """The anchor texts of a pool.

    Attributes:
        texts: n texts.
        pairs: The n second texts; None where an anchor is a single text.
        groups: What is held out together, by anchor: the task it comes from.
        refs: Where each comes from.
    """

    texts: tuple[str, ...]
    pairs: tuple[str | None, ...]
    groups: tuple[str, ...]
    refs: tuple[AnchorRef, ...]

    def __post_init__(self) -> None:
        counts = [len(part) for part in (self.texts, self.pairs, self.groups, self.refs)]
        if len(set(counts)) != 1:
            raise ShapeError(
                f"{counts[0]} anchor texts, {counts[1]} second texts, {counts[2]} groups and"
                f" {counts[3]} references",
                expected="as many of each",
            )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> Anchors:
        """Return some of the anchors, by position."""
        return Anchors(
            texts=tuple(self.texts[row] for row in rows),
            pairs=tuple(self.pairs[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            refs=tuple(self.refs[row] for row in rows),
        )

    def content_hash(self) -> str:
        """Return a hash of texts and groups, in their order."""
        paired = [pair is not None for pair in self.pairs]
        texts = hash_texts(self.texts, [pair or "" for pair in self.pairs])
        return content_hash(texts, paired, self.groups)

    def embed(self, cache: EmbeddingCache, encoder: Embedder, *, wide: bool = False) -> Embeddings:
        """Embed the anchors: pairs as pairs, single texts as single texts.

        Raises:
            EncoderError: There is no anchor, or the model gives numbers that are not finite.
        """
        from esm.encoder.encoder import Embeddings

        single = [row for row, pair in enumerate(self.pairs) if pair is None]
        paired = [row for row, pair in enumerate(self.pairs) if pair is not None]
        seconds = [pair for pair in self.pairs if pair is not None]
        if not paired:
            return cache.embed(encoder, self.texts, wide=wide)
        parts = [cache.embed(encoder, [self.texts[row] for row in paired], seconds, wide=wide)]
        if single:
            parts.append(cache.embed(encoder, [self.texts[row] for row in single], wide=wide))
        back = np.argsort([*paired, *single])
        features = [part.wide for part in parts if part.wide is not None]
        return Embeddings(
            last=np.concatenate([part.last for part in parts])[back],
            wide=np.concatenate(features)[back] if wide else None,
            cut=sum(part.cut for part in parts),
        )


def draw_anchors(tasks: Sequence[Task], per_task: int = 200, seed: int = 0) -> Anchors:
    """Draw anchors from the training rows of tasks, at random and without replacement.

    The draw does not depend on the order of the tasks. A text that several tasks hold is drawn
    once, for the first of them by id.

    Args:
        tasks: The source tasks of a pool.
        per_task: How many to draw of each; a smaller task gives all its rows.
        seed: Seed of the draw.
    """
    drawn: list[tuple[Row, str, AnchorRef]] = []
    seen: set[Row] = set()
    for task in sorted(tasks, key=lambda task: task.id):
        rows = _task_rows(task)
        for row in _sample(rows, seen, per_task, _generator(seed, task.id)):
            drawn.append((rows[row], task.id, _reference(task.id, row, rows[row])))
    return _gather(drawn)


def corpus_anchors(path: Path, count: int = 5000, seed: int = 0) -> Anchors:
    """Draw anchors from an unlabelled corpus; each is a group of its own.

    Args:
        path: ``.txt`` with one text a line, or a table of any kind that tasks are read from, with
            a column ``text``.
        count: How many to draw; a smaller corpus gives all its texts.
        seed: Seed of the draw.

    Raises:
        TaskError: The file is absent, damaged, of another kind, or has no texts.
    """
    rows: list[Row] = [(text, None) for text in corpus_texts(path)]
    seen: set[Row] = {row for row in rows if is_missing(row[0])}
    chosen = _sample(rows, seen, count, _generator(seed, path.name))
    if not chosen:
        raise TaskError(f"{path} holds no text", expected="at least one line or row that is one")
    # A colon cannot stand in a task's id, so no source takes an anchor for its own.
    return _gather(
        [(rows[row], f"corpus:{row}", _reference(path.name, row, rows[row])) for row in chosen]
    )


def restore_anchors(refs: Sequence[AnchorRef], tasks: Sequence[Task]) -> Anchors:
    """Find the texts of anchors again.

    Args:
        refs: What a pool remembers of its anchors.
        tasks: The tasks they were drawn from, in any order; others are ignored.

    Raises:
        TaskError: A task is not there, or its training rows have changed.
    """
    available = {task.id: _task_rows(task) for task in tasks}
    absent = sorted({ref.task for ref in refs} - set(available))
    if absent:
        raise TaskError(
            f"anchor texts come from tasks that are not there: {', '.join(absent[:5])}",
            expected="all tasks that the pool's anchors were drawn from",
            hint="restore their data, or train another pool",
        )
    drawn: list[tuple[Row, str, AnchorRef]] = []
    changed: Counter[str] = Counter()
    for ref in refs:
        rows = available[ref.task]
        if ref.row < len(rows) and _reference(ref.task, ref.row, rows[ref.row]) == ref:
            drawn.append((rows[ref.row], ref.task, ref))
        else:
            changed[ref.task] += 1
    if changed:
        counts = Counter(ref.task for ref in refs)
        listed = ", ".join(
            f"{n} of {counts[task]} from {task}" for task, n in changed.most_common(5)
        )
        raise TaskError(
            f"anchor texts have changed: {listed}",
            expected="the training rows that the pool's anchors were drawn from",
            hint="restore the data, or train another pool",
        )
    return _gather(drawn)


def _task_rows(task: Task) -> list[Row]:
    pairs = task.train.pairs or (None,) * len(task.train)
    return list(zip(task.train.texts, pairs, strict=True))


def _sample(
    rows: Sequence[Row], seen: set[Row], count: int, generator: np.random.Generator
) -> list[int]:
    """Draw positions of rows not seen before, ascending; remember the rows as seen."""
    chosen: list[int] = []
    for row in generator.permutation(len(rows)).tolist():
        if len(chosen) == count:
            break
        if rows[row] not in seen:
            seen.add(rows[row])
            chosen.append(row)
    return sorted(chosen)


def _generator(seed: int, name: str) -> np.random.Generator:
    """Seed by the name too: a task's draw does not depend on the other tasks."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def _reference(task: str, row: int, content: Row) -> AnchorRef:
    text, pair = content
    return AnchorRef(task=task, row=row, hash=hash_texts([text], None if pair is None else [pair]))


def _gather(drawn: Sequence[tuple[Row, str, AnchorRef]]) -> Anchors:
    return Anchors(
        texts=tuple(row[0] for row, _, _ in drawn),
        pairs=tuple(row[1] for row, _, _ in drawn),
        groups=tuple(group for _, group, _ in drawn),
        refs=tuple(ref for _, _, ref in drawn),
    )


def corpus_texts(path: Path) -> list[str]:
    """Read an unlabelled corpus whole: see :func:`corpus_anchors`."""
    if path.suffix.lower() == ".txt":
        return _read_lines(path)
    if path.suffix.lower() not in SUFFIXES:
        raise TaskError(
            f"corpus {path} is a {path.suffix or 'suffixless'} file",
            expected=f"one of {', '.join(SUFFIXES)}",
            hint="convert the file",
        )
    table = read_table(path)
    if "text" not in table:
        raise missing_column("text", table, f"corpus {path}")
    texts = ["" if is_missing(value) else value for value in table["text"]]
    if not all(isinstance(text, str) for text in texts):
        raise TaskError(f"column 'text' of {path} does not hold texts", expected="strings")
    return texts


def _read_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise TaskError(f"no file {path}", expected="an existing file")
    return read_text(path).split("\n")
