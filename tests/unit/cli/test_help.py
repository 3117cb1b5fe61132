"""Options become parameters of a verb and stand under headings in its help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from docs.make_reference import verbs
from esm.cli.app import app
from esm.cli.help import Heading, Verb, grouped, option
from esm.scorers.names import ScorerName
from esm.strategies.registry import JOINT_STRATEGIES, STRATEGIES
from esm.trials.settings import DEFAULT_STRATEGIES

COMMANDS = dict(verbs(app, "esm"))


@dataclass(frozen=True)
class Colours:
    HEADING: ClassVar = Heading.DATA

    first: Annotated[str, typer.Option(help="One.")] = "red"
    second: Annotated[int, typer.Option("--other", help="Two.")] = 2


def test_a_dataclass_parameter_is_spread_into_options_and_handed_over_whole():
    got = {}

    @grouped
    def paint(wall: Annotated[str, typer.Argument()], colours: Colours, wet: bool = False) -> None:
        """Paint."""
        got.update(wall=wall, colours=colours, wet=wet)

    assert list(inspect.signature(paint).parameters) == ["wall", "first", "second", "wet"]
    assert paint.__doc__ == "Paint."
    paint(wall="north", first="blue", second=3, wet=True)
    assert got == {"wall": "north", "colours": Colours("blue", 3), "wet": True}


@dataclass(frozen=True)
class Walls(Colours):
    HEADING: ClassVar = Heading.OUTPUT

    height: Annotated[float, option(Heading.BUDGET, help="How high.")] = 2.5
    name: Annotated[str, typer.Option(help="Which.")] = "north"


def test_options_stand_under_the_heading_of_their_dataclass_or_their_own():
    small = typer.Typer(rich_markup_mode=None, add_completion=False)

    @small.command(cls=Verb)
    @grouped
    def paint(wall: Annotated[str, typer.Argument(help="A wall.")], walls: Walls) -> None:
        """Paint."""

    printed = CliRunner().invoke(small, ["--help"]).stdout
    assert sections(printed) == {
        "Arguments": [],
        "Data": ["--first", "--other"],
        "Budget": ["--height"],
        "Output": ["--name", "--help"],
    }


def sections(printed: str) -> dict[str, list[str]]:
    """Return the options that a help text lists, by heading."""
    found: dict[str, list[str]] = {}
    for line in printed.splitlines():
        if heading := re.fullmatch(r"(\w[\w ]*):", line):
            found[heading[1]] = []
        elif named := re.match(r"  (--[a-z0-9][a-z0-9-]*)", line):
            found[list(found)[-1]].append(named[1])
    return found


def options_of(command: Any) -> Iterator[list[str]]:
    """Yield the names of every option of a verb, as its signature has them."""
    for parameter in inspect.signature(command).parameters.values():
        _, info = parameter.annotation.__origin__, parameter.annotation.__metadata__[0]
        if isinstance(info, typer.models.OptionInfo):
            words = [info.default, *(info.param_decls or ())]
            named = [word for word in words if isinstance(word, str)]
            yield named or ["--" + parameter.name.replace("_", "-")]


@pytest.mark.parametrize("name", list(COMMANDS))
@pytest.mark.parametrize("width", ["80", "60"])
def test_every_option_stands_under_one_heading_in_the_order_of_headings(name, width):
    command = [*name.split()[1:], "--help"]
    printed = CliRunner().invoke(app, command, env={"COLUMNS": width}).stdout
    found = sections(printed)
    order = ["Arguments", *(heading.value for heading in Heading)]
    assert list(found) == [heading for heading in order if heading in found]
    listed = [word for words in found.values() for word in words]
    first = [names[0].split("/")[0].strip() for names in options_of(COMMANDS[name])]
    assert sorted(listed) == sorted([*first, "--help"])
    for names in options_of(COMMANDS[name]):
        assert all(word.strip() in printed for names in names for word in names.split("/"))


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_option_names_its_heading(name):
    for parameter in inspect.signature(COMMANDS[name]).parameters.values():
        info = parameter.annotation.__metadata__[0]
        if isinstance(info, typer.models.OptionInfo):
            assert info.rich_help_panel in list(Heading), parameter.name


def help_of(*command: str) -> str:
    return re.sub(r"\s+", "", CliRunner().invoke(app, [*command, "--help"]).stdout)


def test_scorers_and_strategies_are_those_of_the_registries():
    ranked, validated, compared = map(help_of, ("rank", "validate", "compare"))
    for name in ScorerName:
        assert re.search(rf"[:,]{name}[,;.]", ranked), name
    for name in STRATEGIES:
        assert re.search(rf"[:,]{name},", validated), name
    for name in (*STRATEGIES, *JOINT_STRATEGIES):
        assert re.search(rf"[:,]{name}[,;]", compared), name
    assert f"Default:{','.join(DEFAULT_STRATEGIES)}." in compared
