"""``esm pool``: maps on the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from esm.errors import SettingError
from esm.options import OutFile, OutputOptions, PoolFolder, Strict, commas, grouped, write_out

_FILTER_HELP = (
    "Maps to fetch, several by commas: rows=N (trained on at least N rows), task (dataset and"
    " columns are stated), meaningful (the label is no identifier, date, link or text), unique (one"
    " of several copies), language=CODE|CODE, licence=TERM|TERM (as for esm rank)."
)

app = typer.Typer(help="Maps on the Hugging Face Hub.", no_args_is_help=True)


@app.command("ls")
@grouped
def list_maps(
    base: Annotated[str, typer.Option(help="Hub id of the base model.")],
    output: OutputOptions,
    out: OutFile = None,
) -> None:
    """List the published maps for a base model."""
    from esm.published.pull import list_published
    from esm.tables_pool import listing_table

    described, listings = list_published(base)
    found = [asdict(listing) | {"datasets": listing.datasets} for listing in listings]
    content = {"base": described.identity.model_dump(mode="json"), "maps": found}
    rows = [
        {"map": each.repo, "commit": each.commit, "datasets": ",".join(each.datasets)}
        for each in listings
    ]
    write_out(out, content, rows)
    output.show(content, listing_table(described.identity.model, listings))


@app.command()
@grouped
def pull(
    base: Annotated[str, typer.Option(help="Hub id of the base model.")],
    pool: PoolFolder,
    output: OutputOptions,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help=_FILTER_HELP, metavar="FILTER")
    ] = None,
    workers: Annotated[int, typer.Option(help="Requests under way at once.", min=1, max=64)] = 8,
    strict: Strict = False,
    out: OutFile = None,
) -> None:
    """Fetch the published maps for a base model.

    Maps that are in the pool already are left; a stopped run goes on where it was.
    """
    from esm.published.filters import Filters
    from esm.published.pull import pull_pool
    from esm.tables_pool import pull_report

    report = pull_pool(base, pool, Filters.parse(commas(filters)), workers=workers, strict=strict)
    write_out(out, report.as_dict(), report.records())
    output.show(report.as_dict(), pull_report(report))
    if not (report.fetched or report.present):
        raise typer.Exit(1)


@app.command()
@grouped
def push(
    pool: PoolFolder,
    repo: Annotated[
        str,
        typer.Option(
            help="owner/name for one map; owner alone calls each of them owner/ESM_SOURCE."
        ),
    ],
    output: OutputOptions,
    sources: Annotated[
        list[str] | None, typer.Argument(help="Sources of the pool. Default: all.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Hub id of a base model that the pool knows as a folder.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make new repositories private.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the repositories to --out, upload nothing.")
    ] = False,
    strict: Strict = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for --dry-run.", metavar="DIR")
    ] = None,
) -> None:
    """Publish dense maps, each with a model card; hf-dataset-selector reads them too."""
    from esm.pool import Pool
    from esm.published.push import push_maps
    from esm.tables_pool import push_report

    if dry_run != (out is not None):
        raise SettingError(
            "--dry-run without --out" if dry_run else "--out without --dry-run",
            expected="both, to write the repositories to a folder",
        )
    report = push_maps(
        Pool.open(pool.resolve()),
        repo,
        commas(sources),
        base=base,
        private=private,
        out=out,
        strict=strict,
    )
    output.show(report.as_dict(), push_report(report))
    if not report.pushed:
        raise typer.Exit(1)
