"""The models that trials trained, kept so that the best of each attribute label new texts.

Layout::

    RUN/trained/TRIAL/joint.json           what the model predicts
    RUN/trained/TRIAL/model.safetensors    what was trained, for all of its attributes together
    RUN/trained/TRIAL/N/model.json         what is known of it for its N-th attribute
    RUN/trained/TRIAL/N/calibration.safetensors
                                           outputs and labels of the rows its temperature is of
    RUN/models/TUNED/                      the tuned encoder it started from, unless the pool
                                           keeps it

All of it but the tuned encoders derives from the target and is readable by its owner only.
Validations of earlier versions have ``model.json``, ``model.safetensors`` and
``calibration.safetensors`` of a single attribute in one folder; they are read as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from esm.common.arrays import Array
from esm.common.errors import ValidationError
from esm.common.records import Record, parse
from esm.common.storage import atomic_folder, load_tensors, read_json, save_tensors, write_json
from esm.encoder.settings import EncoderConfig
from esm.strategies.protocol import AttributeModel
from esm.strategies.registry import strategy
from esm.tasks.task import Outputs, Problem, Task
from esm.trials.model_record import (
    CALIBRATION_NAME,
    RECORD_NAME,
    Description,
    TrainedRecord,
    read_record,
)
from esm.trials.trial import Trial

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder
    from esm.strategies.protocol import JointModel, TransferModel
    from esm.training.state import State


TRAINED_NAME = "trained"
WEIGHTS_NAME = "model.safetensors"

_JOINT_NAME = "joint.json"

AGAIN = "run the same command again: it trains what is missing"
"""What to do where a trained model is gone."""


class PredictedAttribute(Record):
    """Enough of an attribute's task to restore the model: see :class:`~esm.tasks.task.Outputs`."""

    id: str
    problem: Problem
    num_outputs: int

    @classmethod
    def of(cls, task: Outputs) -> Self:
        """Return that of a task."""
        return cls(id=task.id, problem=task.problem, num_outputs=task.num_outputs)


class JointRecord(Record):
    """What a kept model predicts.

    Attributes:
        strategy: Name of the strategy, with its variant.
        attributes: What it predicts, in the order of training.
    """

    strategy: str
    attributes: dict[str, PredictedAttribute]


@dataclass(frozen=True)
class TrainedModel:
    """A trained model as it is sent from where it was trained to where it is kept.

    Attributes:
        joint: What it predicts.
        state: What its ``trained_state`` returned.
        known: What is known of it, for each attribute.
    """

    joint: JointRecord
    state: State
    known: tuple[Description, ...]

    @classmethod
    def of(
        cls,
        trial: Trial,
        tasks: Mapping[str, Task],
        model: JointModel,
        encoder: Encoder,
        base: EncoderConfig,
        *,
        sizes: Mapping[str, int],
        sample_seed: int,
        source_licence: str | None = None,
        further_licences: Mapping[str, str] | None = None,
    ) -> Self:
        """Describe a model, with temperatures fitted on rows that it was not trained on.

        Args:
            trial: The trial.
            tasks: The tasks, by attribute.
            model: The model.
            encoder: The encoder that training started from.
            base: How the base model was loaded.
            sizes: Size of the sample of each task's training rows that it was trained on.
            sample_seed: Seed of these samples.
            source_licence: Licence of the data of the source that the encoder was tuned on.
            further_licences: The same of sources that were used beside, by their ids.
        """
        joint = JointRecord(
            strategy=trial.strategy,
            attributes={name: PredictedAttribute.of(task) for name, task in tasks.items()},
        )
        known = tuple(
            Description.of(
                key,
                tasks[key.attribute],
                partial(model.predict, key.attribute),
                encoder,
                base,
                size=sizes[key.attribute],
                seed=sample_seed,
                source_licence=source_licence,
                further_licences=further_licences,
            )
            for key in trial.keys
        )
        return cls(joint, model.trained_state(), known)


