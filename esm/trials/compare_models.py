"""The models that a comparison trained, kept so that the best of each attribute label new texts.

Layout::

    RUN/trained/CELL/joint.json           what the model predicts, from which encoder it started
    RUN/trained/CELL/model.safetensors    what was trained, for all of its attributes together
    RUN/trained/CELL/N/model.json         what is known of it for its N-th attribute
    RUN/trained/CELL/N/calibration.safetensors
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import ValidationError
from esm.common.records import Record, parse
from esm.common.storage import atomic_folder, load_tensors, read_json, save_tensors, write_json
from esm.encoder.settings import EncoderConfig
from esm.strategies.joint.protocol import AttributeModel
from esm.strategies.joint.registry import joint_strategy
from esm.tasks.task import Problem, Task
from esm.trials.compare_plan import Cell
from esm.trials.model_record import RECORD_NAME, Description, read_record
from esm.trials.models import WEIGHTS_NAME, Trained

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder
    from esm.strategies.joint.protocol import JointModel
    from esm.strategies.protocol import TransferModel
    from esm.training.state import State


TRAINED_NAME = "trained"

_JOINT_NAME = "joint.json"

AGAIN = "run the same esm compare command again: it trains what is missing"


class PredictedAttribute(Record):
    """Enough of an attribute's task to restore the model: see :class:`~esm.tasks.task.Outputs`."""

    id: str
    problem: Problem
    num_outputs: int


class JointRecord(Record):
    """What a kept model predicts.

    Attributes:
        strategy: Name of the strategy, with its variant.
        attributes: What it predicts, in the order of training.
    """

    strategy: str
    attributes: dict[str, PredictedAttribute]


@dataclass(frozen=True)
class JointTrained(Trained):
    """One attribute of a model on disk.

    Attributes:
        whole: Folder of the model of all attributes.
    """

    whole: Path

    def restore(self, encoder: Encoder) -> TransferModel:
        """See :meth:`esm.trials.models.Trained.restore`."""
        joint = self._joint()
        model = joint_strategy(joint.strategy).restore(
            encoder, joint.attributes, load_tensors(self.whole / WEIGHTS_NAME)
        )
        return AttributeModel(model, self.record.key.attribute)

    def exported(self, encoder: Encoder) -> State:
        """See :meth:`esm.trials.models.Trained.exported`."""
        joint = self._joint()
        return joint_strategy(joint.strategy).exported(
            encoder,
            joint.attributes,
            self.record.key.attribute,
            load_tensors(self.whole / WEIGHTS_NAME),
        )

    def _joint(self) -> JointRecord:
        return parse(
            JointRecord,
            read_json(self.whole / _JOINT_NAME),
            where=self.whole / _JOINT_NAME,
            refusal=ValidationError,
            expected="a model of esm compare",
            hint=f"remove {self.whole}, then {AGAIN}",
        )


class ModelStore:
    """The trained models of a comparison's folder.

    Args:
        run: The comparison's folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / TRAINED_NAME

    def has(self, cell: Cell) -> bool:
        """Whether the model of a training is there."""
        folder = self.folder / cell.id
        return all((folder / name).is_file() for name in (_JOINT_NAME, WEIGHTS_NAME))

    def keep(
        self,
        cell: Cell,
        tasks: Mapping[str, Task],
        model: JointModel,
        state: State,
        encoder: Encoder,
        base: EncoderConfig,
        *,
        sizes: Mapping[str, int],
        sample_seed: int,
        source_licence: str | None = None,
        further_licences: Mapping[str, str] | None = None,
    ) -> None:
        """Store a model, with temperatures fitted on rows that it was not trained on.

        Args:
            cell: The training.
            tasks: The tasks, by attribute.
            model: The model.
            state: What its ``trained_state`` returned.
            encoder: The encoder that training started from.
            base: How the base model was loaded.
            sizes: Size of the sample of each task's training rows that it was trained on.
            sample_seed: Seed of these samples.
            source_licence: Licence of the data of the source that the encoder was tuned on.
            further_licences: The same of sources that were used beside, by their ids.

        Raises:
            StorageError: Full disk and the like; nothing is left behind.
        """
        joint = JointRecord(
            strategy=cell.strategy,
            attributes={
                name: PredictedAttribute(
                    id=task.id, problem=task.problem, num_outputs=task.num_outputs
                )
                for name, task in tasks.items()
            },
        )
        with atomic_folder(self.folder / cell.id) as folder:
            write_json(folder / _JOINT_NAME, joint.model_dump(mode="json"), private=True)
            save_tensors(folder / WEIGHTS_NAME, state, private=True)
            for number, key in enumerate(cell.keys):
                task = tasks[key.attribute]
                known = Description.of(
                    key,
                    task,
                    partial(model.predict, key.attribute),
                    encoder,
                    base,
                    size=sizes[key.attribute],
                    seed=sample_seed,
                    source_licence=source_licence,
                    further_licences=further_licences,
                )
                known.write(folder / str(number))

    def remove_all_but(self, kept: Iterable[str]) -> None:
        """Remove the models of all trainings but those with these ids."""
        wanted = set(kept)
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def models(self, ids: Sequence[str], attribute: str) -> tuple[JointTrained, ...]:
        """Return the models of some trainings for one attribute, in the order of the ids.

        Raises:
            ValidationError: One is not there, or damaged.
        """
        return tuple(self._model(one, attribute) for one in ids)

    def _model(self, cell_id: str, attribute: str) -> JointTrained:
        whole = self.folder / cell_id
        for folder in sorted(whole.iterdir()) if whole.is_dir() else ():
            if (folder / RECORD_NAME).is_file():
                record = read_record(folder, AGAIN)
                if record.key.attribute == attribute:
                    return JointTrained(record, folder, whole)
        raise ValidationError(
            f"the model of {attribute} is gone from {whole}",
            expected="the models of the best strategy of each attribute",
            hint=AGAIN,
        )
