"""Options of runs of trials, which validate and compare share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, option
from esm.cli.options import commas

Examples = Annotated[
    list[str] | None,
    option(
        Heading.TRAINING,
        help="Training rows per attribute, such as 50,100,all: a learning curve; what is told apart"
        " is so at the largest. Default: all.",
    ),
]
PredictionFiles = Annotated[
    list[str] | None,
    option(
        Heading.TRAINING,
        help="NAME=FILE: labels that another system predicts for the test rows, beside ours; the"
        " file has the texts and a column per attribute.",
        metavar="NAME=FILE",
    ),
]
Budget = Annotated[
    str | None,
    option(
        Heading.BUDGET,
        help="Time for this command, such as 2h, 90m or 1h30m: first what matters most (no transfer"
        " and the best picks; the strategies named first); what does not fit is named.",
        metavar="TIME",
    ),
]


def row_counts(words: list[str] | None) -> tuple[int | None, ...]:
    """Return numbers of rows, None for all; all alone where nothing is said.

    Raises:
        BadParameter: One is neither a number nor ``all``.
    """
    found = commas(words)
    if wrong := [word for word in found if word != "all" and not word.isdigit()]:
        raise typer.BadParameter(
            f"{wrong[0]!r}; expected numbers of rows, or all", param_hint="--examples"
        )
    return tuple(None if word == "all" else int(word) for word in found) or (None,)


def named_files(words: list[str] | None) -> dict[str, Path]:
    """Return files by the name of the system that predicted them.

    Raises:
        BadParameter: A name or a file is missing, or a name comes twice.
    """
    found: dict[str, Path] = {}
    for word in commas(words):
        name, _, path = word.partition("=")
        if not name or not path or name in found:
            raise typer.BadParameter(
                f"{word!r}; expected NAME=FILE, each name once", param_hint="--predictions"
            )
        found[name] = Path(path)
    return found
