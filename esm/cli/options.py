"""Options that several verbs of the command line share, and how their values are read.

Options of reading data stand in :mod:`esm.cli.reading`; those of one verb, beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from esm.cli.help import Heading, option
from esm.common.runtime import show_progress
from esm.common.storage import to_json
from esm.report.files import write_out as write_out

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache
    from esm.report.table import Table


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


def absolute(location: str) -> str:
    """Return a path that does not depend on the working folder; Hub ids stay as they are."""
    path = Path(location)
    return str(path.resolve()) if path.exists() else location


def base_model(name: str) -> str:
    """Return the name to store of a base model: a folder's path absolute, others as they are."""
    from esm.encoder.settings import OFFLINE

    return name if name == OFFLINE else absolute(name)


_FORMATS = (".json", ".csv", ".parquet")


def _can_be_written(path: Path | None) -> Path | None:
    """Refuse a file that could not be written before hours are spent on what goes into it."""
    if path is None:
        return None
    if path.suffix not in _FORMATS:
        raise typer.BadParameter(f"{path} ends in {path.suffix!r}; expected {', '.join(_FORMATS)}")
    # Folders that are missing are made when the file is written. Of one that may not be searched,
    # Path.exists raises.
    above = path.absolute().parents
    nearest = next(folder for folder in above if os.path.exists(folder))  # noqa: PTH110
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise typer.BadParameter(f"{path}: {nearest} is no folder that can be written to")
    return path


OutFile = Annotated[
    Path | None,
    option(
        Heading.OUTPUT,
        "--out",
        help="Write the result to a .json, .csv or .parquet file.",
        metavar="FILE",
        callback=_can_be_written,
    ),
]
Device = Annotated[
    str,
    option(Heading.MACHINE, help="auto, cpu, cuda, cuda:N or mps."),
]


@dataclass(frozen=True)
class MachineOptions:
    """Where to compute and whether to remember embeddings."""

    HEADING: ClassVar = Heading.MACHINE

    device: Device = "auto"
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

    HEADING: ClassVar = Heading.OUTPUT

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
    Path,
    option(Heading.SOURCES, "--pool", help="Folder of the pool, packed or not.", metavar="DIR"),
]
Strict = Annotated[
    bool,
    option(Heading.OUTPUT, "--strict", help="Stop at the first bad entry instead of skipping it."),
]


@dataclass(frozen=True)
class TransferOptions:
    """How to train on an attribute; see :class:`esm.strategies.settings.TransferConfig`.

    None for what the strategy's paper says.
    """

    HEADING: ClassVar = Heading.TRAINING

    num_epochs: Annotated[int | None, typer.Option("--epochs", help="Default: the strategy's.")] = (
        None
    )
    batch_size: Annotated[int | None, typer.Option(help="Default: the strategy's.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Default: the strategy's.")] = None
    adapter_size: Annotated[
        int | None, typer.Option(help="Width of the bottlenecks. Default: the strategy's.")
    ] = None
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="What a strategy alone can be told, such as lora.rank=16; by commas.",
            metavar="NAME=VALUE",
        ),
    ] = None
    class_weights: Annotated[
        str,
        typer.Option(help="balanced, none, or auto: balanced where macro-F1 is the metric."),
    ] = "auto"
    bf16: Annotated[
        bool, typer.Option("--bf16/--no-bf16", help="Train in bfloat16 on hardware that has it.")
    ] = True

    def settings(self) -> dict[str, Any]:
        """Return the settings by name, as the record ``TransferConfig`` takes them.

        Raises:
            SettingError: A value of ``--set`` has no name.
        """
        return {
            "num_epochs": self.num_epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "adapter_size": self.adapter_size,
            "class_weights": self.class_weights,
            "bf16": self.bf16,
            "own": parse_assignments(self.own),
        }
