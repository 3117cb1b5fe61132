"""Write ``docs/reference.md``: every verb and every option, from the command line's own signatures.

Run it with ``python -m docs.make_reference`` after an option has changed; a test compares.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from esm.cli.app import app, options
from esm.cli.help import Heading

TARGET = Path(__file__).with_name("reference.md")

_INTRODUCTION = """# Every verb and option

Data go to stdout, progress and errors to stderr. Exit codes: 0, 1 for an error, 2 for a command
that was called wrongly, 130 after Ctrl-C. An option that takes several values takes them separated
by commas, or is repeated. `esm --help` and `esm VERB --help` say the same in the terminal.

This page is written by `python -m docs.make_reference`; a test compares it with the command line.
"""

_VALUES = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


def reference() -> str:
    """Return the whole page."""
    sections = [
        _INTRODUCTION,
        _section("esm", options, usage="esm [options] VERB ..."),
        *(_section(name, command) for name, command in verbs(app, "esm")),
    ]
    return "\n".join(sections)


def verbs(group: typer.Typer, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the full name and the function of every verb, those of sub-groups included."""
    for command in group.registered_commands:
        if command.callback is not None and not command.hidden:
            own = command.name or command.callback.__name__.replace("_", "-")
            yield f"{name} {own}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from verbs(inner.typer_instance, f"{name} {inner.name}")


@dataclass(frozen=True)
class Line:
    """One argument or option: heading, what to write, what it means, whether it must be given."""

    heading: str
    words: str
    text: str
    required: bool


def _section(name: str, command: Callable[..., Any], usage: str = "") -> str:
    described = list(_lines(command))
    needed = [line.words for line in described if line.required]
    lines = [
        f"## {name}",
        "",
        f"    {usage or ' '.join([name, *needed, '[options]'])}",
        "",
        inspect.getdoc(command) or "",
        "",
    ]
    for heading in ("Arguments", *Heading):
        under = [line for line in described if line.heading == heading]
        rows = [f"| `{line.words}` | {line.text} |" for line in under]
        if rows:
            lines += [f"**{heading}**", "", "| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _lines(command: Callable[..., Any]) -> Iterator[Line]:
    """Yield the arguments and options of a verb in the order of its signature."""
    hints = get_type_hints(command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        kind, info = _split(hints.get(parameter.name, parameter.annotation))
        required = parameter.default is inspect.Parameter.empty
        text = " ".join((info.help or "").split()).replace("|", "\\|")
        if isinstance(info, ArgumentInfo):
            yield Line("Arguments", _argument(parameter.name, kind, info), text, required)
        else:
            words = _option(parameter.name, kind, info)
            heading = info.rich_help_panel or Heading.OUTPUT
            yield Line(heading, words, text + _default(parameter), required)


def _split(annotation: Any) -> tuple[Any, ArgumentInfo | OptionInfo]:
    """Return the type of a parameter, without None, and what Typer is told of it."""
    if get_origin(annotation) is not Annotated:
        raise TypeError(f"a parameter of the command line is annotated {annotation}")
    kind, info, *_ = get_args(annotation)
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind, info


def _argument(name: str, kind: Any, info: ArgumentInfo) -> str:
    several = "..." if get_origin(kind) is list else ""
    return (info.metavar or name.upper().replace("_", "-")) + several


def _option(name: str, kind: Any, info: OptionInfo) -> str:
    # Typer keeps the first name of an option inside Annotated where its default used to stand.
    named = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
    usual = "--" + name.replace("_", "-")
    if kind is bool:
        return ", ".join(named) or f"{usual} / --no-{usual[2:]}"
    item = get_args(kind)[0] if get_origin(kind) is list else kind
    value = info.metavar or _VALUES[item]
    return f"{', '.join(named) or usual} {value}" + (" ..." if item is not kind else "")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return " Required."
    if parameter.default is None or parameter.default is False:
        return ""
    shown = "on" if parameter.default is True else str(parameter.default)
    return f" Default: `{shown}`."


def main() -> None:
    """Write the page."""
    TARGET.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
