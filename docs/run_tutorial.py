"""Run the commands of ``docs/tutorial.md`` as they are written, one after the other.

    python -m docs.run_tutorial

It stops at the first that fails. Commands are the indented lines that begin with ``esm``; they run
from the project's folder and use the pool that ``make demo`` leaves there.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).with_name("tutorial.md")
PROJECT = TUTORIAL.parents[1]


def commands() -> list[str]:
    """Return the tutorial's commands, in order."""
    lines = TUTORIAL.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.startswith("    esm ")]


def main() -> int:
    """Run them all; return the exit code of the first that fails, else 0."""
    for command in commands():
        print(f"\n$ {command}", flush=True)
        _, *arguments = shlex.split(command)
        code = subprocess.run([sys.executable, "-m", "esm", *arguments], cwd=PROJECT).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
