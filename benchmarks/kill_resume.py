"""Kill ``esm train`` and ``esm validate`` with SIGKILL, resume, compare with an undisturbed run.

Each trial starts afresh, is killed once at a moment drawn uniformly over the undisturbed run's
time, is checked for broken files, and is then run again to its end by the same command::

    .venv/bin/python -m benchmarks.kill_resume --trials 10

The undisturbed run is made twice and the second is timed: it finds the base model's embeddings in
the cache, as the killed runs do, so that the moments are drawn over what these take.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from esm.common.storage import hash_file
from esm.pool.fingerprints import FINGERPRINT_NAME, KEY_NAME
from esm.pool.pool import Pool
from esm.trials.ledger import LEDGER_NAME

State = dict[str, Any]

_SECONDS_BETWEEN_LOOKS = 0.01
_SOURCES = 3
_FINE_TUNING = ("--epochs", "1", "--max-examples", "64", "--anchors-per-task", "30")
_TRANSFER = (
    *("--attribute", "endorsed", "--top", "1", "--random-sources", "1", "--seeds", "2"),
    *("--epochs", "1", "--max-train", "48"),
)


def run(arguments: Sequence[str]) -> None:
    """Run ``esm`` to its end."""
    subprocess.run(
        [sys.executable, "-m", "esm", "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL
    )


def run_and_kill(arguments: Sequence[str], due: Callable[[], bool]) -> bool:
    """Start ``esm`` and kill it as soon as that is due; return whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "esm", "--quiet", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not due():
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    process.kill()
    return process.wait() == -signal.SIGKILL


def after(seconds: float) -> Callable[[], bool]:
    """Return what is true from so many seconds after now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def pool_state(folder: Path) -> State:
    """Return the content of a pool, without times; raises where anything is broken.

    What a kill leaves under a temporary name is no part of the pool; the next run removes it. The
    key of the fingerprints is drawn anew for every pool, so of key and fingerprints only the size
    is compared, and that they can be read.
    """
    if not Pool.exists(folder):
        return {}
    pool = Pool.open(folder)
    pool.lift()
    for entry in pool.entries(strict=True)[0]:
        for form in entry.record.maps:
            entry.load_map(form)
        entry.load_head()
        entry.load_fingerprint(pool.fingerprint_key())
    state: State = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or ".tmp-" in name or name == ".lock":
            continue
        if path.name == "source.json":
            record = json.loads(path.read_text(encoding="utf-8"))
            state[name] = {key: value for key, value in record.items() if key != "seconds"}
        elif path.name in (FINGERPRINT_NAME, KEY_NAME):
            state[name] = path.stat().st_size
        else:
            state[name] = hash_file(path)
    return state


def ledger_state(folder: Path) -> State:
    """Return the rows of a run's ledger, without times and memory; raises where it is broken."""
    path = folder / LEDGER_NAME
    if not path.exists():
        return {}
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise AssertionError(f"{path} is damaged")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'runs'").fetchall()
        rows = connection.execute("SELECT * FROM runs").fetchall() if tables else []
    times = {"seconds", "created", "versions", "peak_memory"}
    return {row["key"]: {k: row[k] for k in row.keys() if k not in times} for row in rows}  # noqa: SIM118


@dataclass(frozen=True)
class Case:
    """A command, the folder it fills, how to read what it left there, and how to run it."""

    name: str
    arguments: Sequence[str]
    folder: Path
    state: Callable[[Path], State]
    run: Callable[[Sequence[str]], None] = run


def trial(case: Case, due: Callable[[], bool], expected: State) -> tuple[bool, int]:
    """Start a case afresh, kill it when that is due, and resume it.

    Returns:
        Whether the kill hit a running command, and how many finished pieces were there after it.

    Raises:
        AssertionError: The end differs from the undisturbed run's, or something was left behind.
    """
    shutil.rmtree(case.folder, ignore_errors=True)
    hit = run_and_kill(case.arguments, due)
    after_kill = len(case.state(case.folder))
    case.run(case.arguments)
    if case.state(case.folder) != expected:
        raise AssertionError(f"{case.name}: another end than the undisturbed run's")
    left = [str(path) for path in case.folder.rglob(".tmp-*")]
    if left:
        raise AssertionError(f"{case.name}: left {left}")
    return hit, after_kill


def undisturbed(case: Case) -> tuple[State, float]:
    """Run a case to its end; return its state and its seconds."""
    shutil.rmtree(case.folder, ignore_errors=True)
    started = time.monotonic()
    case.run(case.arguments)
    return case.state(case.folder), time.monotonic() - started


def _kill_and_report(case: Case, rng: np.random.Generator, count: int) -> None:
    undisturbed(case)
    expected, seconds = undisturbed(case)
    print(f"\n{case.name}: {seconds:.1f} s undisturbed, the second time; {count} kills")
    print("killed after (s)  still running  pieces there")
    for moment in rng.uniform(0, seconds, count).tolist():
        hit, pieces = trial(case, after(moment), expected)
        print(f"{moment:16.2f}  {'yes' if hit else 'no':>13}  {pieces:12d}", flush=True)
    print("every resumed run ended as the undisturbed one; nothing half-written was left")


def main() -> None:
    """Run all trials with the offline encoder on the demo's generated tasks."""
    from esm.cli.demo.tasks import write_demo_tasks

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base", default="offline", help="a small model makes the trials short")
    parser.add_argument("--verb", choices=("train", "validate", "both"), default="both")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ESM_CACHE"] = str(folder / "cache")
        tasks = write_demo_tasks(folder / "tasks")
        ranking = folder / "ranking.json"
        pool, out = folder / "pool", folder / "run"
        sources = [str(path) for path in tasks.sources[:_SOURCES]]
        train = ("train", *sources, "--pool", str(pool), "--base", options.base, *_FINE_TUNING)
        rank = ("rank", str(tasks.target), "--pool", str(pool), "--out", str(ranking))
        validate = ("validate", str(ranking), "--out", str(out), *_TRANSFER)
        if options.verb == "validate":
            run(train)
        else:
            _kill_and_report(Case("esm train", train, pool, pool_state), rng, options.trials)
        if options.verb != "train":
            run(rank)
            case = Case("esm validate", validate, out, ledger_state)
            _kill_and_report(case, rng, options.trials)


if __name__ == "__main__":
    main()
