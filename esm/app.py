"""The command line ``esm``: its verbs in the order of the flow, and how it ends.

Data go to stdout, progress and hints to stderr. Exit codes: 0, 1 for an error of ours, 2 for a
command that was called wrongly, 130 after Ctrl-C. Everything heavy is imported inside the verbs.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from esm.errors import EsmError
from esm.runtime import show_progress
from esm.verbs.demo import demo
from esm.verbs.evaluate import evaluate
from esm.verbs.rank import rank
from esm.verbs.show import show
from esm.verbs.tasks import app as tasks
from esm.verbs.train import train
from esm.verbs.validate import validate

app = typer.Typer(
    name="esm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("esm-transfer"))
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Which dataset to fine-tune on first: rank source tasks, and prove the ranking by training."""
    show_progress(not quiet)
    if debug:
        os.environ["ESM_DEBUG"] = "1"


app.command()(demo)
app.add_typer(tasks, name="tasks")
app.command()(train)
app.command()(rank)
app.command()(validate)
app.command()(evaluate)
app.command()(show)


def main() -> None:
    """Run the command line; an error of ours becomes one line on stderr and exit code 1."""
    # Libraries report usage to their makers and warn on stderr unless told otherwise.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except EsmError as error:
        if os.environ.get("ESM_DEBUG"):
            raise
        print(f"esm: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("esm: stopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None
