"""The winners of a run: which trained models to use, and the encoders they need."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import EncoderError, EsmError, ValidationError
from esm.encoder.settings import EncoderConfig
from esm.pool.pool import Pool, PoolEntry
from esm.trials.encoders import MODELS_NAME, load_start
from esm.trials.ledger import RunKey
from esm.trials.lines import Line
from esm.trials.model_record import TrainedRecord
from esm.trials.models import AGAIN, TRAINED_NAME, ModelStore, Trained
from esm.trials.results import Result

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder


@dataclass(frozen=True)
class Winner:
    """The models of the arm or strategy that did best on an attribute, one per run.

    Attributes:
        attribute: Name of the attribute.
        source: Id of the source task, or ``none``.
        models: At least one.
    """

    attribute: str
    source: str
    models: tuple[Trained, ...]

    @property
    def record(self) -> TrainedRecord:
        """What is known of the first model, and the same of all: what they predict."""
        return self.models[0].record


def winners(run: Path, result: Result, attributes: Collection[str] = ()) -> tuple[Winner, ...]:
    """Return the models of the best arm or strategy of each attribute, one per seed and fold.

    Args:
        run: Folder of the validation or comparison.
        result: What it found.
        attributes: Names of attributes; none means all that have a winner.

    Raises:
        ValidationError: An attribute is not of this run or has no winner, or its models are not
            there.
    """
    if unknown := [name for name in attributes if name not in result.found]:
        raise ValidationError(
            f"attribute {', '.join(unknown)} is not in {run}",
            expected=f"some of {', '.join(result.found)}",
        )
    best = {name: result.best(name) for name in result.found}
    chosen = [name for name in best if name in attributes or (not attributes and best[name])]
    undecided = [name for name in chosen if best[name] is None]
    if undecided or not chosen:
        raise ValidationError(
            f"{run} has no winner for {', '.join(undecided) or 'any attribute'}: no"
            f" {result.CHOSEN} has all its runs",
            expected="a finished run",
            hint="run the same command again: it goes on where it stopped",
        )
    store = ModelStore(run)
    return tuple(_winner(run, result, name, line, store) for name in chosen if (line := best[name]))


def _winner(run: Path, result: Result, name: str, line: Line, store: ModelStore) -> Winner:
    if name in result.models:
        found = store.models(name, result.models[name])
    else:  # a validation of an earlier version
        keys = set(result.keys)
        found = [
            trained
            for trained in store.models(name)
            if trained.record.key.source == line.source
            and trained.record.key.content_hash() in keys
        ]
    if len(found) != line.runs:
        raise ValidationError(
            f"{run} holds {len(found)} of the {line.runs} trained models of {name} with"
            f" {line.label}",
            expected="all of them",
            hint=AGAIN,
        )
    return Winner(name, found[0].record.key.source, tuple(found))


class StartEncoders:
    """The encoders that trained models start from; the one used last stays in memory.

    Args:
        run: Folder of the run.
        result: What it found.
        device: Device to compute on.
    """

    def __init__(self, run: Path, result: Result, device: str) -> None:
        self._run = run
        self._result = result
        self._device = device
        self._latest: tuple[tuple[str | None, EncoderConfig], Encoder] | None = None

    def encoder(self, record: TrainedRecord) -> Encoder:
        """Return the encoder that a model starts from.

        Raises:
            EncoderError: It cannot be loaded, or its weights are others than those that the
                model was trained on.
            ValidationError: It is a tuned encoder that neither the run nor the pool has.
        """
        wanted = (record.tuned, record.encoder)
        if self._latest is None or self._latest[0] != wanted:
            self._latest = None
            self._latest = (wanted, self._load(record))
        return self._latest[1]

    def _load(self, record: TrainedRecord) -> Encoder:
        from esm.encoder.encoder import Encoder

        config = record.encoder.model_copy(update={"prefix": record.start.prefix})
        kept = None if record.tuned is None else self._tuned(record.key, record.tuned)
        if kept is not None and record.key.delta is None:
            config = config.model_copy(update={"model": str(kept), "revision": None})
        encoder = Encoder.load(config, self._device)
        if kept is not None and record.key.delta is not None:
            encoder = load_start(kept, encoder)
        differing = encoder.identity.differences(record.start)
        if differing:
            name = differing[0]
            wanted, found = (str(getattr(of, name))[:12] for of in (record.start, encoder.identity))
            raise EncoderError(
                f"the model at {config.model} has changed since {record.id} was trained on it",
                expected=f"{name} {wanted}, got {found}",
                hint="restore the model, or run the command again with another --out folder",
            )
        return encoder

    def _tuned(self, key: RunKey, name: str) -> Path:
        folder = self._run / MODELS_NAME / name
        if folder.is_dir():
            return folder
        try:
            entry = Pool.open(Path(self._result.pool)).entry(key.source)
            kept = entry.model_folder if key.delta is None else _delta_folder(entry, key)
        except EsmError as error:
            raise _no_encoder(key.source, self._run, str(error)) from error
        if kept is None:
            raise _no_encoder(key.source, self._run, "the pool does not keep it")
        return kept


def _delta_folder(entry: PoolEntry, key: RunKey) -> Path | None:
    """Return the pool's folder with the delta of a run, if it is still that one."""
    known = entry.record.delta
    same = known is not None and known.hash == key.delta and entry.packed is None
    return entry.folder if same else None


def _no_encoder(source: str, run: Path, reason: str) -> ValidationError:
    return ValidationError(
        f"the encoder tuned on {source} is gone from {run / MODELS_NAME}, and {reason}",
        expected="the encoder that the winning models were trained on",
        hint=f"remove {run / TRAINED_NAME}, then {AGAIN}",
    )
