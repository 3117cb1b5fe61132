"""``esm export``: the winners as plain Transformers models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, grouped, option
from esm.cli.options import OutputOptions, commas
from esm.cli.reading import AttributeNames


@grouped
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run of esm validate or esm compare.")],
    to: Annotated[
        Path,
        option(
            Heading.OUTPUT, "--to", help="Folder to write into, one per attribute.", metavar="DIR"
        ),
    ],
    output: OutputOptions,
    attribute: AttributeNames = None,
) -> None:
    """Write the winners of a run as models that need no esm.

    Each folder has a README with the code that labels texts with it.
    """
    from esm.inference.export import export_run
    from esm.report.inference import export_tables

    exported = export_run(run, to, attributes=commas(attribute))
    output.show({"exported": [one.as_dict() for one in exported]}, export_tables(exported))
