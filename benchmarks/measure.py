"""Seconds, peak memory and the machine; standard library only, so that the peer can use it too."""

from __future__ import annotations

import os
import platform
import threading
import time
from importlib import metadata
from pathlib import Path


class Clock:
    """Wall-clock and processor seconds of a block; the second bear a busy machine better."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Clock:
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def seconds(self, count: int = 1) -> dict[str, float]:
        """Return the seconds, those of one of ``count`` equal parts."""
        return {"wall": self.wall / count, "cpu": self.cpu / count}


class Memory:
    """Watches the peak of anonymous and of mapped memory while something runs (Linux only).

    Attributes:
        anonymous: Peak, bytes.
        mapped: Peak of pages of mapped files, bytes; the system takes these back when it wants.
    """

    def __init__(self) -> None:
        self.anonymous, self.mapped = 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def peaks(self) -> dict[str, int]:
        """Return both peaks, bytes."""
        return {"anonymous": self.anonymous, "mapped": self.mapped}

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._look()

    def _look(self) -> None:
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii")
        except OSError:
            return
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        self.anonymous = max(self.anonymous, _kilobytes(lines.get("RssAnon", "0")))
        self.mapped = max(self.mapped, _kilobytes(lines.get("RssFile", "0")))


def _kilobytes(value: str) -> int:
    return int(value.split()[0]) * 1024


def machine() -> dict[str, object]:
    """Return what figures depend on: processor, cores, memory, how busy it was."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        load: list[float] = list(os.getloadavg())
    except (OSError, ValueError, AttributeError):
        lines, memory, load = [], 0, []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory": memory,
        "system": platform.system(),
        "load": load,
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of some installed packages."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }
