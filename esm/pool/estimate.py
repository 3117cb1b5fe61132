"""What training a pool will take: hours, disk and memory, by a short measured probe.

Nothing is written. Up to three tasks (those with the shortest, the middle and the longest texts)
are really trained on for a few batches and embedded; the time per row of every other task lies
between theirs by its tokens per row. Memory is measured in a training step on the longest texts.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.errors import EsmError
from esm.common.memory import peak_memory
from esm.common.runtime import progress, seeded
from esm.encoder.settings import EncoderConfig
from esm.maps.anchors import corpus_anchors
from esm.maps.forms import MapForm
from esm.pool.build import load_encoder, read_tasks, reopen_pool
from esm.pool.complete import State, entry_state
from esm.pool.deltas import MOST_JUDGED as JUDGED_BY_DELTA
from esm.pool.deltas import budget_of
from esm.pool.entry import HELD_OUT_FOR_R2, ROWS_FOR_VECTORS, TrainConfig
from esm.pool.fingerprints import MOST_SKETCHED
from esm.pool.pool import Pool, Skipped
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import held_out, sample
from esm.tasks.task import Examples, Problem, Task
from esm.training.finetune import MOST_JUDGED

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache
    from esm.encoder.encoder import Encoder

_LOGGER = logging.getLogger(__name__)

_PROBES = 3
_PROBED_BATCHES = 6
_PASSES_PER_STEP = 3
_USUAL_RANK = 64
_HEADER = 1_000


@dataclass(frozen=True)
class TaskEstimate:
    """What one task will take.

    Attributes:
        source: Its id.
        now: What is to be done: ``train``, ``complete`` (cheap) or ``present`` (nothing).
        rows: Training rows that are used.
        tokens: Tokens of these rows; an epoch reads each once.
        seconds: Time to fine-tune, embed and fit; of an entry that is only completed, to embed.
        bytes: Disk that its entry takes: maps, delta, head, vectors, fingerprints, kept encoder.
    """

    source: str
    now: State
    rows: int
    tokens: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class TrainEstimate:
    """What training a pool will take.

    Attributes:
        folder: The pool.
        tasks: Every task that can be read.
        skipped: Those left out, with the reason.
        common_seconds: Time for what the tasks share: embedding the anchors by the base model.
        common_bytes: Disk for what they share, of a new pool: its lift.
        memory_bytes: Most memory in use; None where the system does not say.
        free_bytes: Free disk where the pool is or will be.
        basis: What time and memory were estimated from.
    """

    folder: str
    tasks: tuple[TaskEstimate, ...]
    skipped: tuple[Skipped, ...]
    common_seconds: float
    common_bytes: int
    memory_bytes: int | None
    free_bytes: int
    basis: str

    @property
    def seconds(self) -> float:
        """Time of all."""
        return self.common_seconds + sum(task.seconds for task in self.tasks)

    @property
    def bytes(self) -> int:
        """Disk of all."""
        return self.common_bytes + sum(task.bytes for task in self.tasks)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self) | {"seconds": self.seconds, "bytes": self.bytes}

    def records(self) -> list[dict[str, Any]]:
        """Return one row per task, those that are left out too."""
        left = [
            {"source": skip.source, "now": "skipped", "reason": skip.reason}
            for skip in self.skipped
        ]
        return [*(asdict(task) for task in self.tasks), *left]


def estimate_training(
    specs: Sequence[TaskSpec],
    folder: Path,
    config: TrainConfig,
    *,
    cache: EmbeddingCache | None = None,
    device: str = "auto",
    strict: bool = False,
    replace: bool = False,
) -> TrainEstimate:
    """Estimate what :func:`~esm.pool.build.train_pool` will take with the same arguments.

    Cost: reading and tokenizing the tasks, and some twenty training steps of the base model.

    Raises:
        PoolError: The pool was built with another base model.
        TaskError: No task can be read.
    """
    from esm.encoder.cache import EmbeddingCache

    cache = EmbeddingCache(None) if cache is None else cache
    skipped: list[Skipped] = []
    tasks = read_tasks(specs, skipped, strict)
    states: dict[str, State] = {}
    if Pool.exists(folder):
        trainer = reopen_pool(Pool.open(folder), cache, config, tasks, device)
        encoder, anchors, is_new = trainer.encoder, trainer.pool.common()[0].count, False
        for _, task in tasks:
            try:
                states[task.id] = entry_state(trainer, task, replace=replace)
            except EsmError as error:
                if strict:
                    raise
                skipped.append(Skipped(task.id, str(error)))
    else:
        encoder, is_new = load_encoder(config.encoder or EncoderConfig(), device), True
        anchors = _count_anchors([task for _, task in tasks], config)
        states = {task.id: State.TRAIN for _, task in tasks}
    loads: list[_Load] = []
    for _, task in tasks:
        if task.id in states:
            try:
                loads.append(_Load.of(task, states[task.id], encoder, config))
            except EsmError as error:
                if strict:
                    raise
                skipped.append(Skipped(task.id, str(error)))
    probe = _Probe(encoder, [load for load in loads if load.now is State.TRAIN], config)
    anchor_length = float(np.mean([load.length for load in loads])) if loads else 0.0
    anchor_pass = anchors * probe.embed(anchor_length)
    asked = any(load.now is State.TRAIN for load in loads)
    return TrainEstimate(
        folder=str(folder),
        tasks=tuple(_task(load, probe, anchor_pass, encoder, config) for load in loads),
        skipped=tuple(skipped),
        common_seconds=anchor_pass if asked else 0.0,
        common_bytes=4 * probe.wide * min(config.lift_width, anchors) if is_new else 0,
        memory_bytes=None if probe.memory is None else probe.memory + 4 * probe.wide * anchors,
        free_bytes=_free_bytes(folder),
        basis=probe.basis,
    )


def _count_anchors(tasks: Sequence[Task], config: TrainConfig) -> int:
    if config.anchors_file is not None:
        return len(corpus_anchors(Path(config.anchors_file), seed=config.seed))
    return sum(min(config.anchors_per_task, len(task.train)) for task in tasks)


@dataclass(frozen=True)
class _Load:
    """A task's rows as training reads them: how many, how long, which fill the largest batch."""

    task: Task
    now: State
    examples: Examples
    tokens: int
    longest: tuple[int, ...]
    most_tokens: int
    judged: int

    @classmethod
    def of(cls, task: Task, now: State, encoder: Encoder, config: TrainConfig) -> _Load:
        tune = config.fine_tune
        rows, unseen = held_out(task, tune.seed)
        rows = sample(rows, task.problem, tune.max_examples, tune.seed)
        lengths = [len(text) for text in encoder.tokenize(rows.texts, rows.pairs)]
        by_length = np.argsort(lengths)[-tune.batch_size :]
        return cls(
            task,
            now,
            rows,
            sum(lengths),
            tuple(map(int, by_length)),
            max(lengths, default=0),
            len(unseen),
        )

    @property
    def length(self) -> float:
        """Tokens per row."""
        return self.tokens / max(1, len(self.examples))


