"""From results to the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esm.metrics.rankings import NO_TRANSFER
from esm.report.classes import row_notes
from esm.report.ranking import unusable_table
from esm.report.splits import fold_notes
from esm.report.table import LICENCE_LETTERS, MISSING, Table, duration, number, skipped_notes
from esm.report.training import training_notes
from esm.report.validation import left_out_notes
from esm.tasks.licences import marked

if TYPE_CHECKING:
    from esm.metrics.evaluate import Evaluation
    from esm.trials.validation import AttributeResult, Validation

_PER_TARGET = frozenset({"ndcg", "spearman"})
_SECOND_METRICS = frozenset({"accuracy", "kappa", "mae"})
_NAMES = frozenset({"source", "target", "arm", "language", "licence", "map", "held-out quality"})


# ------------------------------------------------------------------------------------ evaluation


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """Return every measure beside random and static orders, and the main ones per target."""
    judged = {
        "mean": evaluation.mean,
        "standard error": evaluation.standard_error,
        "random order": evaluation.random,
        "static order": evaluation.static,
    }
    rows = [
        (name, *(_measure(values, name) for values in judged.values())) for name in evaluation.mean
    ]
    count = len(evaluation.targets)
    title = f"{count} targets" if count > 1 else next(iter(evaluation.targets))
    notes = _evaluation_notes(evaluation)
    summary = Table(title, ("measure", *judged), rows, notes, frozenset({"measure"}))
    return [_per_target(evaluation), summary] if count > 1 else [summary]


def _per_target(evaluation: Evaluation) -> Table:
    names = [name for name in evaluation.mean if name.startswith("regret@") or name in _PER_TARGET]
    rows = [
        (target, *(_measure(judged, name) for name in names))
        for target, judged in evaluation.targets.items()
    ]
    return Table("", ("target", *names), rows, left=_NAMES)


def _evaluation_notes(evaluation: Evaluation) -> list[str]:
    notes = ["regret in percent, 0 is perfect; random: exact expectation over all orders; static:"]
    notes.append("sources by their mean performance on the other targets, blind to this one")
    notes += [
        f"{target}: not judged, {reason}" for target, reason in evaluation.left_out.targets.items()
    ]
    notes += [
        f"{target}: {count} scored sources without results were left out"
        for target, count in evaluation.left_out.sources.items()
    ]
    return notes


def _measure(judged: Mapping[str, float | None], name: str) -> str:
    return number(judged[name], 2 if name.startswith("regret") else 3)


# ------------------------------------------------------------------------------------ validation


def validation_tables(validation: Validation) -> list[Table]:
    """Return one table per attribute: performance of every arm, gain over no transfer, regret."""
    tables = [_validated(validation, name, found) for name, found in validation.attributes.items()]
    notes = [
        f"{validation.finished} of {validation.planned} runs finished, {validation.seeds} per arm;"
        f" strategy {validation.strategy}; {duration(validation.seconds)} of training",
        f"± standard error {validation.standard_error}",
        "predicted: the gain that the ranking predicted, in its own unit; gain: mean difference to"
        " no transfer with the same seed and fold, points of the metric (x 100)",
    ]
    notes += [
        f"{failure.attribute} after {failure.source}: {failure.runs} runs failed: {failure.reason}"
        for failure in validation.failures
    ]
    if validation.aggregate:
        notes.append("rank: the place over all attributes, by which the picks were chosen")
    notes += [*left_out_notes(validation.left_out), *skipped_notes(validation.skipped)]
    return [*tables, Table("", (), (), notes)]


def _validated(validation: Validation, name: str, found: AttributeResult) -> Table:
    measured = found.arms[0].metrics if found.arms else {}
    others = [metric for metric in measured if metric in _SECOND_METRICS - {found.metric}]
    rows = [
        (
            arm.arm,
            arm.source,
            str(arm.rank or MISSING),
            number(arm.predicted_gain, 4, sign=True),
            str(arm.runs),
            _plus_minus(arm.mean, arm.standard_error),
            _plus_minus(arm.gain, arm.gain_standard_error, sign=True),
            *(_metric(other, arm.metrics[other]) for other in others),
            duration(arm.seconds),
        )
        for arm in found.arms
    ]
    columns = (
        "arm",
        "source",
        "rank",
        "predicted",
        "runs",
        found.metric,
        "gain",
        *others,
        "time",
    )
    notes = training_notes(found.arms)
    if found.regret:
        regrets = ", ".join(f"{k} {number(value, 2)} %" for k, value in found.regret.items())
        notes.append(
            f"realised {regrets} over the {len(found.measured)} measured sources:"
            f" {', '.join(found.measured)}"
        )
    notes += _winner_note(validation, name)
    notes += fold_notes(validation.folds, found.out_of_fold)
    title = (
        f"{validation.target}/{name}: {found.num_train} training rows, {found.num_test} test rows"
    )
    return Table(title, columns, rows, notes, _NAMES)


def _winner_note(validation: Validation, name: str) -> list[str]:
    """Say which arm won, and whether its gain is more than its error."""
    winner = validation.winners.get(name)
    if winner is None:
        return []
    if winner == NO_TRANSFER:
        return ["winner: no transfer; no source that was measured does better"]
    (arm,) = (arm for arm in validation.attributes[name].arms if arm.source == winner)
    if arm.gain is None:
        return [f"winner: {winner}"]
    gain = _plus_minus(arm.gain, arm.gain_standard_error, sign=True)
    if arm.gain_standard_error is None:
        doubt = "; from one run, whose error is not known (--seeds 3)"
    elif arm.gain > 2 * arm.gain_standard_error:
        doubt = ""
    else:
        doubt = "; that is not more than two standard errors"
    return [f"winner: {winner}, {gain} over no transfer on the same test rows{doubt}"]


def _metric(name: str, value: float) -> str:
    """Format a metric: fractions in points, errors in the label's unit."""
    return number(value) if name == "mae" else number(100 * value, 1)


