"""What is known of a trained model, beside its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from esm.common.arrays import Array
from esm.common.errors import ValidationError
from esm.common.records import Record, parse
from esm.common.storage import read_json, save_tensors, write_json
from esm.encoder.settings import BaseIdentity, EncoderConfig
from esm.metrics.calibration import Calibration, calibrate, calibration_rows, has_probabilities
from esm.metrics.rankings import NO_TRANSFER
from esm.tasks.licences import licence_label
from esm.tasks.raw import attribute_id
from esm.tasks.task import Metric, Problem, Task
from esm.trials.encoders import model_folder
from esm.trials.ledger import RunKey

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder


TRAINED_FORMAT = 1
RECORD_NAME = "model.json"
CALIBRATION_NAME = "calibration.safetensors"


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
        found = {self.key.target: licence_label(self.licence)}
        if self.source_licence is not None:
            found[self.key.source] = licence_label(self.source_licence)
        return found | {name: licence_label(terms) for name, terms in self.further_licences.items()}


@dataclass(frozen=True)
class Description:
    """What is kept of a trained model beside its weights.

    Attributes:
        record: What is known of it.
        calibration: Outputs and labels of the rows its temperature was fitted on; empty where it
            predicts values.
    """

    record: TrainedRecord
    calibration: Mapping[str, Array]

    @classmethod
    def of(
        cls,
        key: RunKey,
        task: Task,
        predict: Callable[[Sequence[str], Sequence[str] | None], Array],
        encoder: Encoder,
        base: EncoderConfig,
        *,
        size: int,
        seed: int,
        source_licence: str | None = None,
        further_licences: Mapping[str, str] | None = None,
    ) -> Self:
        """Describe a model, with a temperature fitted on rows that it was not trained on.

        Args:
            key: The run in which it was trained.
            task: The task.
            predict: Returns its outputs (n, c) of texts and, of a pair task, second texts.
            encoder: The encoder that training started from.
            base: How the base model was loaded.
            size: Size of the sample of the task's training rows that it was trained on.
            seed: Seed of that sample.
            source_licence: Licence of the data of the source that the encoder was tuned on.
            further_licences: The same of sources that were used beside, by their ids.
        """
        calibration, arrays = None, {}
        if has_probabilities(task.problem):
            origin, rows = calibration_rows(task, size, seed)
            outputs = np.asarray(predict(rows.texts, rows.pairs))
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
            further_licences=dict(further_licences or {}),
        )
        return cls(record, arrays)

    def write(self, folder: Path) -> None:
        """Write it into a model's folder, for its owner only."""
        write_json(folder / RECORD_NAME, self.record.model_dump(mode="json"), private=True)
        if self.calibration:
            save_tensors(folder / CALIBRATION_NAME, self.calibration, private=True)


def read_record(folder: Path, again: str) -> TrainedRecord:
    """Read what is known of a model.

    Args:
        folder: Its folder.
        again: What to do where the record is damaged.

    Raises:
        ValidationError: It is damaged or of another version.
        StorageError: It cannot be read.
    """
    path = folder / RECORD_NAME
    record = parse(
        TrainedRecord,
        read_json(path),
        where=path,
        refusal=ValidationError,
        expected="the record of a trained model",
        hint=f"remove {folder}, then {again}",
    )
    if record.format != TRAINED_FORMAT:
        raise ValidationError(
            f"{path} has format {record.format}",
            expected=f"format {TRAINED_FORMAT}",
            hint="another version of esm, or another folder of runs",
        )
    return record
