"""Options of reading data: which columns, of which kind, split how, out of which file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from esm.cli.help import Heading, option
from esm.cli.options import absolute, commas

if TYPE_CHECKING:
    from esm.tasks.spec import TaskSpec

# A shell hands a tab on as two characters at best.
_DELIMITERS = {"tab": "\t", "\\t": "\t"}


def cell_delimiter(option: str | None) -> str | None:
    """Return the character that an option means: a tab for ``tab``."""
    return None if option is None else _DELIMITERS.get(option, option)


TargetName = Annotated[str | None, option(Heading.DATA, "--id", help="Name of the target.")]
AttributeNames = Annotated[
    list[str] | None,
    option(
        Heading.DATA,
        "--attribute",
        help="Attributes; by commas, one in a name as '\\,'. Default: all.",
    ),
]


@dataclass(frozen=True)
class TableOptions:
    """How a file with a table is read; None where it is found out."""

    HEADING: ClassVar = Heading.FILES

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


@dataclass(frozen=True)
class HubOptions:
    """What of a dataset on the Hub is read."""

    HEADING: ClassVar = Heading.FILES

    hub_config: Annotated[str | None, typer.Option("--config", help="Hub configuration.")] = None
    revision: Annotated[str | None, typer.Option(help="Hub revision; a commit pins the data.")] = (
        None
    )
    train_split: Annotated[str | None, typer.Option(help="Hub split to train on.")] = None
    test_split: Annotated[str | None, typer.Option(help="Hub split to test on.")] = None


@dataclass(frozen=True)
class SplitOptions:
    """How rows are split; see :class:`esm.tasks.spec.SplitSpec`."""

    HEADING: ClassVar = Heading.SPLIT

    split: Annotated[
        str | None,
        typer.Option(
            help="How rows are split: auto (default), stratified, grouped, k-fold or column."
        ),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            help="Column whose equal values stay on one side (author, claim, source); implies"
            " --split grouped."
        ),
    ] = None
    folds: Annotated[
        int | None, typer.Option(help="Number of folds; implies --split k-fold. Default: 5.")
    ] = None
    repeats: Annotated[
        int | None, typer.Option(help="How often folds are drawn anew. Default: 1.")
    ] = None
    test_share: Annotated[
        float | None, typer.Option(help="Share of the rows held out as test. Default: 0.2.")
    ] = None
    split_column: Annotated[
        str | None,
        typer.Option(help="Column that says train, validation or test; implies --split column."),
    ] = None
    split_seed: Annotated[
        int | None,
        typer.Option(help="Seed of the split of data that come without one. Default: 0."),
    ] = None

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


@dataclass(frozen=True)
class ReadingOptions(SplitOptions, HubOptions, TableOptions):
    """How to read tasks and targets; see :class:`esm.tasks.spec.TaskSpec`.

    None where nothing was given, so that a specification in TOML speaks.
    """

    HEADING: ClassVar = Heading.DATA

    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            "--label",
            help="Label column; several by commas or repetition, a comma in a name as '\\,'."
            " Default: all that are offered.",
        ),
    ] = None
    text: Annotated[str | None, typer.Option(help="Text column.")] = None
    text_pair: Annotated[str | None, typer.Option(help="Second text column of a pair task.")] = None
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
    language: Annotated[
        str | None, typer.Option(help="Language of the texts, such as sk. Default: as declared.")
    ] = None
    reading: Annotated[
        str | None,
        typer.Option(help="Label reading named in target.json, such as 'binary'. Default: as-is."),
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
        for name, value in (("--id", identifier), ("--test", self.test)):
            if value and len(specs) > 1:
                raise typer.BadParameter(
                    f"goes with one task only, not with {len(specs)}", param_hint=name
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
