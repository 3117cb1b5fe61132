"""``esm show``: look at what the other verbs made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from esm.errors import StorageError
from esm.options import OutFile, OutputOptions, grouped, write_out


@grouped
def show(
    path: Annotated[Path, typer.Argument(help="A pool, a ranking (JSON) or a validate run.")],
    output: OutputOptions,
    top: Annotated[int, typer.Option(help="Sources per attribute of a ranking; 0: all.")] = 10,
    out: OutFile = None,
) -> None:
    """Show a pool, a ranking or a validate run."""
    from esm.pool import Pool
    from esm.validate import is_run

    if Pool.exists(path):
        content, tables = _pool(path)
    elif is_run(path):
        content, tables = _run(path)
    elif path.is_file():
        content, tables = _ranking(path, top)
    else:
        raise StorageError(
            f"{path} is no pool, no ranking and no validate run",
            expected="a folder made by esm train or esm validate, or a file made by esm rank --out",
        )
    write_out(out, content, tables)
    output.show(content, tables)


def _pool(path: Path) -> tuple[Any, Any]:
    from dataclasses import asdict

    from esm.pool import Pool
    from esm.tables import pool_tables

    pool = Pool.open(path)
    entries, skipped = pool.entries()
    content = {
        "pool": str(path),
        "manifest": pool.manifest.model_dump(mode="json"),
        "sources": [entry.record.model_dump(mode="json") for entry in entries],
        "skipped": [asdict(skip) for skip in skipped],
    }
    return content, pool_tables(pool, entries, skipped)


def _run(path: Path) -> tuple[Any, Any]:
    from esm.tables import validation_tables
    from esm.validate import Validation

    validation = Validation.load(path)
    return validation.as_dict(), validation_tables(validation)


def _ranking(path: Path, top: int) -> tuple[Any, Any]:
    from esm.rank import Ranking
    from esm.tables import ranking_tables

    ranking = Ranking.load(path)
    return ranking.as_dict(), ranking_tables(ranking, top=top)
