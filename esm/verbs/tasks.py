"""``esm tasks``: what the data are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from esm.errors import EsmError, TaskError
from esm.options import OutputOptions, ReadingOptions, Strict, grouped

app = typer.Typer(help="What the data are.", no_args_is_help=True)


@app.command("ls")
@grouped
def list_tasks(
    locations: Annotated[list[str], typer.Argument(help="Folders, files or Hub ids.")],
    reading: ReadingOptions,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """List tasks and targets: rows, classes, language, licence."""
    from esm.tables import task_list
    from esm.tasks.describe import describe
    from esm.tasks.read import load_target

    found: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for location in locations:
        try:
            found.append(describe(load_target(reading.spec(location))))
        except EsmError as error:
            if strict:
                raise
            skipped.append({"source": location, "reason": str(error)})
    if not found:
        raise TaskError(f"none of {len(locations)} can be read; the first: {skipped[0]['reason']}")
    output.show({"tasks": found, "skipped": skipped}, task_list(found, skipped))


@app.command("show")
@grouped
def show_task(
    location: Annotated[str, typer.Argument(help="Folder, file or Hub id.")],
    reading: ReadingOptions,
    output: OutputOptions,
) -> None:
    """Show one task or target: balance, lengths, duplicates, texts shared by train and test."""
    from esm.tables import task_details
    from esm.tasks.describe import describe
    from esm.tasks.read import load_target

    description = describe(load_target(reading.spec(location)))
    output.show(description, task_details(description))
