"""``esm demo``: the whole job on generated data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from esm.cli.help import Heading, grouped, option
from esm.cli.options import Device, OutputOptions, base_model


@grouped
def demo(
    output: OutputOptions,
    out: Annotated[
        Path,
        option(Heading.DATA, "--out", help="Folder for the demo's files.", metavar="DIR"),
    ] = Path("runs/demo"),
    base: Annotated[
        str,
        option(Heading.MODEL, help="Base model: 'offline', a Hub id or a folder."),
    ] = "offline",
    device: Device = "auto",
) -> None:
    """Run the whole job on generated data in a few minutes.

    The right answer is known beforehand, so that you see whether it is found.
    """
    from esm.cli.demo.run import run_demo
    from esm.cli.demo.tables import verdict_tables
    from esm.pool.pool import Pool
    from esm.report.pool import pool_tables
    from esm.report.ranking import ranking_tables
    from esm.report.validation import validation_tables

    made = run_demo(out.resolve(), base=base_model(base), device=device)
    pool = Pool.open(out / "pool")
    content = {
        "train": made.build.as_dict(),
        "ranking": made.ranking.as_dict(),
        "validation": made.validation.as_dict(),
        "verdict": made.verdict.as_dict(),
    }
    tables = [
        *pool_tables(pool, *pool.entries()),
        *ranking_tables(made.ranking),
        *validation_tables(made.validation),
        *verdict_tables(made.verdict),
    ]
    output.show(content, tables)
