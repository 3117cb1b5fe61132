"""How long two builds take to read the same tables of text, side by side in one run.

    python -m benchmarks.reading BEFORE AFTER [--rows N] [--repeats N]

Both are folders of a checkout, each with its environment in ``.venv``. A process of each build
reads every table in turns with the other one, so that whatever else the machine does slows down
both. What counts is the fastest of the repeats; the last column is AFTER / BEFORE.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROWS = 100_000
REPEATS = 7

# Runs in the builds' own processes; versions before 0.2 have the reader elsewhere.
_WORKER = """
import gc, sys, time
from pathlib import Path
try:
    from esm.tasks.formats.files import read_table
except ModuleNotFoundError:
    from esm.tasks.files import read_table
import pandas
print("ready", flush=True)
for line in sys.stdin:
    gc.collect()
    start = time.perf_counter()
    read_table(Path(line.strip()))
    print(time.perf_counter() - start, flush=True)
"""

_WORDS = [
    "news",
    "of",
    "health",
    "price",
    "river",
    "city",
    "doctor",
    "winter",
    "school",
    "market",
    "vaccine",
    "law",
    "water",
]
Row = list[object]


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=15))


def _plain(number: int, rng: random.Random) -> Row:
    label = rng.choice(["yes", "no"])
    return [number, _text(rng), label, rng.randint(1, 5), rng.choice(["a", "b", ""])]


def _floats(number: int, rng: random.Random) -> Row:
    return [*_plain(number, rng), round(rng.random(), 6)]


def _several_lines(number: int, rng: random.Random) -> Row:
    return [number, f"{_text(rng)}\n{_text(rng)}", rng.choice(["yes", "no"])]


def _quoted(number: int, rng: random.Random) -> Row:
    return [number, f'{_text(rng)}, "so it is", {_text(rng)}', rng.choice(["yes", "no"])]


def _decimal_commas(number: int, rng: random.Random) -> Row:
    return [number, _text(rng), f"{rng.random():.2f}".replace(".", ",")]


def _sets(number: int, rng: random.Random) -> Row:
    return [number, _text(rng), "; ".join(rng.sample(["a", "b", "c"], rng.randint(1, 3)))]


TABLES: dict[str, tuple[Callable[[int, random.Random], Row], str]] = {
    "five columns": (_plain, ","),
    "a sixth of floats": (_floats, ","),
    "cells of two lines": (_several_lines, ","),
    "quotes in cells": (_quoted, ","),
    "decimal commas": (_decimal_commas, ";"),
    "sets": (_sets, ","),
}
"""The tables: what makes a row, and what stands between its cells."""


def write_table(path: Path, name: str, rows: int) -> None:
    """Write one of :data:`TABLES`; the same rows whenever it is called."""
    make, delimiter = TABLES[name]
    rng = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        made = [make(number, rng) for number in range(rows)]
        writer.writerow(["id", "text", "label", "grade", "kind", "score"][: len(made[0])])
        writer.writerows(made)


def _start(build: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [build / ".venv" / "bin" / "python", "-c", _WORKER],
        cwd=build,
        env=os.environ | {"PYTHONPATH": str(build.resolve()), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _answer(process)
    return process


def _answer(process: subprocess.Popen[str], question: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if question:
        process.stdin.write(f"{question}\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit("a build cannot read one of the tables, see above")
    return answer


def measure(builds: Sequence[Path], table: Path, repeats: int) -> list[float]:
    """Return the fastest time of each build in seconds."""
    processes = [_start(build) for build in builds]
    times: list[list[float]] = [[] for _ in builds]
    try:
        for _ in range(repeats):
            for process, of_build in zip(processes, times, strict=True):
                of_build.append(float(_answer(process, str(table))))
    finally:
        for process in processes:
            process.kill()
    return [min(of_build) for of_build in times]


def main() -> None:
    """Print the times and their ratio, table by table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    print(f"{given.rows:,} rows, the fastest of {given.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        for name in TABLES:
            path = Path(folder) / "table.csv"
            write_table(path, name, given.rows)
            before, after = measure([given.before, given.after], path, given.repeats)
            print(f"{name:20} {before:6.3f} s {after:6.3f} s  {after / before:5.2f}", flush=True)


if __name__ == "__main__":
    main()
