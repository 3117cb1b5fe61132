"""``esm show``: look at what the other verbs made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from esm.cli.help import Heading, grouped
from esm.cli.options import OutFile, OutputOptions, write_out
from esm.common.errors import StorageError

if TYPE_CHECKING:
    from esm.report.table import Table


@dataclass(frozen=True)
class ViewOptions:
    """What of a result is shown."""

    HEADING: ClassVar = Heading.OUTPUT

    top: Annotated[int, typer.Option(help="Sources per attribute of a ranking; 0: all.", min=0)] = (
        10
    )
    classes: Annotated[
        bool,
        typer.Option("--classes", help="Of a run: every class and the confusion matrices too."),
    ] = False
    out: OutFile = None


@grouped
def show(
    path: Annotated[
        Path,
        typer.Argument(help="A pool, a ranking (JSON), or a run of esm validate or esm compare."),
    ],
    view: ViewOptions,
    output: OutputOptions,
) -> None:
    """Show a pool, a ranking, a validation or a comparison."""
    from esm.pool.pool import Pool
    from esm.trials.results import is_run

    if Pool.exists(path):
        shown = _pool(path)
    elif is_run(path):
        shown = _run(path, classes=view.classes)
    elif path.is_file():
        shown = _ranking(path, view.top)
    else:
        raise StorageError(
            f"{path} is no pool, no ranking and no run",
            expected="a folder made by esm train, esm validate or esm compare, or a file made by"
            " esm rank --out",
        )
    write_out(view.out, shown.content, shown.records)
    output.show(shown.content, shown.tables)


@dataclass(frozen=True)
class _Shown:
    """A result as JSON, as tables for a person and as rows for a program."""

    content: Any
    tables: list[Table]
    records: list[dict[str, Any]]


def _pool(path: Path) -> _Shown:
    from esm.pool.pool import Pool
    from esm.report.pool import pool_tables

    pool = Pool.open(path)
    entries, skipped = pool.entries()
    content = {
        "pool": str(path),
        "manifest": pool.manifest.model_dump(mode="json"),
        "sources": [entry.record.model_dump(mode="json") for entry in entries],
        "skipped": [asdict(skip) for skip in skipped],
    }
    records = [
        {"source": entry.id, "map": form, "rows": entry.record.num_used}
        | fit.model_dump(mode="json", exclude={"left_out"})
        | entry.record.quality
        for entry in entries
        for form, fit in entry.record.fits()
    ]
    return _Shown(content, pool_tables(pool, entries, skipped), records)


def _run(path: Path, *, classes: bool) -> _Shown:
    from esm.report.trials import result_tables
    from esm.trials.results import load_result

    found = load_result(path)
    return _Shown(found.as_dict(), result_tables(found, classes=classes), found.records(path))


def _ranking(path: Path, top: int) -> _Shown:
    from esm.ranking.result import Ranking
    from esm.report.ranking import ranking_tables

    ranking = Ranking.load(path)
    return _Shown(ranking.as_dict(), ranking_tables(ranking, top=top), ranking.records())
