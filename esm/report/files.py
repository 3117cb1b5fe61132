"""Results in files that a program can read: JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from esm.common.storage import to_json, write_atomic


def write_out(path: Path | None, content: Any, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a result to a file that a program can read, and say so on stderr.

    Args:
        path: None writes nothing; ``.csv`` and ``.parquet`` get the records, ``.json`` the content.
        content: The JSON form.
        records: Rows at full precision; a key that a row does not have is an empty cell.
    """
    if path is None:
        return
    if path.suffix == ".csv":
        written = _as_csv(records)
    elif path.suffix == ".parquet":
        written = _as_parquet(records)
    else:
        written = to_json(content).encode()
    write_atomic(path, written, private=True)
    typer.echo(f"written to {path}", err=True)


def _as_csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    columns = dict.fromkeys(key for record in records for key in record)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue().encode()


def _as_parquet(records: Sequence[Mapping[str, Any]]) -> bytes:
    import pandas as pd

    return pd.DataFrame(list(records)).to_parquet(index=False)
