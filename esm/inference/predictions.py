"""What was predicted for a file of texts, and how it is written beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from esm.common.arrays import Array
from esm.common.errors import SettingError, StorageError
from esm.common.storage import write_atomic
from esm.tasks.raw import Table, Values
from esm.tasks.task import Problem

FORMATS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class AttributePredictions:
    """What was predicted for one attribute.

    Attributes:
        name: Name of the attribute.
        source: Source of the winning arm, or ``none``.
        models: How many models voted.
        problem: Kind of output.
        classes: Names of the classes or labels; empty for regression.
        labels: n predictions: a class, a tuple of labels, a number, or a tuple of the tags of the
            text's words; None for an empty text and where the models abstain.
        confidence: (n,) calibrated probability of the class, or of the least sure label, NaN for
            an empty text; None for values.
        probabilities: (n, c), NaN for an empty text; None for values.
        summary: Counts, and what the calibration says, JSON-ready.
    """

    name: str
    source: str
    models: int
    problem: Problem
    classes: tuple[str, ...]
    labels: tuple[Any, ...]
    confidence: Array | None
    probabilities: Array | None
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Predictions:
    """What was predicted for a file.

    Attributes:
        columns: The file's own columns, by name, as they were read.
        rows: Number of rows.
        empty: Rows without a text; they get no label.
        attributes: Predictions by attribute, in the order of the validation.
        texts: The columns of the texts: one, or the two of a pair.
    """

    columns: Table
    rows: int
    empty: int
    attributes: Mapping[str, AttributePredictions]
    texts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, JSON-ready and without any row."""
        return {
            "rows": self.rows,
            "empty": self.empty,
            "attributes": {name: dict(found.summary) for name, found in self.attributes.items()},
        }

    def table(self, *, with_probabilities: bool = False) -> dict[str, Values]:
        """Return the file's columns with the predictions beside them.

        An attribute ``A`` gives the columns ``A`` and, unless it is a value, ``A_confidence``;
        a column of the file that already has such a name becomes ``A_given``.

        Args:
            with_probabilities: Add a column ``A_p_CLASS`` for each class.

        Raises:
            SettingError: A column of the file cannot be renamed, because ``A_given`` is there too.
        """
        new: dict[str, Values] = {}
        for name, found in self.attributes.items():
            new[name] = [list(v) if isinstance(v, tuple) else v for v in found.labels]
            if found.confidence is not None:
                new[f"{name}_confidence"] = _numbers(found.confidence)
            if with_probabilities and found.probabilities is not None:
                for label, column in zip(found.classes, found.probabilities.T, strict=True):
                    new[f"{name}_p_{label}"] = _numbers(column)
        given = {f"{name}_given" if name in new else name: name for name in self.columns}
        if len(given) < len(self.columns) or given.keys() & new.keys():
            taken = sorted(name for name in self.columns if f"{name}_given" in self.columns)
            raise SettingError(
                f"the file has the columns {', '.join(map(repr, taken or given))} already",
                expected="room for the predicted columns",
                hint="rename or remove them",
            )
        return {name: list(self.columns[old]) for name, old in given.items()} | new

    def write(self, path: Path, *, with_probabilities: bool = False) -> None:
        """Write :meth:`table` to a .csv, .jsonl or .parquet file, readable by its owner only.

        Labels of a multi-label attribute, and tags, are a JSON list in a .csv file.

        Raises:
            StorageError: Another suffix, or the file cannot be written.
            SettingError: See :meth:`table`.
        """
        import pandas as pd

        if path.suffix not in FORMATS:
            raise StorageError(f"{path} ends in {path.suffix!r}", expected=", ".join(FORMATS))
        table = self.table(with_probabilities=with_probabilities)
        if path.suffix == ".jsonl":
            rows = zip(*table.values(), strict=True)
            lines = (
                json.dumps(dict(zip(table, row, strict=True)), ensure_ascii=False, default=str)
                for row in rows
            )
            content = "".join(f"{line}\n" for line in lines).encode()
        elif path.suffix == ".csv":
            cells = {name: [_cell(value) for value in values] for name, values in table.items()}
            content = pd.DataFrame(cells, dtype=object).to_csv(index=False).encode()
        else:
            buffer = io.BytesIO()
            pd.DataFrame(table).to_parquet(buffer, index=False)
            content = buffer.getvalue()
        write_atomic(path, content, private=True)


def _numbers(column: Array) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in column]


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
