from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from esm.errors import EncoderError
from esm.runtime import note, progress, resolve_device, seeded, show_progress


@pytest.fixture
def shown():
    show_progress(True)
    yield
    show_progress(False)


def test_seeded_repeats_and_restores():
    random.seed(1)
    before = random.getstate()
    draws = []
    for _ in range(2):
        with seeded(7):
            draws.append((random.random(), torch.rand(1).item(), np.random.rand()))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert random.getstate() == before


def test_device_names():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(EncoderError, match=r"device 'abacus'.*try: --device auto"):
        resolve_device("abacus")


def test_a_library_is_silent_unless_asked(capsys):
    note("hello")
    with progress("working", total=2) as advance:
        advance(2)
    assert capsys.readouterr() == ("", "")


def test_progress_without_a_terminal_prints_lines_on_stderr(shown, capsys, monkeypatch):
    now = iter([0.0, 1.0, 11.0, 11.0])
    monkeypatch.setattr("esm.runtime.time.monotonic", lambda: next(now))
    with progress("working", total=5) as advance:
        advance(2)
        advance(3)
    note("done")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "working: 5/5\ndone\n"
