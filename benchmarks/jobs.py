"""Jobs that either side does in a process of its own, and how they are handed over.

A job is JSON with ``kind``, ``threads`` and what the kind needs:

* ``maps``: ``cases``, each with ``name``, ``base`` and ``labels`` (npy files) and the maps:
  ``maps``, folders in the published format, for the peer; for us ``bundle``, ``form``,
  ``classes``, ``lifted`` (where maps read it), ``compare`` (maps whose scores are wanted) and
  ``direct`` (maps scored again from the embeddings).
* ``embed``: ``texts``, a JSON file of texts and labels, and, for the peer, ``model``.
* ``rank``: the same and ``maps`` for the peer; ``target`` and ``pool`` for us.
* ``stream``: a case of ours, whose bundle is read in blocks.

An answer has ``result``, ``memory`` (peaks, bytes) and ``versions``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esm.common.errors import SettingError

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Side:
    """Who does the jobs.

    Attributes:
        name: For the files that are handed over.
        python: Its interpreter.
        module: What it runs.
        threads: Threads of all its libraries.
    """

    name: str
    python: Path
    module: str
    threads: int

    def do(self, job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Run a job in a fresh process.

        Args:
            job: The job, see the module.
            folder: Where the process works and leaves its files.

        Returns:
            The answer, and ``process``: wall-clock seconds from the start of the interpreter to
            its end, imports included.

        Raises:
            SettingError: The process failed; what it said last is part of the message.
        """
        folder.mkdir(parents=True, exist_ok=True)
        question, answer = folder / f"{self.name}-job.json", folder / f"{self.name}-answer.json"
        answer.unlink(missing_ok=True)
        question.write_text(json.dumps({**job, "threads": self.threads}), encoding="utf-8")
        started = time.perf_counter()
        done = subprocess.run(
            [str(self.python), "-m", self.module, str(question), str(answer)],
            cwd=folder,
            env=_environment(self.threads, folder),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode or not answer.is_file():
            raise SettingError(
                f"{self.name} failed at {job['kind']}: {done.stderr.strip()[-400:]}",
                expected="an answer",
                hint="remove its environment, so that it is installed again",
            )
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return {**found, "process": seconds}


def ours(threads: int) -> Side:
    """Return our side."""
    return Side("ours", Path(sys.executable), "benchmarks.scoring", threads)


def peers(python: Path, threads: int) -> Side:
    """Return the peer's side."""
    return Side("peer", python, "benchmarks.peer.driver", threads)


def _environment(threads: int, folder: Path) -> dict[str, str]:
    """Return the variables of a process: as many threads for everyone, no Hub, no warm cache."""
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR")
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in libraries},
        "PYTHONPATH": str(_ROOT),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "ESM_CACHE": str(folder / "cache"),
    }
