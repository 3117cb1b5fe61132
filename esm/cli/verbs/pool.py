"""``esm pool``: what a pool holds, packing it, and maps on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, Verb, grouped, option
from esm.cli.options import (
    MachineOptions,
    OutFile,
    OutputOptions,
    PoolFolder,
    Strict,
    commas,
    write_out,
)
from esm.cli.verbs.train import EncoderOptions, KeepEncoders
from esm.common.errors import SettingError

_FILTER_HELP = (
    "Maps to fetch, several by commas: rows=N (trained on at least N rows), task (dataset and"
    " columns are stated), meaningful (the label is no identifier, date, link or text), unique (one"
    " of several copies), language=CODE|CODE, licence=TERM|TERM (as for esm rank)."
)

_LOCAL_FILTER_HELP = (
    "Sources of POOL to list, several by commas: language=CODE|CODE, domain=WORD, licence=TERM (as"
    " for esm rank), rows=N (trained on at least N rows), metric=NAME, quality=X (held-out, at"
    " least), r2=X (on texts of other tasks, at least), map=FORM, kind=NAME."
)

app = typer.Typer(
    help="Pools: list, check and pack them; maps on the Hugging Face Hub.", no_args_is_help=True
)


@app.command("ls", cls=Verb)
@grouped
def list_maps(
    *,
    pool: Annotated[
        Path | None, typer.Argument(help="Pool whose sources to list.", metavar="[POOL]")
    ] = None,
    base: Annotated[
        str | None,
        option(Heading.SOURCES, help="Hub id of a base model: list the maps on the Hub for it."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        option(Heading.SOURCES, "--filter", help=_LOCAL_FILTER_HELP, metavar="FILTER"),
    ] = None,
    out: OutFile = None,
    output: OutputOptions,
) -> None:
    """List the sources of a pool, or the published maps for a base model."""
    if (pool is None) == (base is None):
        raise SettingError(
            "neither a pool nor --base" if pool is None else "a pool and --base",
            expected="a pool, to list its sources, or --base, to list the maps on the Hub",
        )
    if pool is not None:
        _list_sources(pool, commas(filters), output, out)
        return
    if filters:
        raise SettingError(
            "--filter with --base", expected="--filter with a pool, or for esm pool pull"
        )
    _list_published(str(base), output, out)


def _list_sources(
    folder: Path, filters: Iterable[str], output: OutputOptions, out: Path | None
) -> None:
    from esm.pool.filters import SourceFilters
    from esm.pool.pool import Pool
    from esm.report.pool import pool_tables

    wanted = SourceFilters.parse(filters)
    pool = Pool.open(folder)
    entries, skipped = pool.entries()
    kept = [entry for entry in entries if wanted.keeps(entry.record)]
    content = {
        "pool": str(folder),
        "of": len(entries),
        "sources": [entry.record.model_dump(mode="json") for entry in kept],
        "skipped": [asdict(skip) for skip in skipped],
    }
    rows = [
        {
            "source": entry.id,
            "map": form,
            "language": entry.record.metadata.language,
            "domain": entry.record.metadata.domain,
            "licence": entry.record.metadata.license,
            "rows": entry.record.num_used,
            "metric": entry.record.metric,
            "quality": entry.record.quality.get(entry.record.metric or ""),
        }
        | fit.model_dump(mode="json")
        for entry in kept
        for form, fit in entry.record.maps.items()
    ]
    write_out(out, content, rows)
    output.show(content, pool_tables(pool, kept, skipped, of=len(entries)))


def _list_published(base: str, output: OutputOptions, out: Path | None) -> None:
    from esm.pool.hub.pull import list_published
    from esm.report.pool import listing_table

    described, listings = list_published(base)
    found = [asdict(listing) | {"datasets": listing.datasets} for listing in listings]
    content = {"base": described.identity.model_dump(mode="json"), "maps": found}
    rows = [
        {"map": each.repo, "commit": each.commit, "datasets": ",".join(each.datasets)}
        for each in listings
    ]
    write_out(out, content, rows)
    output.show(content, listing_table(described.identity.model, listings))


@app.command(cls=Verb)
@grouped
def pack(
    pool: Annotated[Path, typer.Argument(help="Pool to pack; it stays as it is.")],
    *,
    out: Annotated[
        Path | None,
        option(
            Heading.OUTPUT,
            "--out",
            help="New folder for the bundle. Default: POOL.packed.",
            metavar="DIR",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        option(Heading.MAPS, help="Numbers of the maps: float16 or float32. Default: as they are."),
    ] = None,
    rank: Annotated[
        int | None,
        option(
            Heading.MAPS,
            "--compress",
            help="Bring dense maps to this rank; the loss is reported.",
            min=1,
        ),
    ] = None,
    share: Annotated[
        bool,
        option(
            Heading.MAPS,
            "--share",
            help="Leave out what is known of the sources' texts, to give it away.",
        ),
    ] = False,
    index: Annotated[
        bool, option(Heading.MAPS, "--index", help="Also index the maps, for esm rank --shortlist.")
    ] = False,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """Pack a pool into a few memory-mapped files, which every verb reads as a pool."""
    from esm.pool.pack import pack_pool
    from esm.pool.pool import Pool
    from esm.report.pool import pack_report

    if dtype not in (None, "float16", "float32"):
        raise SettingError(f"--dtype {dtype}", expected="float16 or float32")
    source = Pool.open(pool)
    target = pool.resolve().with_name(f"{pool.resolve().name}.packed") if out is None else out
    report = pack_pool(
        source, target, dtype=dtype, rank=rank, share=share, index=index, strict=strict
    )
    output.show(report.as_dict(), pack_report(report))


@app.command("index", cls=Verb)
@grouped
def index_maps(
    pool: Annotated[Path, typer.Argument(help="Packed pool; the index is written beside it.")],
    output: OutputOptions,
) -> None:
    """Index the maps of a packed pool, so that esm rank --shortlist need not score them all."""
    from esm.pool.bundle.index import index_bundle
    from esm.pool.pool import Pool
    from esm.report.pool import index_report

    opened = Pool.open(pool)
    if opened.bundle is None:
        raise SettingError(f"{pool} is not packed", expected="a pool packed by esm pool pack")
    found = index_bundle(opened.bundle)
    content = {"pool": str(pool), "maps": {str(form): count for form, count in found.items()}}
    output.show(content, index_report(str(pool), found))


@app.command(cls=Verb)
@grouped
def verify(
    pool: Annotated[Path, typer.Argument(help="Pool, packed or not.")],
    *,
    out: OutFile = None,
    output: OutputOptions,
) -> None:
    """Check every entry of a pool and name the bad ones; exit code 1 if there is one."""
    from esm.pool.pool import Pool
    from esm.pool.verify import verify_pool
    from esm.report.pool import verify_report

    report = verify_pool(Pool.open(pool))
    write_out(out, report.as_dict(), report.records())
    output.show(report.as_dict(), verify_report(report))
    if report.faults:
        raise typer.Exit(1)


@app.command(cls=Verb)
@grouped
def rebase(
    source: Annotated[
        Path, typer.Argument(help="Pool whose sources to train again.", metavar="FROM")
    ],
    pool: PoolFolder,
    encoder: EncoderOptions,
    machine: MachineOptions,
    *,
    keep_models: KeepEncoders = False,
    dtype: Annotated[
        str, option(Heading.MAPS, help="Of maps on disk: float16 or float32.")
    ] = "float16",
    out: OutFile = None,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """Refit a pool's maps for a changed base model, in a new pool.

    Every source is trained again from --base with its own settings; a stopped run goes on where it
    was. The base may be an encoder that was tuned on a corpus (FROM/sources/NAME/model).
    """
    from esm.pool.pool import Pool
    from esm.pool.rebase import rebase_pool
    from esm.report.pool import build_report

    settings = encoder.config()
    if settings is None or encoder.base is None:
        raise SettingError("no --base", expected="the changed base model: a folder or a Hub id")
    if dtype not in ("float16", "float32"):
        raise SettingError(f"--dtype {dtype}", expected="float16 or float32")
    report = rebase_pool(
        Pool.open(source),
        pool,
        settings,
        cache=machine.open_cache(),
        device=machine.device,
        strict=strict,
        keep_models=keep_models,
        dtype=dtype,
    )
    write_out(out, report.as_dict(), report.records())
    output.show(report.as_dict(), build_report(report))
    if not (report.trained or report.completed or report.present):
        raise typer.Exit(1)


@app.command(cls=Verb)
@grouped
def pull(
    base: Annotated[str, option(Heading.SOURCES, help="Hub id of the base model.")],
    pool: PoolFolder,
    *,
    filters: Annotated[
        list[str] | None, option(Heading.SOURCES, "--filter", help=_FILTER_HELP, metavar="FILTER")
    ] = None,
    workers: Annotated[
        int, option(Heading.MACHINE, help="Requests under way at once.", min=1, max=64)
    ] = 8,
    out: OutFile = None,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """Fetch the published maps for a base model.

    Maps that are in the pool already are left; a stopped run goes on where it was.
    """
    from esm.pool.hub.filters import Filters
    from esm.pool.hub.pull import pull_pool
    from esm.report.pool import pull_report

    report = pull_pool(base, pool, Filters.parse(commas(filters)), workers=workers, strict=strict)
    write_out(out, report.as_dict(), report.records())
    output.show(report.as_dict(), pull_report(report))
    if not (report.fetched or report.present):
        raise typer.Exit(1)


@app.command(cls=Verb)
@grouped
def push(
    pool: PoolFolder,
    repo: Annotated[
        str,
        option(
            Heading.SOURCES,
            help="owner/name for one map; owner alone calls each of them owner/ESM_SOURCE.",
        ),
    ],
    *,
    sources: Annotated[
        list[str] | None, typer.Argument(help="Sources of the pool. Default: all.")
    ] = None,
    base: Annotated[
        str | None,
        option(Heading.SOURCES, help="Hub id of a base model that the pool knows as a folder."),
    ] = None,
    private: Annotated[
        bool, option(Heading.SOURCES, "--private", help="Make new repositories private.")
    ] = False,
    dry_run: Annotated[
        bool,
        option(
            Heading.OUTPUT, "--dry-run", help="Write the repositories to --out, upload nothing."
        ),
    ] = False,
    out: Annotated[
        Path | None, option(Heading.OUTPUT, "--out", help="Folder for --dry-run.", metavar="DIR")
    ] = None,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """Publish dense maps, each with a model card; hf-dataset-selector reads them too."""
    from esm.pool.hub.push import push_maps
    from esm.pool.pool import Pool
    from esm.report.pool import push_report

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
