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
from typing import TYPE_CHECKING

from esm.common.arrays import Array
from esm.common.storage import atomic_folder, load_tensors, save_tensors
from esm.encoder.settings import EncoderConfig
from esm.strategies.registry import strategy
from esm.tasks.task import Task
from esm.trials.ledger import RunKey
from esm.trials.model_record import (
    CALIBRATION_NAME,
    RECORD_NAME,
    Description,
    TrainedRecord,
    read_record,
)

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder
    from esm.strategies.protocol import TransferModel
    from esm.training.state import State


TRAINED_NAME = "trained"
WEIGHTS_NAME = "model.safetensors"

_KEY_DIGITS = 24

AGAIN = "run the same esm validate command again: it trains what is missing"
"""What to do where a trained model is gone."""


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
            encoder: The encoder it started from, see :class:`~esm.trials.winners.StartEncoders`.

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
        arrays = load_tensors(self.folder / CALIBRATION_NAME)
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
        return all((folder / name).is_file() for name in (RECORD_NAME, WEIGHTS_NAME))

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
        known = Description.of(
            key,
            task,
            model.predict,
            encoder,
            base,
            size=size,
            seed=seed,
            source_licence=source_licence,
        )
        with atomic_folder(self._folder(key)) as folder:
            known.write(folder)
            save_tensors(folder / WEIGHTS_NAME, model.trained_state(), private=True)

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
            Trained(read_record(folder, AGAIN), folder)
            for folder in self._folders()
            if (folder / WEIGHTS_NAME).is_file() and (folder / RECORD_NAME).is_file()
        ]
        return sorted(found, key=lambda trained: (trained.record.key.seed, trained.folder.name))

    def _folder(self, key: RunKey) -> Path:
        return self.folder / key.content_hash()[:_KEY_DIGITS]

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name[0] != ".")