def _plus_minus(value: float | None, error: float | None, *, sign: bool = False) -> str:
    if value is None:
        return MISSING
    spread = "" if error is None else f" ± {100 * error:.1f}"
    return number(100 * value, 1, sign=sign) + spread


# ----------------------------------------------------------------------------------------- tasks

_SPLITS = ("train", "validation", "test")


def task_list(
    found: Sequence[Mapping[str, Any]], skipped: Sequence[Mapping[str, str]]
) -> list[Table]:
    """Return one line per attribute of every description (see :mod:`esm.tasks.faults.describe`)."""
    rows = [
        (
            attribute["id"],
            attribute["problem"] + (" of pairs" if attribute["is_pair"] else ""),
            str(len(attribute["label_names"])) if attribute["label_names"] else MISSING,
            *(_rows(attribute, split) for split in _SPLITS),
            attribute["metric"],
            attribute["metadata"]["language"] or MISSING,
            marked(attribute["metadata"]["license"], longest=LICENCE_LETTERS),
        )
        for described in found
        for attribute in described["attributes"].values()
    ]
    columns = ("task", "problem", "classes", *_SPLITS, "metric", "language", "licence")
    left = _NAMES | {"task", "problem", "metric"}
    unusable = {
        f"{described['id']}/{name}": reason
        for described in found
        for name, reason in described["skipped"].items()
    }
    notes = [f"{len(skipped)} skipped:"] if skipped else []
    notes += [f"  {skip['source']}: {skip['reason']}" for skip in skipped]
    return [Table("", columns, rows, notes, left), *unusable_table(unusable)]


def _rows(attribute: Mapping[str, Any], split: str) -> str:
    return str(attribute["splits"][split]["rows"]) if split in attribute["splits"] else MISSING


def task_details(described: Mapping[str, Any]) -> list[Table]:
    """Return, per attribute of a description, rows and balance of every split, and warnings."""
    tables = [
        _details(f"{described['id']}/{name}", attribute)
        for name, attribute in described["attributes"].items()
    ]
    return [*tables, *unusable_table(described["skipped"])]


def _details(name: str, attribute: Mapping[str, Any]) -> Table:
    splits = [name for name in _SPLITS if name in attribute["splits"]]
    rows = [
        ("rows", *(_rows(attribute, split) for split in splits)),
        ("words, median", *(_words(attribute, split, "median") for split in splits)),
        ("words, longest", *(_words(attribute, split, "max") for split in splits)),
        ("duplicate rows", *(str(attribute["splits"][s]["duplicates"]) for s in splits)),
    ]
    for label in attribute["splits"]["train"]["labels"]:
        shares = [attribute["splits"][split]["labels"][label] for split in splits]
        rows.append((f"  {label}", *(_share(share) for share in shares)))
    notes = row_notes(attribute)
    if attribute["shared_train_test"]:
        notes.append(
            f"{attribute['shared_train_test']} texts are in train and in test: results on test will"
            " flatter"
        )
    pairs = " of pairs" if attribute["is_pair"] else ""
    title = f"{name}: {attribute['problem']}{pairs}, metric {attribute['metric']}"
    return Table(title, ("", *splits), rows, notes, frozenset({""}))


def _words(attribute: Mapping[str, Any], split: str, which: str) -> str:
    return number(attribute["splits"][split]["words"][which], 0)


def _share(share: Mapping[str, float] | float) -> str:
    if isinstance(share, Mapping):
        return f"{share['rows']:.0f} ({100 * share['share']:.0f} %)"
    return number(share)
