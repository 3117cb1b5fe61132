"""Specifications that a person writes: a TOML file that says what the data are.

The keys are the fields of :class:`~esm.tasks.spec.TaskSpec`, with ``file`` for its location; a
path is relative to the folder of the TOML file. For example::

    file = "prispevky.xlsx"
    text = "príspevok"
    attributes = ["postoj", "závažnosť"]

    [split]
    method = "grouped"
    group = "autor"

    [columns."závažnosť"]
    kind = "ordinal"
    order = ["nízka", "stredná", "vysoká"]
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from esm.common.errors import TaskError
from esm.tasks.formats.encodings import read_text
from esm.tasks.formats.files import SUFFIXES
from esm.tasks.formats.hub import is_hub_id
from esm.tasks.labels.names import label_name
from esm.tasks.spec import ColumnSpec, SplitSpec, TaskSpec

FILE = "file"

_LOCATION = "location"


def read_spec(path: Path) -> TaskSpec:
    """Read a specification; its paths become absolute, so that it holds wherever it is used.

    Raises:
        TaskError: There is no such file, it is no TOML, or a key or value is wrong; an unknown
            key is named with the nearest known one.
    """
    content = _load(path)
    if FILE not in content:
        raise TaskError(
            f"{path} does not say which data it describes",
            expected=f"a key {FILE!r}",
            hint=f'{FILE} = "posts.csv"',
        )
    _refuse_unknown(path, content)
    folder = path.resolve().parent
    content[_LOCATION] = _place(folder, content.pop(FILE))
    if "test" in content:
        content["test"] = _place(folder, content["test"])
    for column in _columns(content).values():
        for key in ("order", "missing", "options"):
            if isinstance(column.get(key), list):
                # Ratings are written as numbers; classes have names.
                column[key] = [label_name(item) for item in column[key]]
    try:
        return TaskSpec.model_validate(content)
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"])).replace(_LOCATION, FILE)
        raise TaskError(
            f"{path}: {key}: {fault['msg']}",
            expected="keys and values of a task's specification",
            hint="correct it; `esm tasks init` shows how one looks",
        ) from error


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise TaskError(f"no file {path}", expected="a specification in TOML")
    try:
        return tomllib.loads(read_text(path, "utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TaskError(
            f"{path} is no TOML: {error}",
            expected='lines such as text = "post"',
            hint="put quotes around texts and around names with letters beyond a to z",
        ) from error


def _columns(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tables of single columns; what is no table is refused with the types."""
    columns = content.get("columns")
    named = columns.items() if isinstance(columns, dict) else ()
    return {name: column for name, column in named if isinstance(column, dict)}


def _refuse_unknown(path: Path, content: dict[str, Any]) -> None:
    known = [FILE, *(key for key in TaskSpec.model_fields if key != _LOCATION)]
    _check_keys(path, "", content, known)
    if isinstance(content.get("split"), dict):
        _check_keys(path, "split", content["split"], list(SplitSpec.model_fields))
    for name, column in _columns(content).items():
        _check_keys(path, f"columns.{name}", column, list(ColumnSpec.model_fields))


def _check_keys(path: Path, table: str, content: dict[str, Any], known: Sequence[str]) -> None:
    for key in content:
        if key not in known:
            near = [FILE] if key == _LOCATION else difflib.get_close_matches(key, known, n=1)
            raise TaskError(
                f"{path} has an unknown key {key!r}" + (f" in [{table}]" if table else ""),
                expected=f"one of {', '.join(known)}",
                hint=f"did you mean {near[0]!r}?" if near else "leave it out",
            )


def _place(folder: Path, place: object) -> object:
    """Return an absolute path; the id of a Hub dataset stays as it is."""
    if not isinstance(place, str):
        return place
    path = folder / Path(place).expanduser()
    looks_local = path.exists() or path.suffix.lower() in SUFFIXES or path.parent.is_dir()
    return str(path.resolve()) if looks_local or not is_hub_id(place) else place
