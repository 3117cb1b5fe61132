"""Parquet and Arrow files, with the class names that Hugging Face datasets stores in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.common.errors import TaskError
from esm.common.runtime import warn_once
from esm.tasks.raw import Table, Values

_LOGGER = logging.getLogger(__name__)

if TYPE_CHECKING:
    import pyarrow as pa

_METADATA = b"huggingface"


def read_parquet(path: Path) -> Table:
    """Read a Parquet file; columns of class indices have the names, and null for -1 (no label).

    Raises:
        TaskError: It is truncated or not Parquet, or has an index without a name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise TaskError(
            f"{path} is truncated or not Parquet", expected="a whole Parquet file"
        ) from error
    return _columns(path, table)


def read_arrow(path: Path) -> Table:
    """Read an Arrow file (also a stream, as ``save_to_disk`` of datasets writes it) or a Feather.

    Raises:
        TaskError: It is truncated or not Arrow, or has an index without a name.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            try:
                table = pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                table = pa.ipc.open_stream(source).read_all()
            return _columns(path, table)
    except (pa.ArrowException, OSError) as error:
        raise TaskError(
            f"{path} is truncated or not Arrow", expected="a whole Arrow or Feather file"
        ) from error


def _columns(path: Path, table: pa.Table) -> Table:
    names = {
        column: found
        for column, feature in _features(table).items()
        if (found := _class_names(feature)) and column in table.column_names
    }
    columns: dict[str, Values] = table.to_pydict()
    if not names:
        return columns
    hidden = 0
    for column, classes in names.items():
        hidden += sum(value == -1 for value in columns[column] if not isinstance(value, list))
        columns[column] = [_named(path, column, value, classes) for value in columns[column]]
    none = f"; {hidden} cells are -1, which is no label" if hidden else ""
    warn_once(
        _LOGGER, f"{path.name}: the file names the classes of {', '.join(map(repr, names))}{none}"
    )
    return columns


def _features(table: pa.Table) -> Mapping[str, Any]:
    """Return the types of the columns as datasets describes them; empty where it does not."""
    try:
        stored = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
    except ValueError:
        return {}
    info = stored.get("info") if isinstance(stored, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}


def _class_names(feature: Any) -> list[str]:
    """Return the class names of a column, or of a column of lists of classes."""
    if isinstance(feature, list):  # how older versions write a list
        return _class_names(feature[0]) if feature else []
    if not isinstance(feature, dict):
        return []
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return list(names) if names else _class_names(feature.get("feature"))


def _named(path: Path, column: str, value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        found = [_named(path, column, each, names) for each in value]
        return [name for name in found if name is not None]
    if value is None or isinstance(value, str) or value == -1:
        return None if value == -1 else value
    if not 0 <= value < len(names):
        raise TaskError(
            f"{path} has the class {value} in column {column!r}, and names {len(names)} classes",
            expected=f"an index from 0 to {len(names) - 1}, or -1 for no label",
            hint="write the file again with the names of all classes",
        )
    return names[value]
