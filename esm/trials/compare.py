"""Compare strategies on the attributes of a target by really training them.

Every finished training is a row of the ledger in the output folder for each of its attributes,
beside its outputs for the test rows, so the same command goes on where a killed one stopped.
"""

from __future__ import annotations

from pathlib import Path

from esm.common.errors import EsmError, StorageError, ValidationError
from esm.common.runtime import note
from esm.common.storage import folder_lock, sweep
from esm.trials.compare_models import ModelStore
from esm.trials.compare_plan import Cell
from esm.trials.comparison import Comparison
from esm.trials.encoders import MODELS_NAME, keep_only
from esm.trials.ledger import LEDGER_NAME, Ledger, RunRow
from esm.trials.measure import Lab
from esm.trials.open import Opened
from esm.trials.outputs import CellStore
from esm.trials.summary import Summing


def compare_strategies(
    opened: Opened, out: Path, *, strict: bool = False, keep_models: bool = False
) -> Comparison:
    """Train strategies on the attributes of a target and compare them.

    Cost: a training per strategy, attribute (or for all together), number of examples, seed and
    fold; a fine-tuning per source that the pool does not keep. See
    :func:`esm.trials.costs.estimate`.

    Args:
        opened: What is to be compared, see :func:`~esm.trials.open.open_comparison`.
        out: Folder for the ledger (``ledger.sqlite``), the result (``comparison.json``), what each
            training found (``cells/``) and the models of the best strategy of each attribute
            (``trained/``, ``models/``).
        strict: Raise for the first training that fails instead of leaving it out.
        keep_models: Keep all models, not only those of the best strategies.

    Raises:
        ValidationError: Every training failed.
        BusyError: Another process is writing to the folder.
        StorageError: The folder cannot be written, finished runs being kept.
    """
    with folder_lock(out), Ledger(out / LEDGER_NAME) as ledger:
        work = _Work(opened, out, ledger, strict=strict, keep_models=keep_models)
        work.run()
        return work.close()


class _Work:
    """What is done and what failed so far; the result on disk follows every training."""

    def __init__(
        self, opened: Opened, out: Path, ledger: Ledger, *, strict: bool, keep_models: bool
    ) -> None:
        self._opened = opened
        self._plan = opened.plan
        self._out = out
        self._ledger = ledger
        self._strict = strict
        self._keep_models = keep_models
        self._cells = CellStore(out)
        self._models = ModelStore(out)
        for folder in (out, out / MODELS_NAME, self._cells.folder, self._models.folder):
            sweep(folder)
        self._rows: dict[str, RunRow] = {}
        for cell in self._plan.trainings:
            found = [ledger.get(key) for key in cell.rows.values()]
            if self._cells.has(cell):
                self._rows |= {row.key: row for row in found if row is not None}
        self._failed: list[tuple[Cell, str]] = []
        self._lab = Lab(opened, out, self._models, self._cells)
        self._summing = Summing(
            plan=self._plan,
            targets=opened.targets,
            outside=opened.outside,
            base_model=opened.encoder.config.model,
            pool="" if opened.pool is None else str(opened.pool.folder),
            store=self._cells,
        )

    def run(self) -> None:
        """Run what is not done, then train again the best models that are gone."""
        trainings = self._plan.trainings
        waiting = [cell for cell in trainings if not self._is_done(cell)]
        if len(waiting) < len(trainings):
            note(f"{len(trainings) - len(waiting)} of {len(trainings)} trainings are done already")
        self._result = self._save()
        for cell in waiting:
            self._run_one(cell)
        wanted = {one for ids in self._result.models.values() for one in ids}
        for cell in trainings:
            if cell.id in wanted and not self._models.has(cell):
                self._run_one(cell)

    def close(self) -> Comparison:
        """Tell strategies apart, tidy up, and return the result.

        Raises:
            ValidationError: Not a single training was finished.
        """
        if not self._rows:
            raise ValidationError(
                f"all {len(self._failed)} trainings failed; the first: {self._failed[0][1]}",
                expected="at least one training that can be finished",
            )
        note("telling the strategies apart")
        self._result = self._save(tested=True)
        if not self._keep_models:
            self._prune()
            kept = {one for ids in self._result.models.values() for one in ids}
            keep_only(
                self._out / MODELS_NAME,
                [key for cell in self._plan.trainings if cell.id in kept for key in cell.keys],
            )
        return self._result

    def _is_done(self, cell: Cell) -> bool:
        return all(key in self._rows for key in cell.rows.values())

    def _run_one(self, cell: Cell) -> None:
        what = f"{cell.strategy} on {', '.join(cell.attributes)}, seed {cell.seed}"
        try:
            rows = self._lab.measure(cell)
        except StorageError:
            raise
        except EsmError as error:
            if self._strict:
                raise
            self._failed.append((cell, str(error)))
            self._note(f"{what} failed: {error}")
        else:
            for row in rows:
                self._ledger.record(row)
                self._rows.setdefault(row.key, row)
            values = ", ".join(f"{row.value:.3f}" for row in rows)
            self._note(f"{what}: {values}")
        self._result = self._save()
        if not self._keep_models:
            self._prune()

    def _note(self, message: str) -> None:
        done = sum(self._is_done(cell) for cell in self._plan.trainings) + len(self._failed)
        note(f"[{done}/{len(self._plan.trainings)}] {message}")

    def _save(self, *, tested: bool = False) -> Comparison:
        result = self._summing.result(self._rows, self._failed, tested=tested)
        result.save(self._out)
        return result

    def _prune(self) -> None:
        """Remove models of complete strategies that are behind, and those of smaller sizes."""
        kept = {one for ids in self._result.models.values() for one in ids}
        largest = [cell for cell in self._plan.cells if cell.size == self._plan.largest]
        unfinished = {cell.strategy for cell in largest if not self._is_done(cell)}
        kept |= {cell.id for cell in largest if cell.strategy in unfinished}
        self._models.remove_all_but(kept)
