"""Where trials are run: here, one after another, or wherever an executor sends them.

An executor takes trials as it has room for them and gives back what each found, in the order in
which they end. The trials are asked for lazily, so that who gives them may stop when the time is
over; what is found is pickled by an executor that needs it (see :mod:`esm.trials.worker`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from esm.common.errors import BusyError, EsmError, StorageError
from esm.trials.trial import Trial
from esm.trials.worker import Finished, Worker


class Executor(Protocol):
    """Runs trials somewhere."""

    def run(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Finished | EsmError]]:
        """Run trials and return what each found, or why it failed.

        Raises:
            StorageError: The disk is full and the like, which no further trial would survive.
            BusyError: Another process is writing to the same place.
        """
        ...


class Serial:
    """Runs trials here, one after another.

    Args:
        worker: Runs one.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Finished | EsmError]]:
        """Run one trial after the other, here."""
        for trial in trials:
            found: Finished | EsmError
            try:
                found = self._worker.run(trial)
            except (StorageError, BusyError):
                raise
            except EsmError as error:
                found = error
            yield trial, found
