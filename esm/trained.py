"""The models that a validation trained, kept so that the winners can label new texts.

Layout::

    RUN/trained/KEY/model.json               what it predicts, from which encoder it started
    RUN/trained/KEY/model.safetensors        what was trained: adapters and norms or all weights,
                                             and the head
    RUN/trained/KEY/calibration.safetensors  outputs and labels of the rows its temperature is of
    RUN/models/TUNED/                        the tuned encoder it started from, unless the pool
                                             keeps it

All of it but the tuned encoders derives from the target and is readable by its owner only.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from esm.calibration import Calibration, calibrate, calibration_rows, has_probabilities
from esm.errors import ValidationError
from esm.intermediate import model_folder
from esm.ledger import RunKey
from esm.licences import marked
from esm.measures import NO_TRANSFER
from esm.records import Record, parse
from esm.settings import BaseIdentity, EncoderConfig
from esm.storage import atomic_folder, load_tensors, read_json, save_tensors, write_json
from esm.tasks.raw import attribute_id
from esm.tasks.task import Metric, Problem, Task
from esm.transfer.registry import strategy

if TYPE_CHECKING:
    from esm.encoder import Encoder
    from esm.transfer.strategy import State, TransferModel

Array = npt.NDArray[Any]

TRAINED_NAME = "trained"
TRAINED_FORMAT = 1
WEIGHTS_NAME = "model.safetensors"

_RECORD_NAME = "model.json"
_CALIBRATION_NAME = "calibration.safetensors"
_KEY_DIGITS = 24

AGAIN = "run the same esm validate command again: it trains what is missing"
"""What to do where a trained model is gone."""


class TrainedRecord(Record):
    """What is known of a trained model; enough of a task to restore it.

    Attributes:
        format: Version of this record.
        key: The run in which it was trained.
        problem: Kind of output.
        metric: Primary metric.
        label_names: Names of the classes or labels; empty for regression.
        num_outputs: Width of its output.
        text_columns: Name of the column with the texts and, of a pair task, of the second texts;
            empty where they are not known.
        is_pair: Whether it takes two texts.
        encoder: How to load the base model.
        start: Identity of the encoder that training started from.
        tuned: Folder of this encoder below ``models``, where it is not the base model.
        calibration: How its probabilities are mended; None where it predicts values.
        licence: Licence of the target's data, as they state it; empty where they do not.
        source_licence: The same of the source's data; None without a source.
        further_licences: The same of further sources that it was trained with, by their ids.
    """

    format: int = TRAINED_FORMAT
    key: RunKey
    problem: Problem
    metric: Metric
    label_names: tuple[str, ...]
    num_outputs: int
    text_columns: tuple[str, ...]
    is_pair: bool
    encoder: EncoderConfig
    start: BaseIdentity
    tuned: str | None
    calibration: Calibration | None
    licence: str = ""
    source_licence: str | None = None
    further_licences: dict[str, str] = Field(default_factory=dict)

    @property
    def id(self) -> str:
        """Id of the task."""
        return attribute_id(self.key.target, self.key.attribute)

    @property
    def licences(self) -> dict[str, str]:
        """Licences of the data that the model was made from, by their ids, for a reader."""
        found = {self.key.target: marked(self.licence)}
        if self.source_licence is not None:
            found[self.key.source] = marked(self.source_licence)
        return found | {name: marked(terms) for name, terms in self.further_licences.items()}


@dataclass(frozen=True)
class Trained:
    """A trained model on disk.

    Attributes:
        record: What is known of it.
        folder: Where it lies.
    """

    record: TrainedRecord
    folder: Path

    def restore(self, encoder: Encoder) -> TransferModel:
        """Return the model, ready to predict.

        Args:
            encoder: The encoder it started from, see :class:`~esm.winners.StartEncoders`.

        Raises:
            MapError: The weights are truncated.
            EncoderError: They are not of this encoder.
        """
        state = load_tensors(self.folder / WEIGHTS_NAME)
        return strategy(self.record.key.strategy).restore(encoder, self.record, state)

    def exported(self, encoder: Encoder) -> State:
        """Return what a plain Transformers model needs, see :meth:`Strategy.exported`.

        Args:
            encoder: The encoder it started from.

        Raises:
            ValidationError: No plain model does what this one does.
            MapError: The weights are truncated.
        """
        state = load_tensors(self.folder / WEIGHTS_NAME)
        return strategy(self.record.key.strategy).exported(encoder, self.record, state)

    def calibration_outputs(self) -> tuple[Array, Array]:
        """Return the outputs (n, c) and labels of the rows its temperature was fitted on.

        Raises:
            StorageError: There are none: it predicts values.
            MapError: The file is truncated.
        """
        arrays = load_tensors(self.folder / _CALIBRATION_NAME)
        return arrays["outputs"], arrays["labels"]


class TrainedStore:
    """The trained models of a validation's folder.

    Args:
        run: The validation's folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / TRAINED_NAME

    def has(self, key: RunKey) -> bool:
        """Whether the model of a run is there."""
        folder = self._folder(key)
        return all((folder / name).is_file() for name in (_RECORD_NAME, WEIGHTS_NAME))

    def keep(
        self,
        key: RunKey,
        task: Task,
        model: TransferModel,
        encoder: Encoder,
        base: EncoderConfig,
        *,
        size: int,
        seed: int,
        source_licence: str | None = None,
    ) -> None:
        """Store a model, with a temperature fitted on rows that it was not trained on.

        Args:
            key: The run in which it was trained.
            task: The task.
            model: The model.
            encoder: The encoder that training started from.
            base: How the base model was loaded.
            size: Size of the sample of the task's training rows that it was trained on.
            seed: Seed of that sample.
            source_licence: Licence of the source's data; None without a source.

        Raises:
            StorageError: Full disk and the like; nothing is left behind.
        """
        calibration, arrays = None, {}
        if has_probabilities(task.problem):
            origin, rows = calibration_rows(task, size, seed)
            outputs = np.asarray(model.predict(rows.texts, rows.pairs))
            calibration = calibrate(task.problem, rows, outputs, origin)
            arrays = {"outputs": outputs, "labels": rows.labels}
        record = TrainedRecord(
            key=key,
            problem=task.problem,
            metric=task.metric,
            label_names=task.label_names,
            num_outputs=task.num_outputs,
            text_columns=task.text_columns,
            is_pair=task.is_pair,
            encoder=base,
            start=encoder.identity,
            tuned=None if key.source == NO_TRANSFER else model_folder(Path(), key).name,
            calibration=calibration,
            licence=task.metadata.license,
            source_licence=source_licence,
        )
        with atomic_folder(self._folder(key)) as folder:
            write_json(folder / _RECORD_NAME, record.model_dump(mode="json"), private=True)
            save_tensors(folder / WEIGHTS_NAME, model.trained_state(), private=True)
            if arrays:
                save_tensors(folder / _CALIBRATION_NAME, arrays, private=True)

    def remove(self, key: RunKey) -> None:
        """Remove the model of a run, where it is there."""
        shutil.rmtree(self._folder(key), ignore_errors=True)

    def remove_all_but(self, keys: Iterable[RunKey]) -> None:
        """Remove the models of all other runs, those of earlier commands included."""
        kept = {self._folder(key) for key in keys}
        for folder in self._folders():
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def models(self) -> list[Trained]:
        """Return all models, in an order that does not depend on time.

        Raises:
            ValidationError: A record is damaged or of another version.
            StorageError: A record cannot be read.
        """
        found = [
            Trained(_read(folder / _RECORD_NAME), folder)
            for folder in self._folders()
            if (folder / WEIGHTS_NAME).is_file() and (folder / _RECORD_NAME).is_file()
        ]
        return sorted(found, key=lambda trained: (trained.record.key.seed, trained.folder.name))

    def _folder(self, key: RunKey) -> Path:
        return self.folder / key.content_hash()[:_KEY_DIGITS]

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name[0] != ".")


def _read(path: Path) -> TrainedRecord:
    record = parse(
        TrainedRecord,
        read_json(path),
        where=path,
        refusal=ValidationError,
        expected="a trained model of esm validate",
        hint=f"remove {path.parent}, then {AGAIN}",
    )
    if record.format != TRAINED_FORMAT:
        raise ValidationError(
            f"{path} has format {record.format}",
            expected=f"format {TRAINED_FORMAT}",
            hint="another version of esm, or esm validate into another folder",
        )
    return record
