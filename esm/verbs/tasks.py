"""``esm tasks``: what the data are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from esm.errors import EsmError, TaskError
from esm.options import OutFile, OutputOptions, ReadingOptions, Strict, grouped, write_out

app = typer.Typer(help="What the data are.", no_args_is_help=True)


@app.command("ls")
@grouped
def list_tasks(
    locations: Annotated[
        list[str] | None,
        typer.Argument(help="Task folders, folders of them, files, Hub ids or registry:NAME."),
    ] = None,
    *,
    reading: ReadingOptions,
    output: OutputOptions,
    registry: Annotated[
        bool, typer.Option("--registry", help="List the public source tasks that are known here.")
    ] = False,
    strict: Strict = False,
    out: OutFile = None,
) -> None:
    """List tasks and targets: rows, classes, language, licence."""
    from esm.tables import task_list
    from esm.tasks.describe import describe
    from esm.tasks.read import load_target

    if registry:
        _list_registry(output, out)
        return
    if not locations:
        raise typer.BadParameter("no tasks; give their paths or Hub ids, or --registry")
    found: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    specs = reading.specs(locations)
    for spec in specs:
        try:
            found.append(describe(load_target(spec)))
        except EsmError as error:
            if strict:
                raise
            skipped.append({"source": spec.location, "reason": str(error)})
    if not found:
        raise TaskError(f"none of {len(specs)} can be read; the first: {skipped[0]['reason']}")
    content = {"tasks": found, "skipped": skipped}
    write_out(out, content, _records(found))
    output.show(content, task_list(found, skipped))


def _list_registry(output: OutputOptions, out: Path | None) -> None:
    from esm.registry import registry
    from esm.tables_data import registry_tables

    entries = registry()
    content = [
        entry.model_dump(mode="json", exclude_none=True) | {"terms": entry.terms.value}
        for entry in entries
    ]
    write_out(out, content, content)
    output.show(content, registry_tables(entries))


@app.command("show")
@grouped
def show_task(
    location: Annotated[str, typer.Argument(help="Folder, file or Hub id.")],
    reading: ReadingOptions,
    output: OutputOptions,
    out: OutFile = None,
) -> None:
    """Show one task or target: split, balance, lengths, duplicates.

    Texts that are in train and in test are counted too.
    """
    from esm.tables import task_details
    from esm.tables_data import language_tables
    from esm.tables_splits import split_tables
    from esm.tasks.describe import describe
    from esm.tasks.read import load_target

    description = describe(load_target(reading.spec(location)))
    write_out(out, description, _records([description]))
    tables = [*split_tables(description), *task_details(description)]
    output.show(description, [*tables, *language_tables(description["language"])])


def _records(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per attribute and split."""
    return [
        {"task": attribute["id"], "problem": attribute["problem"], "metric": attribute["metric"]}
        | {"classes": len(attribute["label_names"]), "split": name, "rows": split["rows"]}
        | {"duplicates": split["duplicates"]}
        | {f"words_{which}": count for which, count in split["words"].items()}
        for description in found
        for attribute in description["attributes"].values()
        for name, split in attribute["splits"].items()
    ]
