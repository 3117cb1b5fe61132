"""Out of memory: smaller batches, the same results; a clear error when one text is too much."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from esm.common.errors import EncoderError
from esm.common.memory import in_batches, is_out_of_memory, peak_memory, release_memory

TEXTS = [f"the film was good {'very ' * (n % 5)}" for n in range(11)]


def exhausted(message="CUDA out of memory. Tried to allocate 2.00 GiB."):
    return torch.OutOfMemoryError(message)


def limit_batches(monkeypatch, encoder, most, error=exhausted):
    """Let the model run out of memory with more than so many inputs at once; record the sizes."""
    sizes = []
    forward = encoder.model.forward

    def limited(**inputs):
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > most:
            raise error()
        return forward(**inputs)

    monkeypatch.setattr(encoder.model, "forward", limited)
    return sizes


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exhausted(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: 9 bytes"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_which_errors_say_that_memory_ran_out(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_failed_slice_is_done_again_in_halves():
    done, tried = [], []

    def work(part):
        tried.append((part.start, part.stop))
        if part.stop - part.start > 3:
            raise exhausted()
        done.extend(range(part.start, part.stop))

    in_batches(10, 8, work)
    assert tried == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert done == list(range(10))


def test_a_last_slice_that_is_small_is_halved_too():
    done = []

    def work(part):
        if part.stop - part.start > 1:
            raise exhausted()
        done.append(part.start)

    in_batches(3, 64, work)
    assert done == [0, 1, 2]


def test_embedding_goes_on_with_smaller_batches(tiny_encoder, monkeypatch, caplog):
    expected = tiny_encoder.embed(TEXTS, wide=True)
    sizes = limit_batches(monkeypatch, tiny_encoder, most=3)
    found = tiny_encoder.embed(TEXTS, wide=True, batch_size=8)
    np.testing.assert_allclose(found.last, expected.last, atol=1e-5)
    np.testing.assert_allclose(found.wide, expected.wide, atol=1e-5)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert caplog.messages == [f"out of memory: going on with {n} texts at a time" for n in (4, 2)]


def test_a_text_that_does_not_fit_alone(tiny_encoder, monkeypatch):
    limit_batches(monkeypatch, tiny_encoder, most=0)
    with pytest.raises(
        EncoderError, match=r"single text does not fit into memory.*try: a shorter --max-length, "
    ) as caught:
        tiny_encoder.embed(TEXTS)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_are_not_mistaken_for_it(tiny_encoder, monkeypatch):
    sizes = limit_batches(monkeypatch, tiny_encoder, most=0, error=lambda: RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        tiny_encoder.embed(TEXTS)
    assert len(sizes) == 1


def test_releasing_memory_needs_no_accelerator():
    release_memory()


CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets its mark back")


@linux
def test_the_peak_is_what_was_held_at_most_even_if_it_is_free_again():
    with peak_memory(CPU) as before:
        pass
    with peak_memory(CPU) as during:
        block = np.ones(25_000_000)  # 200 MB
        del block
    with peak_memory(CPU) as after:
        pass
    assert during.bytes - before.bytes > 180e6
    assert during.bytes - after.bytes > 180e6


def test_a_peak_is_told_after_an_error_too():
    with pytest.raises(ValueError), peak_memory(CPU) as peak:
        assert peak.bytes is None
        raise ValueError
    assert peak.bytes is None or peak.bytes > 1e6
