"""Options that several verbs of the command line share, as dataclasses.

A verb takes such a dataclass as one parameter; :func:`grouped` spreads its fields into options.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from esm.common.runtime import show_progress
from esm.common.storage import to_json
from esm.report.files import OutFile as OutFile
from esm.report.files import write_out as write_out

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache
    from esm.report.table import Table
    from esm.tasks.spec import TaskSpec

# A shell hands a tab on as two characters at best.
_DELIMITERS = {"tab": "\t", "\\t": "\t"}


def cell_delimiter(option: str | None) -> str | None:
    """Return the character that an option means: a tab for ``tab``."""
    return None if option is None else _DELIMITERS.get(option, option)


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

    vars(spread)["__signature__"] = inspect.Signature(parameters)  # PEP 362
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


def parse_assignments(values: Iterable[str] | None) -> dict[str, str]:
    """Read the values of an option that takes names with values.

    Raises:
        SettingError: There is no equals sign.

    Example:
        >>> assigned(["lora.rank=16,lora.alpha=32"])
        {'lora.rank': '16', 'lora.alpha': '32'}
    """
    from esm.common.errors import SettingError

    found = {}
    for part in commas(values):
        name, sign, value = part.partition("=")
        if not sign:
            raise SettingError(f"--set {part}", expected="NAME=VALUE, for instance lora.rank=16")
        found[name.strip()] = value.strip()
    return found


@dataclass(frozen=True)
class ReadingOptions:
    """How to read tasks and targets; see :class:`esm.tasks.spec.TaskSpec`.

    None where nothing was given, so that a specification in TOML speaks.
    """

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
        str | None,
        typer.Option(help="Label reading named in target.json, such as 'binary'. Default: as-is."),
    ] = None
    kind: Annotated[
        str | None,
        typer.Option(
            help="What labels are: auto (default), classification, ordinal, regression,"
            " multi-label or tagging; of a source also corpus: texts alone, a .txt of one a line."
        ),
    ] = None
    test: Annotated[str | None, typer.Option(help="File with the test rows.", metavar="FILE")] = (
        None
    )
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of a text file, such as cp1250. Default: found.")
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(help="Between the cells of a text table; 'tab' for a tab. Default: found."),
    ] = None
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook. Default: the first.")] = (
        None
    )
    language: Annotated[
        str | None, typer.Option(help="Language of the texts, such as sk. Default: as declared.")
    ] = None
    hub_config: Annotated[str | None, typer.Option("--config", help="Hub configuration.")] = None
    revision: Annotated[str | None, typer.Option(help="Hub revision; a commit pins the data.")] = (
        None
    )
    train_split: Annotated[str | None, typer.Option(help="Hub split to train on.")] = None
    test_split: Annotated[str | None, typer.Option(help="Hub split to test on.")] = None
    split: Annotated[
        str | None,
        typer.Option(
            help="How rows are split: auto (default), stratified, grouped, k-fold or column."
        ),
    ] = None
    split_column: Annotated[
        str | None,
        typer.Option(help="Column that says train, validation or test; implies --split column."),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            help="Column whose equal values stay on one side (author, claim, source); implies"
            " --split grouped."
        ),
    ] = None
    test_share: Annotated[
        float | None, typer.Option(help="Share of the rows held out as test. Default: 0.2.")
    ] = None
    folds: Annotated[
        int | None, typer.Option(help="Number of folds; implies --split k-fold. Default: 5.")
    ] = None
    repeats: Annotated[
        int | None, typer.Option(help="How often folds are drawn anew. Default: 1.")
    ] = None
    split_seed: Annotated[
        int | None,
        typer.Option(help="Seed of the split of data that come without one. Default: 0."),
    ] = None

    def specs(self, locations: Sequence[str], *, identifier: str | None = None) -> list[TaskSpec]:
        """Return one specification per task; a folder of task folders stands for these.

        A data file is left out where a specification of it is given too, as when both match a
        pattern.

        Raises:
            typer.BadParameter: What describes a single task was given for several.
            TaskError: A specification in TOML cannot be read.
        """
        places = [place for location in locations for place in _task_folders(location)]
        found = [self.spec(place, identifier=identifier) for place in places]
        described = {
            spec.location for place, spec in zip(places, found, strict=True) if _is_spec(place)
        }
        specs = [
            spec
            for place, spec in zip(places, found, strict=True)
            if _is_spec(place) or spec.location not in described
        ]
        for option, value in (("--id", identifier), ("--test", self.test)):
            if value and len(specs) > 1:
                raise typer.BadParameter(
                    f"goes with one task only, not with {len(specs)}", param_hint=option
                )
        return specs

    def spec(self, location: str, *, identifier: str | None = None) -> TaskSpec:
        """Return the specification of one location; paths become absolute.

        Where the location is a specification in TOML or a registry entry (``registry:NAME``), what
        the options say comes first.

        Raises:
            TaskError: The specification in TOML cannot be read, or the registry has no such entry.
            SettingError: An option has a value that it cannot have.
        """
        from esm.common.records import build_settings
        from esm.tasks.spec import SplitSpec, TaskSpec

        base = _described(location)
        given = {
            "id": identifier,
            "text": self.text,
            "text_pair": self.text_pair,
            "attributes": commas(self.attribute) or None,
            "reading": self.reading,
            "kind": self.kind,
            "test": None if self.test is None else absolute(self.test),
            "encoding": self.encoding,
            "delimiter": cell_delimiter(self.delimiter),
            "sheet": self.sheet,
            "language": self.language,
            "config": self.hub_config,
            "revision": self.revision,
            "train_split": self.train_split,
            "test_split": self.test_split,
        }
        split = build_settings(SplitSpec, base.split.model_dump() | self._split(base.split.method))
        named = {name: value for name, value in given.items() if value is not None}
        described = base.model_dump()
        if self.kind not in (None, "auto"):
            # What is said here comes before what a specification says of single columns.
            described["columns"] = {
                name: column.of_kind(self.kind) for name, column in base.columns.items()
            }
        return build_settings(TaskSpec, described | named | {"split": split})

    def _split(self, method: str) -> dict[str, Any]:
        """Return what the options say of the split; some of them imply its method."""
        if self.split is not None:
            method = self.split
        elif self.split_column is not None:
            method = "column"
        elif self.folds is not None or self.repeats is not None:
            method = "k-fold"
        elif self.group is not None and method in ("auto", "stratified"):
            method = "grouped"
        given = {
            "column": self.split_column,
            "group": self.group,
            "test_share": self.test_share,
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.split_seed,
        }
        named = {name: value for name, value in given.items() if value is not None}
        return named | {"method": method}


def _described(location: str) -> TaskSpec:
    """Return what a location says by itself: a specification, a registry entry, or a place."""
    from esm.tasks.registry import PREFIX, find
    from esm.tasks.spec import TaskSpec
    from esm.tasks.specfile import read_spec

    if location.startswith(PREFIX):
        return find(location).spec()
    return (
        read_spec(Path(location)) if _is_spec(location) else TaskSpec(location=absolute(location))
    )


def _is_spec(location: str) -> bool:
    return location.lower().endswith(".toml")


def _task_folders(location: str) -> list[str]:
    """Return the task folders directly in a folder that is none itself; else the location.

    What a pattern such as ``sources/*`` also matches, the stored splits beside the files, is no
    task.
    """
    from esm.common.caches import SPLIT_ENDING
    from esm.tasks.formats.folders import TARGET_FILE, TASK_FILE

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
    from esm.encoder.settings import OFFLINE

    return name if name == OFFLINE else absolute(name)


@dataclass(frozen=True)
class MachineOptions:
    """Where to compute and whether to remember embeddings."""

    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    cache: Annotated[bool, typer.Option(help="Read and write cached embeddings.")] = True

    def open_cache(self) -> EmbeddingCache:
        """Return the cache to use."""
        from esm.encoder.cache import EmbeddingCache

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
    wide: Annotated[bool, typer.Option("--wide", help="Show all columns of the tables.")] = False
    quiet: Quiet = False
    debug: Debug = False

    def show(self, content: Any, tables: Iterable[Table]) -> None:
        """Print the result as JSON or as tables."""
        from esm.report.table import print_tables

        if self.json:
            typer.echo(to_json(content), nl=False)
        else:
            print_tables(tables, wide=self.wide)


PoolFolder = Annotated[
    Path, typer.Option("--pool", help="Folder of the pool, packed or not.", metavar="DIR")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first bad entry instead of skipping it.")
]
