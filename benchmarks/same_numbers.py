"""Compare what two builds computed, number by number.

    python -m benchmarks.same_numbers BEFORE AFTER [--tolerance X]

Both are folders of results, for instance the ``runs/demo`` of two versions. Files are paired by
their path in the folder: every JSON and CSV file (rankings, validations, comparisons, predictions,
the records of a pool) and every run of a ledger. Numbers may differ by ``--tolerance`` at most,
texts, their order and the length of lists not at all. What BEFORE has and AFTER lacks is a
difference; what only AFTER has is listed, since later versions say more.

``NOT_RESULTS`` is the whole list of what is left out, with :func:`_is_address`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esm.trials.ledger import LEDGER_NAME

NOT_RESULTS = {
    "seconds": "time",
    "source_seconds": "time",
    "created": "time",
    "peak_memory": "memory",
    "versions": "versions of the libraries",
    "origin": "name of the module that generated a task",
}
"""Keys and columns whose values are not compared, wherever they stand, and what they hold."""

NOT_RESULT_FILES = {"tokenizer.json": "a vocabulary that came with the base model"}

_ORDER = "attribute, source, strategy, seed, source_seed, fold"
_HASH = re.compile(r"[0-9a-f]{24,64}")
_SHOWN = 20


@dataclass(frozen=True)
class Difference:
    """Two values that are not the same; the size is infinite where they are not both numbers."""

    where: str
    before: object
    after: object
    size: float

    def __str__(self) -> str:
        size = "" if math.isinf(self.size) else f"  (by {self.size:.3g})"
        return f"{self.where}: {self.before!r} | {self.after!r}{size}"


@dataclass
class Comparison:
    """What was compared and what differs.

    Attributes:
        numbers: How many pairs of numbers were compared.
        texts: How many pairs of texts, truth values and nulls were compared.
        left_out: How many values were not, by key.
        differences: All pairs that are not the same, the tolerance apart.
        added: What only the second folder has.
    """

    numbers: int = 0
    texts: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    def over(self, tolerance: float) -> list[Difference]:
        """Return the differences above a tolerance, the largest first."""
        found = [one for one in self.differences if one.size > tolerance]
        return sorted(found, key=lambda one: -one.size)

    def add(self, where: str, before: Any, after: Any) -> None:
        """Compare two values and all that they hold."""
        match before, after:
            case dict(), dict():
                self._add_mappings(where, before, after)
            case list(), list():
                if len(before) != len(after):
                    self._differ(f"{where}, entries", len(before), len(after))
                for place, pair in enumerate(zip(before, after, strict=False)):
                    self.add(f"{where}[{place}]", *pair)
            case _ if _is_number(before) and _is_number(after):
                self.numbers += 1
                if before != after and not (math.isnan(before) and math.isnan(after)):
                    size = abs(before - after)
                    self._differ(where, before, after, math.inf if math.isnan(size) else size)
            case _ if _is_address(before) and _is_address(after):
                self._leave_out("paths and hashes")
            case _:
                self.texts += 1
                if type(before) is not type(after) or before != after:
                    self._differ(where, before, after)

    def _add_mappings(self, where: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        for key in dict.fromkeys((*before, *after)):
            inner = f"{where}.{key}"
            if key in NOT_RESULTS:
                self._leave_out(key)
            elif key not in before:
                self.added.append(inner)
            elif key not in after:
                self._differ(inner, before[key], "missing")
            else:
                self.add(inner, before[key], after[key])

    def _differ(self, where: str, before: object, after: object, size: float = math.inf) -> None:
        self.differences.append(Difference(where, before, after, size))

    def _leave_out(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1


def compare(before: Path, after: Path) -> Comparison:
    """Compare all results in two folders.

    Raises:
        FileNotFoundError: One of them is no folder.
    """
    found = Comparison()
    files, others = _files(before), _files(after)
    for name in dict.fromkeys((*files, *others)):
        if name not in files:
            found.added.append(name)
        elif name not in others:
            found.differences.append(Difference(name, "a file", "missing", math.inf))
        else:
            found.add(name, _read(files[name]), _read(others[name]))
    return found


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; expected a folder of results")
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.name == LEDGER_NAME
        or (path.suffix in (".json", ".csv") and path.name not in NOT_RESULT_FILES)
    }


def _read(path: Path) -> Any:
    if path.name == LEDGER_NAME:
        return _read_ledger(path)
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {column: _number(cell) for column, cell in row.items()}
            for row in csv.DictReader(stream, restkey="cells without a column")
        ]


def _read_ledger(path: Path) -> list[dict[str, Any]]:
    """Return the runs in an order that does not hang on their keys, which are hashes."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(f"SELECT * FROM runs ORDER BY {_ORDER}")]
    decoded = ("metrics", "confusion", "remarks")
    return [row | {key: json.loads(row[key]) for key in decoded} for row in rows]


def _number(cell: Any) -> Any:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return cell


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_address(value: object) -> bool:
    """Whether this is an absolute path or a hash, which two builds do not share."""
    return isinstance(value, str) and bool(Path(value).is_absolute() or _HASH.fullmatch(value))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two folders; return 1 where anything differs by more than the tolerance."""
    parser = argparse.ArgumentParser(description="Compare the results of two builds.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.0)
    options = parser.parse_args(arguments)
    try:
        found = compare(options.before, options.after)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    over = found.over(options.tolerance)
    left_out = ", ".join(f"{count} {key}" for key, count in sorted(found.left_out.items()))
    print(f"compared {found.numbers} numbers and {found.texts} texts; left out: {left_out or '-'}")
    finite = [one for one in found.differences if math.isfinite(one.size)]
    print("largest difference:", max(finite, key=lambda one: one.size, default="none"))
    _list("only after", found.added)
    _list(f"differs by more than {options.tolerance:g}", over)
    if not found.numbers:
        print("no number was compared", file=sys.stderr)
    return int(bool(over) or not found.numbers)


def _list(title: str, lines: Sequence[object]) -> None:
    if lines:
        print(f"{title} ({len(lines)}):")
    for line in lines[:_SHOWN]:
        print(f"  {line}")
    if len(lines) > _SHOWN:
        print(f"  and {len(lines) - _SHOWN} more")


if __name__ == "__main__":
    sys.exit(main())
