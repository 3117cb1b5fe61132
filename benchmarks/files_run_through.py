"""How many files of ``esm/`` a reader meets on the way through one command: ``esm rank``.

A file counts if a function of it is called or the body of one of its classes is run, as on import;
how many have a function called is said beside it. With another checkout the same is counted there::

    python -m benchmarks.files_run_through --pool pool
    python -m benchmarks.files_run_through --pool pool --checkout ../other --list

The checkout's own code is run, in a process of its own; its libraries are those of this Python.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

TARGET = 100
"""Files that one ranking may run through."""

ROOT = Path(__file__).parents[1]

# Run in the process that is counted; comprehensions run inside a function that counts.
_COUNTED = """
import inspect, json, os, runpy, sys, threading
root, told, *words = sys.argv[1:]
inside = os.path.join(os.path.realpath(root), "esm") + os.sep
files = {}

def watch(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_name not in ("<module>", "<listcomp>", "<genexpr>"):
        kind = "function" if code.co_flags & inspect.CO_NEWLOCALS else "class"
        files.setdefault(code.co_filename, set()).add(kind + " " + code.co_name)

sys.path.insert(0, root)
sys.argv = ["esm", *words]
threading.setprofile(watch)
sys.setprofile(watch)
ended = 0
try:
    runpy.run_module("esm", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    ended = stop.code or 0
finally:
    sys.setprofile(None)
    found = {
        os.path.relpath(os.path.realpath(name), os.path.realpath(root)): sorted(called)
        for name, called in files.items()
        if os.path.realpath(name).startswith(inside)
    }
    with open(told, "w", encoding="utf-8") as file:
        json.dump(found, file)
sys.exit(ended)
"""


def files_run_through(checkout: Path, words: list[str], told: Path) -> dict[str, list[str]]:
    """Return the files of a checkout that a command runs through, with what of them is run.

    Args:
        checkout: Folder that holds ``esm/``.
        words: The command, without ``esm``.
        told: File for the counts; written anew.

    Raises:
        CalledProcessError: The command failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", _COUNTED, str(checkout), str(told), *words]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    found: dict[str, list[str]] = json.loads(told.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Count, and say so."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", required=True, type=Path, help="Pool to rank.")
    parser.add_argument("--target", type=Path, default=ROOT / "data" / "remedy-posts.csv")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="Folder that holds esm/.")
    parser.add_argument("--told", type=Path, default=Path("files_run_through.json"))
    parser.add_argument("--list", action="store_true", help="Also name the files.")
    given = parser.parse_args()
    words = ["rank", str(given.target.resolve()), "--pool", str(given.pool.resolve()), "--quiet"]
    found = files_run_through(given.checkout.resolve(), words, given.told.resolve())
    if given.list:
        for name in sorted(found):
            print(f"{len(found[name]):4d} {name}")
    called = sum(any(name.startswith("function") for name in names) for names in found.values())
    print(f"{len(found)} files of esm/ (at most {TARGET}), {called} with a function that is called")


if __name__ == "__main__":
    main()
