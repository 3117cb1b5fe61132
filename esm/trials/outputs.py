"""What each trial found, on disk.

Layout::

    RUN/cells/TRIAL/cell.json            costs, metrics and what the strategy measured of itself
    RUN/cells/TRIAL/outputs.safetensors  raw outputs for the test rows, an array per attribute

All of it derives from the target and is readable by its owner only; it holds no text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from esm.common.arrays import Array
from esm.common.errors import StorageError, ValidationError
from esm.common.records import Record, parse
from esm.common.storage import atomic_folder, load_tensors, read_json, save_tensors, write_json
from esm.trials.trial import Trial

CELLS_NAME = "cells"
CELL_FORMAT = 1

_RECORD_NAME = "cell.json"
_OUTPUTS_NAME = "outputs.safetensors"


class AttributeOutcome(Record):
    """What a training found for one attribute.

    Attributes:
        num_train: Training rows.
        num_test: Test rows.
        metrics: All metrics on the test rows.
        train: The primary metric on the training rows.
        unseen: The same on rows that were not trained on, by which the gap is taken.
        unseen_rows: Which rows these are, see :class:`~esm.metrics.calibration.CalibratedOn`.
    """

    num_train: int
    num_test: int
    metrics: dict[str, float]
    train: float
    unseen: float
    unseen_rows: str


class TrialRecord(Record):
    """What a training found and cost.

    Attributes:
        format: Version of this record.
        strategy: Name of the strategy.
        attributes: What was found, by attribute.
        seconds: Wall-clock time of training.
        trained_parameters: See :class:`~esm.strategies.protocol.Jointly`.
        stored_parameters: The same.
        shared_parameters: The same.
        total_parameters: The same.
        stored_bytes: Size of what has to be kept beside the base model.
        peak_memory: Bytes in use at most while training; None where it is not known.
        remarks: What has to be known of the training to judge its result.
        report: What the strategy measured of itself.
    """

    format: int = CELL_FORMAT
    strategy: str
    attributes: dict[str, AttributeOutcome]
    seconds: float
    trained_parameters: int
    stored_parameters: int
    shared_parameters: int
    total_parameters: int
    stored_bytes: int
    peak_memory: int | None
    remarks: tuple[str, ...]
    report: dict[str, Any]


class OutputStore:
    """The results of trials.

    Args:
        run: The folder of the validation or comparison.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / CELLS_NAME
        self._known: dict[str, TrialRecord] = {}

    def has(self, trial: Trial) -> bool:
        """Whether the result of a training is there."""
        folder = self.folder / trial.id
        return all((folder / name).is_file() for name in (_RECORD_NAME, _OUTPUTS_NAME))

    def keep(self, trial: Trial, record: TrialRecord, outputs: dict[str, Array]) -> None:
        """Store a result.

        Args:
            trial: The trial.
            record: What it found.
            outputs: (n, c) for the test rows, by attribute.

        Raises:
            StorageError: Full disk and the like; nothing is left behind.
        """
        arrays = {
            str(number): np.asarray(outputs[name], dtype=np.float32)
            for number, name in enumerate(trial.attributes)
        }
        with atomic_folder(self.folder / trial.id) as folder:
            write_json(folder / _RECORD_NAME, record.model_dump(mode="json"), private=True)
            save_tensors(folder / _OUTPUTS_NAME, arrays, private=True)
        self._known[trial.id] = record

    def record(self, trial: Trial) -> TrialRecord:
        """Return what a training found.

        Raises:
            StorageError: It is not there.
            ValidationError: It is damaged or of another version.
        """
        if trial.id in self._known:
            return self._known[trial.id]
        path = self.folder / trial.id / _RECORD_NAME
        record = parse(
            TrialRecord,
            read_json(path),
            where=path,
            refusal=ValidationError,
            expected="a file written by esm validate or esm compare",
            hint=f"remove {path.parent}, then run the same command again",
        )
        if record.format != CELL_FORMAT:
            raise ValidationError(
                f"{path} has format {record.format}",
                expected=f"format {CELL_FORMAT}",
                hint="another version of esm, or another --out folder",
            )
        self._known[trial.id] = record
        return record

    def outputs(self, trial: Trial, attribute: str) -> Array:
        """Return the outputs (n, c) for an attribute's test rows.

        Raises:
            StorageError: They are not there.
            MapError: The file is truncated.
        """
        arrays = load_tensors(self.folder / trial.id / _OUTPUTS_NAME)
        number = str(trial.attributes.index(attribute))
        if number not in arrays:
            raise StorageError(
                f"the outputs of {trial.strategy} for {attribute} are gone from {self.folder}",
                expected="an array per attribute",
                hint=f"remove {self.folder / trial.id}, then run the same command again",
            )
        found: Array = arrays[number]
        return found
