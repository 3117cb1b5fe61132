"""``esm purge``: remove caches."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from esm.cli.help import Heading, grouped
from esm.cli.options import OutputOptions
from esm.common.errors import SettingError


@dataclass(frozen=True)
class PurgeOptions:
    """What is removed."""

    HEADING: ClassVar = Heading.FILES

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = (
        False
    )
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False
    splits: Annotated[
        bool,
        typer.Option(
            "--splits", help="Also the stored splits: those data are split anew, rows change sides."
        ),
    ] = False


@grouped
def purge(
    options: PurgeOptions,
    output: OutputOptions,
) -> None:
    """Remove cached embeddings (never pools, runs or data).

    Splits that could not be stored beside their data lie in the cache folder too; they stay unless
    asked for, because test rows of earlier runs would become training rows.
    """
    from esm.common.caches import SPLITS, cache_folder, find_caches, remove
    from esm.report.tasks import cache_tables

    found = find_caches()
    chosen = [cache for cache in found if cache.files and (options.splits or cache.kind != SPLITS)]
    kept = [cache for cache in found if cache.files and cache not in chosen]
    removed = bool(chosen) and not options.dry_run
    if removed:
        _ask(len([path for cache in chosen for path in cache.files]), yes=options.yes)
        for cache in chosen:
            remove(cache)
    content = {
        "folder": str(cache_folder()),
        "removed": removed,
        "caches": [
            {
                "kind": cache.kind,
                "files": len(cache.files),
                "bytes": cache.bytes,
                "chosen": cache in chosen,
            }
            for cache in found
        ],
    }
    output.show(content, cache_tables(cache_folder(), chosen, kept, removed=removed))


def _ask(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise SettingError(
            f"{count} files would be removed, and nobody can be asked",
            expected="--yes, or a terminal",
            hint="--dry-run to see what they are",
        )
    typer.confirm(f"Remove {count} files?", abort=True, err=True)
