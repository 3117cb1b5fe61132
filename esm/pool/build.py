"""Build a pool: fine-tune the base model on each source task, fit its maps, store them.

Per source, the tuned encoder embeds the pool's anchors once; every map form is fitted from that.
A source that is already there with the same configuration is not trained again, so the same
command resumes after Ctrl-C or a kill: at most the source in flight is lost. What an entry of an
older pool lacks is added (see :mod:`esm.pool.complete`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.common.errors import EncoderError, EsmError, FitError, MapError, PoolError, TaskError
from esm.common.runtime import progress
from esm.common.storage import folder_lock, sweep, write_json
from esm.encoder.cache import EmbeddingCache
from esm.encoder.settings import EncoderConfig
from esm.maps.anchors import Anchors, corpus_anchors, draw_anchors
from esm.maps.delta.cut import check_budget
from esm.maps.lift import Lift
from esm.pool.base_model import base_config, check_base
from esm.pool.complete import State, complete, entry_state
from esm.pool.deltas import budget_of
from esm.pool.entry import EntryTrainer, TrainConfig
from esm.pool.pool import POOL_FORMAT, AnchorRecord, LiftRecord, Pool, PoolManifest, Skipped
from esm.tasks.load import load_tasks
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Task

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder

_LOGGER = logging.getLogger(__name__)

_FEWEST_ANCHORS = 10
_FEW_ANCHORS = 1000


@dataclass(frozen=True)
class BuildReport:
    """What became of each task.

    Attributes:
        folder: The pool.
        trained: Sources trained now.
        completed: Sources that were there and got what they lacked, without training again.
        present: Sources that were already there.
        skipped: Sources left out, with the reason.
        seconds: Wall-clock time.
        without_delta: Sources that were there and keep nothing from which a delta could be cut.
    """

    folder: str
    trained: tuple[str, ...]
    completed: tuple[str, ...]
    present: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    seconds: float
    without_delta: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)

    def records(self) -> list[dict[str, str]]:
        """Return one row per task: what became of it, and why where it was skipped."""
        rows = [{"source": source, "now": "trained", "reason": ""} for source in self.trained]
        rows += [{"source": source, "now": "completed", "reason": ""} for source in self.completed]
        rows += [{"source": source, "now": "present", "reason": ""} for source in self.present]
        rows += [
            {"source": skip.source, "now": "skipped", "reason": skip.reason}
            for skip in self.skipped
        ]
        return rows


def train_pool(
    specs: Sequence[TaskSpec],
    folder: Path,
    config: TrainConfig,
    *,
    cache: EmbeddingCache | None = None,
    device: str = "auto",
    strict: bool = False,
    replace: bool = False,
    own: Mapping[str, TrainConfig] | None = None,
) -> BuildReport:
    """Train every task that the pool does not hold yet.

    Cost: dominated by fine-tuning; a map itself takes milliseconds. Memory: the anchors' wide
    features, about 70 MB for 5,000 texts at d = 384.

    Args:
        specs: The source tasks; one that names several attributes stands for as many.
        folder: The pool; made where it is missing. An existing pool keeps its base model,
            anchors and lift.
        config: Settings.
        cache: Cache of embeddings; None for the default one.
        device: Device to compute on.
        strict: Raise for the first task that fails instead of leaving it out.
        replace: Train an entry anew when it is there damaged or with other settings.
        own: Settings of single sources, by id, where they are not those of all: of fine-tuning and
            of maps.

    Raises:
        PoolError: The pool was built with another base model.
        SettingError: A delta cannot be so small.
        BusyError: Another process is writing to the pool.
        StorageError: The folder cannot be written.
    """
    started = time.monotonic()
    cache = EmbeddingCache.default() if cache is None else cache
    skipped: list[Skipped] = []
    with folder_lock(folder):
        sweep(folder)
        sweep(folder / "sources")
        tasks = _load_tasks(specs, skipped, strict)
        if Pool.exists(folder):
            trainer = _reopen(Pool.open(folder), cache, config, tasks, device)
        else:
            trainer = _create(folder, cache, config, tasks, device)
        if config.delta != "none":
            check_budget(trainer.encoder.model, budget_of(config.delta, trainer.encoder.identity))
        done = _train_all(trainer, tasks, skipped, strict=strict, replace=replace, own=own or {})
    return BuildReport(
        folder=str(folder),
        trained=tuple(done[State.TRAIN]),
        completed=tuple(done[State.COMPLETE]),
        present=tuple(done[State.PRESENT]),
        skipped=tuple(skipped),
        seconds=time.monotonic() - started,
        without_delta=tuple(
            source
            for source in (*done[State.COMPLETE], *done[State.PRESENT])
            if config.delta != "none" and trainer.pool.entry(source).record.delta is None
        ),
    )


def _load_tasks(
    specs: Sequence[TaskSpec], skipped: list[Skipped], strict: bool
) -> list[tuple[TaskSpec, Task]]:
    """Read the tasks, one per named attribute.

    Those that cannot be read are skipped, an id that comes twice too.
    """
    tasks: dict[str, tuple[TaskSpec, Task]] = {}
    with progress("reading tasks", total=len(specs)) as advance:
        for spec in specs:
            try:
                for single, task in load_tasks(spec):
                    if task.id in tasks:
                        raise TaskError(
                            f"two tasks are called {task.id}", hint="give one of them another --id"
                        )
                    tasks[task.id] = (single, task)
            except EsmError as error:
                if strict:
                    raise
                skipped.append(Skipped(spec.id or spec.path.name or spec.location, str(error)))
            advance(1)
    if not tasks:
        reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in skipped[:3])
        raise TaskError(
            f"none of {len(specs)} tasks can be used ({reasons})", expected="at least one"
        )
    return [tasks[identifier] for identifier in sorted(tasks)]


def _reopen(
    pool: Pool,
    cache: EmbeddingCache,
    config: TrainConfig,
    tasks: list[tuple[TaskSpec, Task]],
    device: str,
) -> EntryTrainer:
    """Go on with a pool that is there; its base model, anchors and lift stay."""
    pool.check_writable()
    anchors, _ = pool.common()
    if config.anchors_file and _absolute(config.anchors_file) != anchors.corpus:
        raise PoolError(
            f"anchors {config.anchors_file} for pool {pool.folder}, which has its own",
            expected="the anchors that its maps were fitted on",
            hint="leave out --anchors, or train another pool",
        )
    given = {} if config.encoder is None else config.encoder.model_dump(exclude_unset=True)
    encoder = _load(base_config(pool).model_copy(update=given), device)
    check_base(pool, encoder, reading=True)
    return EntryTrainer(pool, encoder, cache, config, [task for _, task in tasks])


def _absolute(path: str) -> str:
    return str(Path(path).resolve())


def _load(config: EncoderConfig, device: str) -> Encoder:
    from esm.encoder.encoder import Encoder

    return Encoder.load(config, device)


def _create(
    folder: Path,
    cache: EmbeddingCache,
    config: TrainConfig,
    tasks: list[tuple[TaskSpec, Task]],
    device: str,
) -> EntryTrainer:
    """Draw the anchors, fit the lift, write the manifest last: its presence makes a pool."""
    settings = config.encoder or EncoderConfig()
    encoder = _load(settings, device)
    if config.anchors_file is None:
        anchors = draw_anchors([task for _, task in tasks], config.anchors_per_task, config.seed)
    else:
        anchors = corpus_anchors(Path(config.anchors_file), seed=config.seed)
    if len(anchors) < _FEWEST_ANCHORS:
        raise PoolError(
            f"{len(anchors)} anchor texts",
            expected=f"at least {_FEWEST_ANCHORS}, better 1,000 or more",
            hint="more tasks, a higher --anchors-per-task, or --anchors FILE",
        )
    _note_anchors(anchors)
    wide = anchors.embed(cache, encoder, wide=True).wide
    assert wide is not None
    lift = Lift.fit(wide, width=config.lift_width)
    manifest = PoolManifest(
        format=POOL_FORMAT,
        base=encoder.identity,
        revision=settings.revision,
        anchors=AnchorRecord(
            count=len(anchors),
            hash=anchors.content_hash(),
            corpus=config.anchors_file and _absolute(config.anchors_file),
            per_task=config.anchors_per_task,
            seed=config.seed,
        ),
        lift=LiftRecord(hash=lift.content_hash(), width=lift.width),
    )
    drawn_from = {ref.task for ref in anchors.refs}
    write_json(
        folder / "anchors.json",
        {
            "tasks": {
                task.id: spec.model_dump(mode="json")
                for spec, task in tasks
                if task.id in drawn_from
            },
            "anchors": [ref.model_dump(mode="json") for ref in anchors.refs],
        },
    )
    lift.save(folder / "lift.safetensors")
    write_json(folder / "pool.json", manifest.model_dump(mode="json"))
    return EntryTrainer(Pool(folder, manifest), encoder, cache, config, [], anchors)


def _note_anchors(anchors: Anchors) -> None:
    """Say what the maps will rest on; few anchors, or one task's, are set for good."""
    groups = len(set(anchors.groups))
    _LOGGER.info(f"{len(anchors)} anchor texts from {groups} groups")
    if len(anchors) < _FEW_ANCHORS or groups == 1:
        _LOGGER.warning(
            f"that is little: maps hold for other texts with about {_FEW_ANCHORS} anchors or more"
            " from several tasks; name all tasks in the first command, or give --anchors FILE"
        )


def _train_all(
    trainer: EntryTrainer,
    tasks: list[tuple[TaskSpec, Task]],
    skipped: list[Skipped],
    *,
    strict: bool,
    replace: bool,
    own: Mapping[str, TrainConfig],
) -> dict[State, list[str]]:
    """Train or complete every task; return the sources by what was done."""
    done: dict[State, list[str]] = {state: [] for state in State}
    config = trainer.config
    with progress("source tasks", total=len(tasks)) as advance:
        for spec, task in tasks:
            try:
                trainer.config = own.get(task.id, config)
                state = entry_state(trainer, task, replace=replace)
                if state is State.TRAIN:
                    trainer.train(spec, task)
                elif state is State.COMPLETE:
                    complete(trainer, task)
                done[state].append(task.id)
            except (TaskError, FitError, EncoderError, MapError, PoolError) as error:
                if strict:
                    raise
                skipped.append(Skipped(task.id, str(error)))
            advance(1)
    return done
