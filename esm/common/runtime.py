"""What a run needs of the machine: device, precision, seeds and progress.

Importing this module imports neither torch nor rich, so that ``esm --help`` stays quick.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from esm.common.errors import EncoderError

if TYPE_CHECKING:
    import torch
    from rich.console import Console
    from rich.progress import Progress

Advance = Callable[[int], None]

_SECONDS_BETWEEN_LINES = 10.0


class Precision(StrEnum):
    """Number format of the forward pass."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device to compute on: CUDA, then Apple's MPS, then the CPU, unless named.

    Args:
        name: "auto", or anything that ``torch.device`` accepts.

    Raises:
        EncoderError: The named device is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EncoderError(
            f"device {name!r} cannot be used ({str(error).splitlines()[0]})",
            expected="cpu, cuda, cuda:N or mps",
            hint="--device auto",
        ) from error
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether training is faster in bfloat16 on a device.

    It is on GPUs with CUDA from Ampere on, on ROCm's, and on processors with tiles for matrix
    products (Intel AMX; measured: up to twice as fast on one core). Those that only emulate it
    (T4, V100, processors with AVX alone) do not count: they are slower with it.
    """
    import torch

    if device.type == "cpu":
        tell = getattr(torch.cpu, "get_capabilities", None)  # older versions do not tell
        return tell is not None and bool(tell().get("amx_bf16", False))
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch inside the block and restore their states after it."""
    import numpy as np
    import torch

    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - libraries still draw from the global state
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


class _Display:
    """What is shown of progress. The command line turns it on; a library stays silent."""

    shown = False
    warned: ClassVar[set[str]] = set()  # of what is not said twice
    bars: Progress | None = None  # all of a terminal's: separate ones would overwrite each other


def show_progress(shown: bool) -> None:
    """Turn progress on stderr on or off for this process: bars, and lines of the command line."""
    _Display.shown = shown
    _Display.warned.clear()


@contextlib.contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show progress on stderr: a bar in a terminal, a line every ten seconds elsewhere.

    Calls may nest; the inner bar stands below the outer one.

    Args:
        description: What is being done, for instance ``"embedding covid-infodemic-en"``.
        total: How many steps there are.

    Yields:
        A function to call with the number of steps just done.

    Example:
        >>> with progress("embedding", total=2) as advance:
        ...     advance(2)
    """
    if not _Display.shown:
        yield lambda steps: None
    elif sys.stderr.isatty():
        yield from _terminal_bar(description, total)
    else:
        yield from _plain_lines(description, total)


def _terminal_bar(description: str, total: int) -> Iterator[Advance]:
    bars = _Display.bars or _start_bars(_terminal())
    task = bars.add_task(description, total=total)
    try:
        yield lambda steps: bars.advance(task, steps)
    finally:
        bars.remove_task(task)
        if not bars.tasks:
            bars.stop()
            _Display.bars = None


def _terminal() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _start_bars(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    description = TextColumn("{task.description}", markup=False)
    columns = (description, BarColumn(), MofNCompleteColumn(), Remaining())
    _Display.bars = Progress(*columns, console=console, transient=True)
    _Display.bars.start()
    return _Display.bars


def _plain_lines(description: str, total: int) -> Iterator[Advance]:
    done = 0
    printed = time.monotonic()

    def advance(steps: int) -> None:
        nonlocal done, printed
        done += steps
        if time.monotonic() - printed >= _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            print(f"{description}: {done}/{total}", file=sys.stderr, flush=True)  # noqa: T201

    yield advance


def print_line(message: str) -> None:
    """Print a line on stderr, above the bars, where progress is shown; nothing otherwise."""
    if _Display.bars is not None:
        _Display.bars.console.out(message, highlight=False)
    elif _Display.shown:
        print(message, file=sys.stderr, flush=True)  # noqa: T201


def warn_once(logger: logging.Logger, message: str) -> None:
    """Log a warning, unless it was logged before in this run of the command line, or process."""
    if message not in _Display.warned:
        _Display.warned.add(message)
        logger.warning(message, stacklevel=2)
