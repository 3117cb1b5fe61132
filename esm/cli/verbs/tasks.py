"""``esm tasks``: what the data are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from esm.cli.help import Heading, Verb, grouped, option
from esm.cli.options import OutFile, OutputOptions, Strict, write_out
from esm.cli.reading import ReadingOptions, TableOptions, cell_delimiter
from esm.common.errors import EsmError, TaskError

if TYPE_CHECKING:
    from esm.tasks.guess.roles import Guess

app = typer.Typer(help="What the data are.", no_args_is_help=True)


@app.command("ls", cls=Verb)
@grouped
def list_tasks(
    locations: Annotated[
        list[str] | None,
        typer.Argument(help="Task folders, folders of them, files, Hub ids or registry:NAME."),
    ] = None,
    *,
    reading: ReadingOptions,
    registry: Annotated[
        bool,
        option(
            Heading.SOURCES,
            "--registry",
            help="List the public source tasks that are known here.",
        ),
    ] = False,
    out: OutFile = None,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """List tasks and targets: rows, classes, language, licence."""
    from esm.report.tasks import task_list
    from esm.tasks.faults.describe import describe
    from esm.tasks.load import load_target

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
    from esm.report.tasks import registry_tables
    from esm.tasks.registry import registry

    entries = registry()
    content = [
        entry.model_dump(mode="json", exclude_none=True) | {"terms": entry.terms.value}
        for entry in entries
    ]
    write_out(out, content, content)
    output.show(content, registry_tables(entries))


@app.command("show", cls=Verb)
@grouped
def show_task(
    location: Annotated[str, typer.Argument(help="Folder, file or Hub id.")],
    *,
    reading: ReadingOptions,
    out: OutFile = None,
    output: OutputOptions,
) -> None:
    """Show one task or target: split, balance, lengths, duplicates, what may spoil results.

    Texts that are in train and in test are counted too.
    """
    from esm.report.splits import split_tables
    from esm.report.tasks import finding_tables, language_tables, task_details
    from esm.tasks.faults.describe import describe
    from esm.tasks.faults.inspect import inspect_target
    from esm.tasks.load import load_target

    target = load_target(reading.spec(location))
    findings = inspect_target(target)
    description = describe(target) | {"findings": [asdict(finding) for finding in findings]}
    write_out(out, description, _records([description]))
    tables = [*split_tables(description), *task_details(description)]
    tables += [*language_tables(description["language"]), *finding_tables(findings)]
    output.show(description, tables)


@app.command("init", cls=Verb)
@grouped
def init_task(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, TSV, TXT, XLSX, JSON, JSONL, Parquet, Arrow or CoNLL file. What annotation"
            " tools export is recognised."
        ),
    ],
    *,
    text: Annotated[str | None, option(Heading.DATA, help="Text column. Default: found.")] = None,
    table: TableOptions,
    out: Annotated[
        Path | None,
        option(
            Heading.OUTPUT,
            help="Where to write it. Default: beside the file.",
            metavar="FILE.toml",
        ),
    ] = None,
    replace: Annotated[
        bool,
        option(Heading.OUTPUT, "--replace", help="Replace a specification that is there."),
    ] = False,
    output: OutputOptions,
) -> None:
    """Propose what the columns of a file are, and write it as a TOML file to edit.

    Every guess has its reason. Every verb takes the TOML file in place of the data.
    """
    from esm.report.tasks import finding_tables, proposal_tables
    from esm.tasks.faults.inspect import inspect_proposal
    from esm.tasks.guess.draft import write_draft
    from esm.tasks.guess.propose import propose

    proposal = propose(
        file,
        text=text,
        encoding=table.encoding,
        delimiter=cell_delimiter(table.delimiter),
        sheet=table.sheet,
    )
    written = write_draft(proposal, out, replace=replace)
    findings = inspect_proposal(proposal)
    content = {
        "written": str(written),
        "spec": proposal.spec.model_dump(mode="json"),
        "rows": proposal.rows,
        "reasons": dict(proposal.reasons),
        "columns": [_column(guess) for guess in proposal.guesses],
        "findings": [asdict(finding) for finding in findings],
    }
    output.show(content, [*proposal_tables(proposal, written), *finding_tables(findings)])


def _column(guess: Guess) -> dict[str, Any]:
    how = None if guess.how is None else guess.how.model_dump(mode="json")
    reasons = {"why": guess.why, "about_rare": guess.about_rare}
    return {"column": guess.name, "proposed_as": guess.role.value, "how": how} | reasons


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
