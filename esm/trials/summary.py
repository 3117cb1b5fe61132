"""From finished trials to a result: what a validation and a comparison have in common.

The two summaries on top of it are :mod:`esm.trials.summary_sources` and
:mod:`esm.trials.summary_strategies`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from esm.metrics.confusion import class_results, confusion_matrix
from esm.metrics.predictions import performance
from esm.tasks.task import Target
from esm.trials.ledger import RunRow
from esm.trials.lines import CurvePoint, Line
from esm.trials.outputs import OutputStore, TrialRecord
from esm.trials.outside import Outside
from esm.trials.significance import LEVEL, RESAMPLES, Judged, all_pairs, resampled_values
from esm.trials.standard_errors import FoldAndSeed, mean_and_error, paired_gains
from esm.trials.trial import Plan, Trial

ALineOf = TypeVar("ALineOf", bound=Line)


@dataclass(frozen=True)
class Trials:
    """Finished trials and what is known of them.

    Attributes:
        plan: The plan.
        rows: Finished runs by key; others than the plan's are ignored.
        failed: Trials that failed, with the reason.
        targets: The target, in all its folds; empty where nothing is to be told apart.
        outside: Predictions of outside systems.
        store: What the trainings found; None where it was not kept.
        tested: Whether to tell lines apart, which takes a while.
    """

    plan: Plan
    rows: Mapping[str, RunRow]
    failed: Sequence[tuple[Trial, str]] = ()
    targets: Sequence[Target] = ()
    outside: Sequence[Outside] = ()
    store: OutputStore | None = None
    tested: bool = False

    def common(self, standard_error: str, what: str) -> dict[str, Any]:
        """Return the fields of :class:`~esm.trials.results.Result` that follow from the trials.

        Args:
            standard_error: Which variance the standard errors hold.
            what: What is told apart, in the plural.
        """
        plan = self.plan
        done = [trial for trial in plan.trials if self.is_done(trial)]
        test = (
            f"paired bootstrap of test rows and seeds, {RESAMPLES:,} resamples; Holm over all pairs"
            f" of {what} of an attribute at {LEVEL:g}"
        )
        return {
            "target": plan.target,
            "pool": plan.pool,
            "base_model": plan.base.model,
            "outside": tuple(one.name for one in self.outside),
            "seeds": plan.config.seeds,
            "folds": plan.folds,
            "standard_error": standard_error,
            "test": test if self.tested else "",
            "planned": len(plan.trials),
            "finished": len(done),
            "skipped": (*plan.skipped, *(skip for one in self.outside for skip in one.skipped)),
            "left_out": plan.left_out,
            "keys": tuple(key for trial in done for key in trial.rows.values()),
        }

    def is_done(self, trial: Trial) -> bool:
        """Whether a trial has all its rows."""
        return all(key in self.rows for key in trial.rows.values())

    def rows_of(self, trials: Sequence[Trial], attribute: str) -> list[RunRow]:
        """Return the finished rows of trials for an attribute."""
        keys = [trial.rows[attribute] for trial in trials]
        return [self.rows[key] for key in keys if key in self.rows]

    def record(self, trial: Trial) -> TrialRecord | None:
        """Return what a training found; None where that was not kept."""
        if self.store is None or not self.is_done(trial) or not self.store.has(trial):
            return None
        return self.store.record(trial)

    def line(
        self,
        trials: Sequence[Trial],
        attribute: str,
        without: Mapping[FoldAndSeed, float],
    ) -> dict[str, Any]:
        """Return what is known of a line: the fields of :class:`~esm.trials.lines.Line`.

        Args:
            trials: Its trials, of which at least one is finished.
            attribute: The attribute.
            without: Values of what its gain is measured by.
        """
        rows = self.rows_of(trials, attribute)
        overlap = self.plan.test_to_train.get(attribute, 0.0)
        mean, error = mean_and_error([(row, row.value) for row in rows], overlap)
        gain, gain_error = None, None
        if paired := paired_gains(rows, without):
            gain, gain_error = mean_and_error(paired, overlap)
        counted = [row.confusion for row in rows if row.confusion is not None]
        names = self.plan.label_names[attribute]
        found = {
            "source": rows[0].source,
            "runs": len(rows),
            "mean": mean,
            "standard_error": error,
            "gain": gain,
            "gain_standard_error": gain_error,
            "metrics": {
                name: float(np.mean([row.metrics[name] for row in rows]))
                for name in rows[0].metrics
            },
            "classes": class_results(counted, names) if counted else (),
            "confusion": np.sum(counted, axis=0).tolist() if counted else None,
        }
        records = [record for trial in trials if (record := self.record(trial)) is not None]
        if len(records) == len(rows):
            judged = [record.attributes[attribute] for record in records]
            train = float(np.mean([one.train for one in judged]))
            unseen = float(np.mean([one.unseen for one in judged]))
            origin = judged[0].unseen_rows
            found |= {"train": train, "unseen": unseen, "unseen_rows": origin}
            found["gap"] = train - unseen
        return found

    def outside_line(self, one: Outside, attribute: str) -> dict[str, Any]:
        """Return the same of an outside system."""
        metrics, counted = [], []
        for fold in self.targets:
            task = fold.attributes[attribute]
            outputs = one.outputs[attribute][fold.fold]
            metrics.append(performance(task, task.test.labels, outputs))
            confusion = confusion_matrix(task, task.test.labels, outputs)
            counted += [] if confusion is None else [confusion.tolist()]
        metric = self.targets[0].attributes[attribute].metric
        return {
            "outside": True,
            "runs": 1,
            "mean": float(np.mean([found[metric] for found in metrics])),
            "standard_error": None,
            "metrics": {
                key: float(np.mean([found[key] for found in metrics])) for key in metrics[0]
            },
            "classes": class_results(counted, task.label_names) if counted else (),
            "confusion": np.sum(counted, axis=0).tolist() if counted else None,
        }

    def marked(
        self,
        lines: Sequence[ALineOf],
        complete: Sequence[ALineOf],
        trials: Mapping[str, Sequence[Trial]],
        attribute: str,
    ) -> tuple[ALineOf, ...]:
        """Return lines with the best marked, and what cannot be told from it.

        Args:
            lines: All lines of an attribute.
            complete: Those with all their runs.
            trials: Trials of the lines, by label; outside systems have none.
            attribute: The attribute.
        """
        best = max(complete, key=lambda one: one.mean, default=None)
        if best is None:
            return tuple(lines)
        apart = self._apart(complete, trials, attribute) if self.tested else {}
        whole = {one.label for one in complete}

        def mark(one: ALineOf) -> ALineOf:
            if one.label not in whole:
                return one
            if one.label == best.label:
                return one.model_copy(update={"is_best": True})
            p = apart.get(frozenset({one.label, best.label}))
            tied = p is not None and p >= LEVEL
            return one.model_copy(update={"p_against_best": p, "is_tied": tied})

        return tuple(map(mark, lines))

    def _apart(
        self,
        complete: Sequence[Line],
        trials: Mapping[str, Sequence[Trial]],
        attribute: str,
    ) -> dict[frozenset[str], float]:
        outside = {one.name: one.outputs.get(attribute, {}) for one in self.outside}
        columns: dict[str, Judged] = {}
        for one in complete:
            own = trials.get(one.label)
            if own is None:
                outputs = outside[one.label]
                columns[one.label] = Judged({(fold, None): o for fold, o in outputs.items()})
            elif self.store is not None and all(map(self.store.has, own)):
                columns[one.label] = Judged(
                    {(o.fold, o.seed): self.store.outputs(o, attribute) for o in own}
                )
        if len(columns) < 2 or not self.targets:
            return {}
        tasks = {fold.fold: fold.attributes[attribute] for fold in self.targets}
        return all_pairs(resampled_values(tasks, columns))

    def curve(
        self, by_size: Mapping[int | None, Sequence[Trial]], attribute: str, source: str = ""
    ) -> list[CurvePoint]:
        """Return the means of a line by number of training rows; none for a single number.

        Args:
            by_size: Its trials.
            attribute: The attribute.
            source: Where they start from, in a validation.
        """
        points: list[CurvePoint] = []
        if len(by_size) < 2:
            return points
        for size, trials in by_size.items():
            if rows := self.rows_of(trials, attribute):
                overlap = self.plan.test_to_train.get(attribute, 0.0)
                mean, error = mean_and_error([(row, row.value) for row in rows], overlap)
                points.append(
                    CurvePoint(
                        strategy=trials[0].strategy,
                        source=source,
                        examples=self.plan.rows_used(attribute, size),
                        runs=len(rows),
                        mean=mean,
                        standard_error=error,
                    )
                )
        return points
