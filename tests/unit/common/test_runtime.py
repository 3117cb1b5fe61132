from __future__ import annotations

import io
import logging
import random
import sys

import numpy as np
import pytest
import torch
from rich.console import Console

from esm.common.errors import EncoderError
from esm.common.runtime import (
    print_line,
    progress,
    resolve_device,
    seeded,
    show_progress,
    warn_once,
)


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
    print_line("hello")
    with progress("working", total=2) as advance:
        advance(2)
    assert capsys.readouterr() == ("", "")


def test_progress_without_a_terminal_prints_lines_on_stderr(shown, capsys, monkeypatch):
    now = iter([0.0, 1.0, 11.0, 11.0])
    monkeypatch.setattr("esm.common.runtime.time.monotonic", lambda: next(now))
    with progress("working", total=5) as advance:
        advance(2)
        advance(3)
    print_line("done")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "working: 5/5\ndone\n"


@pytest.fixture
def terminal(shown, monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr("esm.common.runtime._terminal", lambda: console)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    return console.file


def test_nested_bars_share_one_display_and_notes_stand_above_it(terminal):
    hide_cursor, show_cursor = "\x1b[?25l", "\x1b[?25h"
    with progress("source [b]tasks", total=2) as outer:
        with progress("training", total=4) as inner:
            inner(3)
            print_line("half [way]")
        outer(1)
        assert show_cursor not in terminal.getvalue()
    shown = terminal.getvalue()
    assert shown.count(hide_cursor) == shown.count(show_cursor) == 1
    below = shown[shown.index("half [way]\n") :]
    assert below.index("source [b]tasks") < below.index("training")


def test_a_display_ends_with_an_error_and_a_new_one_can_begin(terminal):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), progress("working", total=2):
            raise KeyboardInterrupt
    assert terminal.getvalue().count("\x1b[?25h") == 2


def test_a_warning_is_given_once_per_run(caplog):
    logger = logging.getLogger("esm.tasks.load")
    for _ in range(2):
        show_progress(True)  # as the command line begins
        for line in ("cut", "cut", "other", "cut"):
            warn_once(logger, line)
    assert caplog.messages == ["cut", "other"] * 2
    first = caplog.records[0]
    assert (first.name, first.levelname, first.filename) == (
        "esm.tasks.load",
        "WARNING",
        "test_runtime.py",
    )
