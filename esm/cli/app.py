"""The command line ``esm``: its verbs in the order of the flow, and how it ends.

Data go to stdout, progress and hints to stderr. Exit codes: 0, 1 for an error of ours, 2 for a
command that was called wrongly, 130 after Ctrl-C. Everything heavy is imported inside the verbs.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from esm.cli.help import Verb
from esm.cli.notes import print_notes
from esm.cli.options import Debug, Quiet
from esm.cli.verbs.compare import compare
from esm.cli.verbs.demo import demo
from esm.cli.verbs.evaluate import evaluate
from esm.cli.verbs.export import export
from esm.cli.verbs.pool import app as pool
from esm.cli.verbs.predict import predict
from esm.cli.verbs.purge import purge
from esm.cli.verbs.rank import rank
from esm.cli.verbs.show import show
from esm.cli.verbs.tasks import app as tasks
from esm.cli.verbs.train import train
from esm.cli.verbs.validate import validate
from esm.common.errors import EsmError, SettingError
from esm.common.runtime import show_progress

_RESUMABLE = frozenset({"compare", "demo", "pool", "train", "validate"})


class _Verbs(TyperGroup):
    """The verbs, and how one of them ends that does not reach its end."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; an error of ours and Ctrl-C become one line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except EsmError as error:
            if os.environ.get("ESM_DEBUG"):
                raise
            _stop(str(error), code=2 if isinstance(error, SettingError) else 1)
        except KeyboardInterrupt:
            if ctx.invoked_subcommand in _RESUMABLE:
                _stop("stopped; the same command goes on from here", code=130)
            _stop("stopped", code=130)


def _stop(message: str, *, code: int) -> NoReturn:
    typer.echo(f"esm: {message}", err=True)
    raise typer.Exit(code)


app = typer.Typer(
    name="esm",
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # frames would double the time of --help and cut the options' names
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("esm-transfer"))
        raise typer.Exit


@app.callback()
def options(
    quiet: Quiet = False,
    debug: Debug = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Which dataset to fine-tune on first: rank source tasks, and prove the ranking by training."""
    show_progress(not quiet)
    print_notes()


app.command(cls=Verb)(demo)
app.add_typer(tasks, name="tasks")
app.command(cls=Verb)(train)
app.add_typer(pool, name="pool")
app.command(cls=Verb)(rank)
app.command(cls=Verb)(validate)
app.command(cls=Verb)(compare)
app.command(cls=Verb)(predict)
app.command(cls=Verb)(export)
app.command(cls=Verb)(evaluate)
app.command(cls=Verb)(show)
app.command(cls=Verb)(purge)


def main() -> None:
    """Run the command line."""
    # Libraries warn on stderr unless told otherwise.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app()
