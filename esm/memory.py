"""When memory runs out: notice it, free what can be freed, go on with smaller batches.

Importing this module does not import torch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from esm.errors import EncoderError
from esm.runtime import note

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
        note(f"out of memory: going on with {size} texts at a time")
