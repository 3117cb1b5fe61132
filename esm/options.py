"""Options that several verbs of the command line share, as dataclasses.

A verb takes such a dataclass as one parameter; :func:`grouped` spreads its fields into options.
"""

from __future__ import annotations

import csv
import functools
import inspect
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from esm.storage import to_json, write_atomic
from esm.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from esm.embeddings import EmbeddingCache
    from esm.report import Table


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
    """Split the values of an option that accepts commas and repetition.

    Example:
        >>> commas(["none,random", "all"])
        ('none', 'random', 'all')
    """
    return tuple(
        part.strip() for value in values or () for part in value.split(",") if part.strip()
    )


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
            help="Label column; several by commas or repetition. Default: all that are offered.",
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

    def spec(self, location: str, *, identifier: str | None = None) -> TaskSpec:
        """Return the specification of one location; paths become absolute."""
        return TaskSpec(
            location=_absolute(location),
            id=identifier,
            text=self.text,
            text_pair=self.text_pair,
            attributes=commas(self.attribute),
            reading=self.reading,
            kind=self.kind,
            test=None if self.test is None else _absolute(self.test),
            config=self.hub_config,
            revision=self.revision,
            train_split=self.train_split,
            test_split=self.test_split,
            split_seed=self.split_seed,
        )


def _absolute(location: str) -> str:
    """Return a path that does not depend on the working folder; Hub ids stay as they are."""
    path = Path(location)
    return str(path.resolve()) if path.exists() else location


@dataclass(frozen=True)
class MachineOptions:
    """Where to compute and whether to remember embeddings."""

    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    cache: Annotated[bool, typer.Option(help="Read and write cached embeddings.")] = True

    def open_cache(self) -> EmbeddingCache:
        """Return the cache to use."""
        from esm.embeddings import EmbeddingCache

        return EmbeddingCache.default() if self.cache else EmbeddingCache(None)


@dataclass(frozen=True)
class OutputOptions:
    """How results leave: tables or JSON on stdout, and a file."""

    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False

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
        path: None writes nothing; ``.csv`` gets the records, anything else the JSON.
        content: The JSON form.
        records: Rows of equal keys, at full precision.
    """
    if path is None:
        return
    text = _as_csv(records) if path.suffix == ".csv" else to_json(content)
    write_atomic(path, text.encode(), private=True)
    typer.echo(f"written to {path}", err=True)


def _as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


PoolFolder = Annotated[Path, typer.Option("--pool", help="Folder of the pool.", metavar="DIR")]
OutFile = Annotated[
    Path | None,
    typer.Option("--out", help="Write the result to a .json or .csv file.", metavar="FILE"),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first bad entry instead of skipping it.")
]
