"""Options under headings: how a verb's dataclasses become options, and how its help lists them.

A verb takes its options as dataclasses, one parameter each; :func:`grouped` spreads their fields
into the signature that Typer reads. Every option names the heading it stands under, by its
dataclass or by itself; :class:`Verb` prints the headings, always in the same order.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo


class Heading(StrEnum):
    """The headings of a help text, in their order: first what is used most."""

    DATA = "Data"
    SOURCES = "Sources"
    SCORING = "Scoring"
    UNCERTAINTY = "Uncertainty"
    TRAINING = "Training"
    MAPS = "Maps"
    BUDGET = "Budget"
    MODEL = "Base model"
    SPLIT = "Split"
    FILES = "Files"
    MACHINE = "Machine"
    OUTPUT = "Output"


def option(heading: Heading, *names: str, **settings: Any) -> Any:
    """Return Typer's description of an option that stands under a heading."""
    return typer.Option(*names, rich_help_panel=heading, **settings)


class Verb(TyperCommand):
    """A verb whose help lists its options under headings; in plain text, which is quick."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the options by heading, each in the order of the signature."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{h: [] for h in Heading}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            is_argument = parameter.param_type_name == "argument"
            # --help is the one option that says nothing of a heading.
            named = getattr(parameter, "rich_help_panel", None) or Heading.OUTPUT
            sections["Arguments" if is_argument else named].append(record)
        for name, records in sections.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


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
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=_headed(hints[item.name], _heading(group, item.name)),
        )
        for item in fields(group)
    ]


def _heading(group: type, field: str) -> str | None:
    """Return the heading of the dataclass that a field comes from, which may be a base."""
    (home, *_) = (base for base in group.__mro__ if field in vars(base).get("__annotations__", {}))
    heading: str | None = vars(home).get("HEADING")
    return heading


def _headed(hint: Any, heading: str | None) -> Any:
    """Return an annotation whose option stands under a heading, unless it names its own."""
    if heading is None or get_origin(hint) is not Annotated:
        return hint
    kind, info, *rest = get_args(hint)
    if not isinstance(info, OptionInfo) or info.rich_help_panel:
        return hint
    info = copy.copy(info)
    info.rich_help_panel = heading
    return Annotated[kind, info, *rest]
