"""What a validation has done so far, and which of its models are worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esm.common.errors import EsmError, ValidationError
from esm.common.runtime import note
from esm.ranking.result import Ranking
from esm.trials.budget import Clock, Unit, format_duration
from esm.trials.ledger import Ledger, RunKey, RunRow
from esm.trials.models import TrainedStore
from esm.trials.plan import Plan, Run
from esm.trials.validation import Validation, summarise


class Book:
    """What is done and what failed so far; the result on disk follows every run.

    Args:
        plan: What is to be run.
        ranking: The ranking that it proves.
        ledger: Where finished runs go.
        out: Folder of the result.
        store: Where trained models are.
        keep_models: Keep the models of all arms, not only of those that are ahead.

    Attributes:
        pending: Runs of the plan that were not finished when the book was opened.
    """

    def __init__(
        self,
        plan: Plan,
        ranking: Ranking,
        ledger: Ledger,
        out: Path,
        store: TrainedStore,
        *,
        keep_models: bool,
    ) -> None:
        self._store = store
        self._keep_models = keep_models
        self._plan = plan
        self._ranking = ranking
        self._ledger = ledger
        self._out = out
        recorded = [ledger.get(run.key.content_hash()) for run in plan.runs]
        self._rows = {row.key: row for row in recorded if row is not None}
        self._failed: list[tuple[Run, str]] = []
        self.pending = [run for run in plan.runs if run.key.content_hash() not in self._rows]
        if self._rows:
            note(f"{len(self._rows)} of {len(plan.runs)} runs are in {ledger.path} already")
        self._result = self._save()

    def winning(self) -> list[RunKey]:
        """Return the runs of the arms that are ahead."""
        winners = self._result.winners
        return [run.key for run in self._plan.runs if winners.get(run.attribute) == run.source]

    def missing(self) -> list[Run]:
        """Return the finished runs of the arms that are ahead whose models are not there."""
        lost = {key.content_hash() for key in self.winning() if not self._store.has(key)}
        return [run for run in self._plan.runs if run.key.content_hash() in lost]

    def finish(self, row: RunRow) -> None:
        """Put a finished run into the ledger and the result."""
        self._ledger.record(row)
        self._rows.setdefault(row.key, row)  # a model that was lost leaves its row as it was
        self._note(f"{_name(row)}: {row.value:.3f}")
        self._save()
        if not self._keep_models:
            self._remove_losers(row.attribute)

    def _remove_losers(self, attribute: str) -> None:
        """Remove the models of complete arms that are behind, so that few lie on disk at once."""
        winning = {key.content_hash() for key in self.winning()}
        runs = [run for run in self._plan.runs if run.attribute == attribute]
        incomplete = {run.source for run in runs if run.key.content_hash() not in self._rows}
        for run in runs:
            if run.source not in incomplete and run.key.content_hash() not in winning:
                self._store.remove(run.key)

    def fail(self, run: Run, error: EsmError) -> None:
        """Remember that a run failed."""
        self._failed.append((run, str(error)))
        self._note(f"{_name(run.key)} failed: {error}")
        self._save()

    def stop(self, clock: Clock, waiting: Sequence[Unit]) -> None:
        """Leave out the arms that wait, for want of time.

        Raises:
            ValidationError: Nothing was run or tried before.
        """
        if not self._rows and not self._failed:
            raise ValidationError(
                f"the budget of {format_duration(clock.budget or 0)} was used up before the first"
                " run",
                expected="time to load the data and the base model, and for a run",
                hint="a longer --budget",
            )
        self._plan = clock.rest(self._plan, waiting)
        note(f"the time is over; {len(waiting)} arms are left out")
        self._save()

    def close(self) -> Validation:
        """Return the result.

        Raises:
            ValidationError: Not a single run was finished.
        """
        if not self._rows:
            raise ValidationError(
                f"all {len(self._failed)} runs failed; the first: {self._failed[0][1]}",
                expected="at least one run that can be finished",
            )
        return self._save()

    def _note(self, message: str) -> None:
        done = len(self._rows) + len(self._failed)
        note(f"[{done}/{len(self._plan.runs)}] {message}")

    def _save(self) -> Validation:
        self._result = summarise(self._plan, self._ranking, self._rows, self._failed)
        self._result.save(self._out)
        return self._result


def _name(run: RunKey | RunRow) -> str:
    fold = "" if run.fold is None else f", fold {run.fold}"
    return f"{run.attribute} after {run.source}, seed {run.seed}{fold}"
