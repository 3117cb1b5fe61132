"""Run the commands of ``docs/tutorial.md`` as they are written, one after the other.

    python -m docs.run_tutorial

It stops at the first that fails. Commands are the indented lines that begin with ``esm``; they run
from the project's folder and use the pool that ``make demo`` leaves there.

The first runs as a reader would run it: the installed ``esm``, a process of its own. The others
run in this process, one call of the command line each, since every process would spend seconds on
the same imports.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

TUTORIAL = Path(__file__).with_name("tutorial.md")
PROJECT = TUTORIAL.parents[1]


def commands() -> list[str]:
    """Return the tutorial's commands, in order."""
    lines = TUTORIAL.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.startswith("    esm ")]


def run_installed(arguments: Sequence[str]) -> int:
    """Run the installed command in its own process; return its exit code."""
    command = Path(sys.executable).with_name("esm")
    return subprocess.run([command, *arguments], cwd=PROJECT).returncode


def run_here(arguments: Sequence[str]) -> int:
    """Run a command in this process; return the exit code that its own would have ended with."""
    from esm.cli.app import main as esm

    before = sys.argv
    sys.argv = ["esm", *arguments]
    try:
        with contextlib.chdir(PROJECT):
            esm()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.argv = before
    return 0


def main() -> int:
    """Run them all; return the exit code of the first that fails, else 0."""
    run = run_installed
    for command in commands():
        print(f"\n$ {command}", flush=True)
        _, *arguments = shlex.split(command)
        code = run(arguments)
        sys.stdout.flush()
        if code:
            return code
        run = run_here
    return 0


if __name__ == "__main__":
    sys.exit(main())