@dataclass
class _Probe:
    """Seconds per row of training and of embedding, by tokens per row, really measured."""

    encoder: Encoder
    loads: Sequence[_Load]
    config: TrainConfig
    wide: int = 0
    memory: int | None = None
    basis: str = "nothing is to be trained"
    _points: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.loads:
            return
        ordered = sorted(self.loads, key=lambda load: load.length)
        places = sorted({0, len(ordered) // 2, len(ordered) - 1})[:_PROBES]
        with progress("measuring", total=len(places) + 1) as advance:
            longest = max(ordered, key=lambda load: load.most_tokens)
            with peak_memory(self.encoder.device) as peak:
                self._train(longest, longest.examples.take(list(longest.longest)))
            self.memory = peak.bytes
            advance(1)
            for place in places:
                self._points.append(self._measure(ordered[place]))
                advance(1)
        names = ", ".join(ordered[place].task.id for place in places)
        self.basis = (
            f"up to {_PROBED_BATCHES} batches of {names}, trained on and embedded just now on"
            f" {self.encoder.device.type}, at the load of now; other tasks by their tokens per row"
        )

    def _measure(self, load: _Load) -> tuple[float, float, float]:
        count = min(len(load.examples), _PROBED_BATCHES * self.config.fine_tune.batch_size)
        places = np.random.default_rng(0).permutation(len(load.examples))[:count]
        rows = load.examples.take([int(place) for place in places])
        clock = time.monotonic()
        embedded = self.encoder.embed(rows.texts, rows.pairs, wide=True)
        forward = (time.monotonic() - clock) / count
        if embedded.wide is not None:
            self.wide = embedded.wide.shape[1]
        step = self._train(load, rows)
        return load.length, _PASSES_PER_STEP * forward if step is None else step / count, forward

    def _train(self, load: _Load, rows: Examples) -> float | None:
        """Return the seconds of an epoch of these rows; None of a corpus, which has no labels."""
        from esm.training.finetune import HeadedEncoder, train

        if load.task.problem is Problem.CORPUS:
            return None
        settings = self.config.fine_tune.model_copy(update={"num_epochs": 1})
        with seeded(settings.seed):
            model = HeadedEncoder(self.encoder, load.task)
            clock = time.monotonic()
            train(model, rows, settings)
        return time.monotonic() - clock

    def train(self, length: float) -> float:
        """Return seconds per row and epoch of rows of so many tokens."""
        return self._at(length, 1)

    def embed(self, length: float) -> float:
        """Return seconds per row of one forward pass."""
        return self._at(length, 2)

    def _at(self, length: float, column: int) -> float:
        if not self._points:
            return 0.0
        points = np.array(sorted(self._points))
        return float(np.interp(length, points[:, 0], points[:, column]))


def _task(
    load: _Load, probe: _Probe, anchor_pass: float, encoder: Encoder, config: TrainConfig
) -> TaskEstimate:
    rows, seconds, stored = len(load.examples), 0.0, 0
    own = min(load.judged, HELD_OUT_FOR_R2)
    if load.now is State.TRAIN:
        embedded = (
            min(load.judged, MOST_JUDGED)
            + 2 * own
            + min(rows, ROWS_FOR_VECTORS)
            + min(len(load.task.train), MOST_SKETCHED)
            + (2 * rows if MapForm.PUBLISHED in config.forms else 0)
            + (2 * min(own, JUDGED_BY_DELTA) if config.delta != "none" else 0)
        )
        seconds = (
            config.fine_tune.num_epochs * rows * probe.train(load.length)
            + embedded * probe.embed(load.length)
            + anchor_pass
        )
        stored = entry_bytes(load.task, encoder, config)
    elif load.now is State.COMPLETE:
        seconds = (min(rows, ROWS_FOR_VECTORS) + MOST_SKETCHED) * probe.embed(load.length)
    return TaskEstimate(load.task.id, load.now, rows, load.tokens, seconds, stored)


def entry_bytes(task: Task, encoder: Encoder, config: TrainConfig) -> int:
    """Return about the disk that the entry of a task takes."""
    width = encoder.identity.width
    number = 2 if config.dtype == "float16" else 4
    weights = 4 * sum(weight.numel() for weight in encoder.model.parameters())
    lifted = config.lift_width
    maps = {
        MapForm.ANCHORED: (config.rank or _USUAL_RANK) * (width + lifted) + width,
        MapForm.PUBLISHED: width * (width + 1),
    }
    found = sum(number * maps[form] + _HEADER for form in config.forms)
    if config.delta != "none":
        budget = budget_of(config.delta, encoder.identity)
        found += weights if budget is None else budget
    classes = max(1, len(task.label_names or ()))
    found += 4 * (width + 1) * classes + 3 * 4 * width + 3 * _HEADER
    found += 8 * len(task.train) + 32 * min(len(task.train), MOST_SKETCHED)
    return found + (weights if config.keep_models else 0)


def _free_bytes(folder: Path) -> int:
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    return shutil.disk_usage(there).free
