"""The winners of a validation: which trained models to use, and the encoders they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from esm.common.errors import EncoderError, EsmError, ValidationError
from esm.encoder.settings import EncoderConfig
from esm.pool.pool import Pool
from esm.trials.encoders import MODELS_NAME
from esm.trials.ledger import RunKey
from esm.trials.model_record import TrainedRecord
from esm.trials.models import AGAIN, TRAINED_NAME, Trained, TrainedStore
from esm.trials.validation import Validation

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder


class Result(Protocol):
    """What start encoders need to know of a run."""

    @property
    def pool(self) -> str:
        """Folder of the pool that sources were taken from."""
        ...


@dataclass(frozen=True)
class Winner:
    """The models of the arm that did best on an attribute, one per run.

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


def winners(
    run: Path, validation: Validation, attributes: Collection[str] = ()
) -> tuple[Winner, ...]:
    """Return the winning models of a validation, in the order of its attributes.

    Args:
        run: Its folder.
        validation: Its result.
        attributes: Names of attributes; none means all that have a winner.

    Raises:
        ValidationError: An attribute is not of this validation or has no winner, or its models
            are not there.
    """
    if unknown := [name for name in attributes if name not in validation.attributes]:
        raise ValidationError(
            f"attribute {', '.join(unknown)} is not in {run}",
            expected=f"some of {', '.join(validation.attributes)}",
        )
    chosen = [name for name in validation.attributes if name in (attributes or validation.winners)]
    undecided = [name for name in chosen if name not in validation.winners]
    if undecided or not chosen:
        raise ValidationError(
            f"{run} has no winner for {', '.join(undecided) or 'any attribute'}: no source, nor"
            " none, has all its runs",
            expected="a finished validation",
            hint="run the same esm validate command again: it goes on where it stopped",
        )
    models = TrainedStore(run).models()
    return tuple(_winner(run, validation, name, models) for name in chosen)


def _winner(run: Path, validation: Validation, name: str, models: Iterable[Trained]) -> Winner:
    source, keys = validation.winners[name], set(validation.keys)
    found = tuple(
        trained
        for trained in models
        if (trained.record.key.attribute, trained.record.key.source) == (name, source)
        and trained.record.key.content_hash() in keys
    )
    arm = next(arm for arm in validation.attributes[name].arms if arm.source == source)
    if len(found) != arm.runs:
        raise ValidationError(
            f"{run} holds {len(found)} of the {arm.runs} trained models of {name} after {source}",
            expected="all of them",
            hint=AGAIN,
        )
    return Winner(name, source, found)


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

        config = record.encoder
        if record.tuned is not None:
            place = str(self._tuned(record.key, record.tuned))
            config = config.model_copy(update={"model": place, "revision": None})
        encoder = Encoder.load(config, self._device)
        differing = encoder.identity.differences(record.start)
        if differing:
            name = differing[0]
            wanted, found = (str(getattr(of, name))[:12] for of in (record.start, encoder.identity))
            raise EncoderError(
                f"the model at {config.model} has changed since {record.id} was trained on it",
                expected=f"{name} {wanted}, got {found}",
                hint="restore the model, or esm validate into another folder",
            )
        return encoder

    def _tuned(self, key: RunKey, name: str) -> Path:
        folder = self._run / MODELS_NAME / name
        if folder.is_dir():
            return folder
        try:
            kept = Pool.open(Path(self._result.pool)).entry(key.source).model_folder
        except EsmError as error:
            raise _no_encoder(key.source, self._run, str(error)) from error
        if kept is None:
            raise _no_encoder(key.source, self._run, "the pool does not keep it")
        return kept


def _no_encoder(source: str, run: Path, reason: str) -> ValidationError:
    return ValidationError(
        f"the encoder tuned on {source} is gone from {run / MODELS_NAME}, and {reason}",
        expected="the encoder that the winning models were trained on",
        hint=f"remove {run / TRAINED_NAME}, then {AGAIN}",
    )
