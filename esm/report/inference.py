"""What ``esm predict`` and ``esm export`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esm.report.numbers import MISSING, number, points, size
from esm.report.table import Table

if TYPE_CHECKING:
    from esm.inference.export import Exported

_MOST_LABELS = 12


def prediction_tables(summary: Mapping[str, Any], out: str) -> list[Table]:
    """Return one line per attribute, and per label how often it was given.

    Args:
        summary: See :meth:`esm.inference.predictions.Predictions.as_dict`.
        out: The file that was written.
    """
    attributes = summary["attributes"]
    rows = [
        (
            name,
            found["source"],
            str(found["models"]),
            str(found["labelled"]),
            str(found["abstained"]),
            _labels(found),
            *_trust(found["calibration"]),
        )
        for name, found in attributes.items()
    ]
    columns = (
        "attribute",
        "source",
        "models",
        "labelled",
        "abstained",
        "labels",
        "coverage",
        "accuracy",
        "calibration error",
        "measured on",
    )
    notes = [
        "accuracy: of the labels that this threshold would give to the rows that the models were"
        " calibrated on, how many are right, in percent; coverage (--wide): to how many it would",
        "calibration error (--wide): how far confidence and accuracy lie apart, in percent",
    ]
    licences = {
        data: terms for found in attributes.values() for data, terms in found["licences"].items()
    }
    listed = "; ".join(f"{data}: {terms}" for data, terms in licences.items())
    notes.append(f"licences of the data that the models were trained on: {listed}")
    if summary["empty"]:
        notes.append(f"rows without a text, which have no label: {summary['empty']}")
    for name, found in attributes.items():
        notes += [f"{name}: {said}" for said in found.get("data_notes", ())]
    left = frozenset({"attribute", "source", "labels", "measured on"})
    further = frozenset({"models", "coverage", "calibration error", "measured on"})
    return [Table(f"{out}: {summary['rows']} rows", columns, rows, notes, left, further, keys=2)]


def _labels(found: Mapping[str, Any]) -> str:
    if found["values"] is not None:
        values = found["values"]
        return f"{number(values['min'])} to {number(values['max'])}, mean {number(values['mean'])}"
    if found["labels"] is None:
        return MISSING
    counted = sorted(found["labels"].items(), key=lambda item: -item[1])
    shown = [f"{label} {count}" for label, count in counted[:_MOST_LABELS]]
    more = len(counted) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def _trust(calibration: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    if calibration is None:
        return (MISSING,) * 4
    return (
        points(calibration["coverage"]),
        points(calibration["accuracy"]),
        points(calibration["calibration_error"]),
        f"{calibration['rows']} {calibration['calibrated_on']}",
    )


def export_tables(exported: Sequence[Exported]) -> list[Table]:
    """Return one line per exported attribute."""
    rows = [
        (one.attribute, one.source, str(one.models), size(one.bytes), str(one.folder))
        for one in exported
    ]
    columns = ("attribute", "source", "models", "size", "folder")
    notes = ["the README.md in each folder has the code that labels texts with it"]
    left = frozenset({"attribute", "source", "folder"})
    return [Table("", columns, rows, notes, left)]
