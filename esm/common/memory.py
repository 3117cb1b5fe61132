"""Memory: how much was in use; when it runs out, free what can be and go on with less at a time.

Importing this module does not import torch.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esm.common.errors import EncoderError

if TYPE_CHECKING:
    import torch

_LOGGER = logging.getLogger(__name__)

SMALLER = "a shorter --max-length, fewer --max-chunks, or a smaller base model"

_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device, or the machine, has no memory left.

    CUDA raises ``torch.OutOfMemoryError``; Apple's MPS, the CPU's allocator and the libraries
    below torch raise a plain ``RuntimeError`` with a sentence.
    """
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in _SIGNS)


def release_memory() -> None:
    """Give back what nothing refers to any more; call it outside of the ``except`` block."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def in_batches(total: int, batch_size: int, work: Callable[[slice], None]) -> None:
    """Do work on consecutive slices of ``range(total)``, on smaller ones when memory runs out.

    A slice that failed for lack of memory is done again in halves, and so is all that follows.

    Args:
        total: How many items there are.
        batch_size: Items per slice to begin with.
        work: Works on a slice; what it did before it ran out of memory must not count.

    Raises:
        EncoderError: A single item does not fit into memory.
    """
    size, start = batch_size, 0
    while start < total:
        part = slice(start, min(start + size, total))
        try:
            work(part)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if part.stop - part.start == 1:
                raise EncoderError(
                    "a single text does not fit into memory",
                    expected="memory for one text at a time",
                    hint=f"{SMALLER}; --device cpu",
                ) from error
        else:
            start = part.stop
            continue
        # Here, not in the except block: the error's traceback holds on to the batch's tensors.
        size = (part.stop - part.start) // 2
        release_memory()
        _LOGGER.warning(f"out of memory: going on with {size} texts at a time")


@dataclass
class Peak:
    """The most memory that was in use.

    Attributes:
        bytes: None until the block has ended, and where the system does not tell.
    """

    bytes: int | None = None


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the most memory that is in use inside the block; blocks must not nest.

    On a GPU it is what torch allocated there. Elsewhere it is the resident memory of the whole
    process, libraries and base model included: on Linux the kernel's high-water mark, set back at
    the start of the block; on macOS that of the process's whole life.

    Example:
        >>> import torch
        >>> with peak_memory(torch.device("cpu")) as peak:
        ...     numbers = torch.ones(1000)
    """
    import torch

    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    peak = Peak()
    try:
        yield peak
    finally:
        peak.bytes = torch.cuda.max_memory_allocated(device) if on_gpu else _most_resident()


def _most_resident() -> int | None:
    """Return the high-water mark of the process's resident memory in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        return None if found is None else 1024 * int(found[1])
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