@dataclass(frozen=True)
class Trained:
    """One attribute of a trained model on disk.

    Attributes:
        record: What is known of it.
        folder: Where that lies.
        whole: Folder of the model of all its attributes.
    """

    record: TrainedRecord
    folder: Path
    whole: Path

    def restore(self, encoder: Encoder) -> TransferModel:
        """Return the model, ready to predict.

        Args:
            encoder: The encoder it started from, see :class:`~esm.trials.winners.StartEncoders`.

        Raises:
            MapError: The weights are truncated.
            EncoderError: They are not of this encoder.
        """
        joint, state = self._joint(), self._state()
        model = strategy(joint.strategy).restore(encoder, joint.attributes, state)
        return AttributeModel(model, self.record.key.attribute)

    def exported(self, encoder: Encoder) -> State:
        """Return what a plain Transformers model needs, see :meth:`Strategy.exported`.

        Args:
            encoder: The encoder it started from.

        Raises:
            ValidationError: No plain model does what this one does.
            MapError: The weights are truncated.
        """
        joint, attribute = self._joint(), self.record.key.attribute
        return strategy(joint.strategy).exported(
            encoder, joint.attributes, attribute, self._state()
        )

    def calibration_outputs(self) -> tuple[Array, Array]:
        """Return the outputs (n, c) and labels of the rows its temperature was fitted on.

        Raises:
            StorageError: There are none: it predicts values.
            MapError: The file is truncated.
        """
        arrays = load_tensors(self.folder / CALIBRATION_NAME)
        return arrays["outputs"], arrays["labels"]

    @property
    def _is_former(self) -> bool:
        """Whether it is of an earlier version of validations: one attribute, in one folder."""
        return self.folder == self.whole

    def _state(self) -> State:
        state = load_tensors(self.whole / WEIGHTS_NAME)
        return {f"0.{name}": array for name, array in state.items()} if self._is_former else state

    def _joint(self) -> JointRecord:
        if self._is_former:
            record = self.record
            return JointRecord(
                strategy=record.key.strategy,
                attributes={record.key.attribute: PredictedAttribute.of(record)},
            )
        return parse(
            JointRecord,
            read_json(self.whole / _JOINT_NAME),
            where=self.whole / _JOINT_NAME,
            refusal=ValidationError,
            expected="a model of esm validate or esm compare",
            hint=f"remove {self.whole}, then {AGAIN}",
        )


class ModelStore:
    """The trained models of a folder of trials.

    Args:
        run: The folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / TRAINED_NAME

    def has(self, trial: Trial) -> bool:
        """Whether the model of a trial is there."""
        return any(_is_whole(self.folder / one) for one in (trial.id, trial.former_id))

    def keep(self, trial: Trial, model: TrainedModel) -> None:
        """Store a model.

        Raises:
            StorageError: Full disk and the like; nothing is left behind.
        """
        with atomic_folder(self.folder / trial.id) as folder:
            write_json(folder / _JOINT_NAME, model.joint.model_dump(mode="json"), private=True)
            save_tensors(folder / WEIGHTS_NAME, model.state, private=True)
            for number, known in enumerate(model.known):
                known.write(folder / str(number))

    def remove(self, trials: Iterable[Trial]) -> None:
        """Remove the models of trials, where they are there."""
        for trial in trials:
            for name in (trial.id, trial.former_id):
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove_all_but(self, trials: Iterable[Trial]) -> None:
        """Remove the models of all other trials, those of earlier commands included."""
        kept = {name for trial in trials for name in (trial.id, trial.former_id)}
        for folder in self._folders():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def models(
        self, attribute: str | None = None, ids: Sequence[str] | None = None
    ) -> list[Trained]:
        """Return models, in the order of the ids, else in one that does not depend on time.

        Args:
            attribute: The attribute; None for all.
            ids: Ids of trials; None for all that are there.

        Raises:
            ValidationError: A record is damaged or of another version.
            StorageError: A record cannot be read.
        """
        folders = self._folders() if ids is None else [self._place(one) for one in ids]
        found = [trained for whole in folders if _is_whole(whole) for trained in _read(whole)]
        if ids is None:
            found.sort(key=lambda one: (one.record.key.seed, one.folder.as_posix()))
        return [one for one in found if attribute in (None, one.record.key.attribute)]

    def _place(self, trial_id: str) -> Path:
        """Return where a trial's model is; an earlier version kept it under another id."""
        place = self.folder / trial_id
        if place.is_dir():
            return place
        former = (one for one in self._folders() if (one / RECORD_NAME).is_file())
        ids = {Trial((read_record(one, AGAIN).key,)).id: one for one in former}
        return ids.get(trial_id, place)

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name[0] != ".")


def _is_whole(folder: Path) -> bool:
    known: Collection[str] = (_JOINT_NAME, RECORD_NAME)
    return (folder / WEIGHTS_NAME).is_file() and any((folder / one).is_file() for one in known)


def _read(whole: Path) -> Iterator[Trained]:
    for folder in (whole, *sorted(path for path in whole.iterdir() if path.is_dir())):
        if (folder / RECORD_NAME).is_file():
            yield Trained(read_record(folder, AGAIN), folder, whole)
