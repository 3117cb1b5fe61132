"""Options that several verbs of the command line share, as dataclasses.

A verb takes such a dataclass as one parameter; :func:`grouped` spreads its fields into options.
"""

from __future__ import annotations

import csv
import functools
import inspect
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from esm.runtime import show_progress
from esm.storage import to_json, write_atomic

if TYPE_CHECKING:
    from esm.embeddings import EmbeddingCache
    from esm.report import Table
    from esm.tasks.spec import TaskSpec

_FORMATS = (".json", ".csv", ".parquet")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose dataclass parameters are spread into one option per field.

    Typer reads the signature; the command itself still receives the dataclasses.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if isinstance(hint, type) and is_dataclass(hint):
            groups[parameter.name] = hint
            parameters += _spread(hint)
        else:
            parameters.append(
                parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)
            )

    @functools.wraps(command)
    def spread(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{item.name: values.pop(item.name) for item in fields(group)})
        command(**values)

    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # PEP 362
    spread.__annotations__ = {item.name: item.annotation for item in parameters}
    del spread.__wrapped__  # or the old annotations are read
    return spread


def _spread(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=item.default,
            annotation=hints[item.name],
        )
        for item in fields(group)
    ]


def commas(values: Iterable[str] | None) -> tuple[str, ...]:
    r"""Split the values of an option that accepts commas and repetition.

    A comma that belongs to a name has a backslash before it.

    Example:
        >>> commas(["none,random", r"harmful\, or not"])
        ('none', 'random', 'harmful, or not')
    """
    parts = [part.strip() for value in values or () for part in re.split(r"(?<!\\),", value)]
    return tuple(part.replace(r"\,", ",") for part in parts if part)


@dataclass(frozen=True)
class ReadingOptions:
    """How to read tasks and targets; see :class:`esm.tasks.spec.TaskSpec`."""

    text: Annotated[str | None, typer.Option(help="Text column.")] = None
    text_pair: Annotated[str | None, typer.Option(help="Second text column of a pair task.")] = None
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            "--label",
            help="Label column; several by commas or repetition, a comma in a name as '\\,'."
            " Default: all that are offered.",
        ),
    ] = None
    reading: Annotated[
        str, typer.Option(help="Label reading named in target.json, such as 'binary'.")
    ] = "as-is"
    kind: Annotated[
        str,
        typer.Option(help="What labels are: auto, classification, regression or multi-label."),
    ] = "auto"
    test: Annotated[str | None, typer.Option(help="File with the test rows.", metavar="FILE")] = (
        None
    )
    hub_config: Annotated[str | None, typer.Option("--config", help="Hub configuration.")] = None
    revision: Annotated[str | None, typer.Option(help="Hub revision; a commit pins the data.")] = (
        None
    )
    train_split: Annotated[str | None, typer.Option(help="Hub split to train on.")] = None
    test_split: Annotated[str | None, typer.Option(help="Hub split to test on.")] = None
    split_seed: Annotated[
        int, typer.Option(help="Seed of the split of data that come without one.")
    ] = 0

    def specs(self, locations: Sequence[str], *, identifier: str | None = None) -> list[TaskSpec]:
        """Return one specification per task; a folder of task folders stands for these.

        Raises:
            typer.BadParameter: What describes a single task was given for several.
        """
        places = [place for location in locations for place in _task_folders(location)]
        for option, value in (("--id", identifier), ("--test", self.test)):
            if value and len(places) > 1:
                raise typer.BadParameter(
                    f"goes with one task only, not with {len(places)}", param_hint=option
                )
        return [self.spec(place, identifier=identifier) for place in places]

    def spec(self, location: str, *, identifier: str | None = None) -> TaskSpec:
        """Return the specification of one location; paths become absolute.

        What a registry entry says (``registry:NAME``) is overridden by what was given.
        """
        from esm.registry import PREFIX, find
        from esm.tasks.spec import SplitSpec, TaskSpec

        given = TaskSpec(
            location=absolute(location),
            id=identifier,
            text=self.text,
            text_pair=self.text_pair,
            attributes=commas(self.attribute),
            reading=self.reading,
            kind=self.kind,
            test=None if self.test is None else absolute(self.test),
            config=self.hub_config,
            revision=self.revision,
            train_split=self.train_split,
            test_split=self.test_split,
            split=SplitSpec(seed=self.split_seed),
        )
        if not location.startswith(PREFIX):
            return given
        chosen = {name: getattr(given, name) for name in type(given).model_fields}
        default = TaskSpec(location=given.location)
        return (
            find(location)
            .spec()
            .model_copy(
                update={k: value for k, value in chosen.items() if value != getattr(default, k)}
            )
        )


def _task_folders(location: str) -> list[str]:
    """Return the task folders directly in a folder that is none itself; else the location.

    What a pattern such as ``sources/*`` also matches, the stored splits beside the files, is no
    task.
    """
    from esm.tasks.folders import TARGET_FILE, TASK_FILE
    from esm.tasks.stored import SPLIT_ENDING

    if location.endswith(SPLIT_ENDING):
        return []
    folder = Path(location)
    if any((folder / name).is_file() for name in (TASK_FILE, TARGET_FILE)):
        return [location]
    inside = {file.parent for name in (TASK_FILE, TARGET_FILE) for file in folder.glob(f"*/{name}")}
    return [str(place) for place in sorted(inside)] or [location]


def absolute(location: str) -> str:
    """Return a path that does not depend on the working folder; Hub ids stay as they are."""
    path = Path(location)
    return str(path.resolve()) if path.exists() else location


def base_model(name: str) -> str:
    """Return the name to store of a base model: a folder's path absolute, others as they are."""
    from esm.settings import OFFLINE

    return name if name == OFFLINE else absolute(name)


@dataclass(frozen=True)
class MachineOptions:
    """Where to compute and whether to remember embeddings."""

    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    cache: Annotated[bool, typer.Option(help="Read and write cached embeddings.")] = True

    def open_cache(self) -> EmbeddingCache:
        """Return the cache to use."""
        from esm.embeddings import EmbeddingCache

        return EmbeddingCache.default() if self.cache else EmbeddingCache(None)


def _be_quiet(wanted: bool) -> bool:
    if wanted:
        show_progress(False)
    return wanted


def _debug(wanted: bool) -> bool:
    if wanted:
        os.environ["ESM_DEBUG"] = "1"
    return wanted


Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.", callback=_be_quiet)]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_debug)
]


@dataclass(frozen=True)
class OutputOptions:
    """What is printed: tables or JSON on stdout, progress and errors on stderr."""

    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False
    quiet: Quiet = False
    debug: Debug = False

    def show(self, content: Any, tables: Iterable[Table]) -> None:
        """Print the result as JSON or as tables."""
        from esm.report import print_tables

        if self.json:
            typer.echo(to_json(content), nl=False)
        else:
            print_tables(tables)


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


def _known_format(path: Path | None) -> Path | None:
    """Refuse a file that could not be written before hours are spent on what goes into it."""
    if path is not None and path.suffix not in _FORMATS:
        raise typer.BadParameter(f"{path} ends in {path.suffix!r}; expected {', '.join(_FORMATS)}")
    return path


PoolFolder = Annotated[Path, typer.Option("--pool", help="Folder of the pool.", metavar="DIR")]
OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write the result to a .json, .csv or .parquet file.",
        metavar="FILE",
        callback=_known_format,
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first bad entry instead of skipping it.")
]
