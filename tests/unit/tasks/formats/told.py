"""Files to read, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esm.common.runtime import show_progress
from esm.tasks.formats.files import read_table
from esm.tasks.raw import Table


def write(path: Path, content: Any) -> Path:
    """Write a text as it is; rows as JSON lines where the name says so, else as one JSON value."""
    if not isinstance(content, str):
        lines = [json.dumps(row, ensure_ascii=False) for row in content]
        whole = json.dumps(content, ensure_ascii=False)
        content = "\n".join(lines) + "\n" if path.suffix == ".jsonl" else whole
    path.write_bytes(content.encode())
    return path


def read(path: Path, caplog: pytest.LogCaptureFixture) -> tuple[Table, str]:
    """Read a file; return its columns and all that is said of it, in one line."""
    caplog.clear()
    show_progress(False)  # what was said before may be said again
    table = read_table(path)
    return table, " ".join(caplog.messages)
