"""``esm predict``: labels for new texts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, grouped, option
from esm.cli.options import Device, OutputOptions, commas
from esm.cli.reading import AttributeNames, ReadingOptions, TableOptions

_TABLE = "table"
_SUFFIXES = {
    _TABLE: (".csv", ".jsonl", ".parquet"),
    "label-studio": (".json",),
    "doccano": (".jsonl",),
    "prodigy": (".jsonl",),
}


def _writable(path: Path, kind: str) -> None:
    """Refuse a file that could not be written before time is spent on what goes into it."""
    if kind not in _SUFFIXES:
        raise typer.BadParameter(
            f"{kind!r}; expected {', '.join(_SUFFIXES)}", param_hint="--format"
        )
    if path.suffix not in _SUFFIXES[kind]:
        expected = ", ".join(_SUFFIXES[kind])
        raise typer.BadParameter(
            f"{path} ends in {path.suffix!r}; expected {expected}", param_hint="--out"
        )


@grouped
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run of esm validate or esm compare.")],
    file: Annotated[
        str, typer.Argument(help="Texts to label, in any format that esm reads, or its TOML file.")
    ],
    *,
    out: Annotated[
        Path,
        option(
            Heading.OUTPUT,
            "--out",
            help="File to write: .csv, .jsonl or .parquet; see --format.",
            metavar="FILE",
        ),
    ],
    kind: Annotated[
        str,
        option(
            Heading.OUTPUT,
            "--format",
            help="What to write: a table, or pre-annotations to confirm in a tool: label-studio"
            " (.json, and the labeling configuration as .xml), doccano or prodigy (.jsonl, one"
            " attribute).",
        ),
    ] = _TABLE,
    attribute: AttributeNames = None,
    text: Annotated[
        str | None,
        option(Heading.DATA, help="Text column. Default: the one that the target had."),
    ] = None,
    text_pair: Annotated[
        str | None, option(Heading.DATA, help="Second text column of a pair task.")
    ] = None,
    abstain: Annotated[
        float | None,
        option(
            Heading.UNCERTAINTY,
            help="Leave a label empty whose probability is below this; values have none.",
            min=0.0,
            max=1.0,
        ),
    ] = None,
    probabilities: Annotated[
        bool,
        option(Heading.UNCERTAINTY, "--probabilities", help="Write a column per class too."),
    ] = False,
    table: TableOptions,
    device: Device = "auto",
    output: OutputOptions,
) -> None:
    """Label new texts with the winners of a run.

    Every attribute is predicted by the arm, or the strategy, that did best; its models vote with
    calibrated probabilities.
    """
    _writable(out, kind)
    if out.resolve() == Path(file).resolve():
        raise typer.BadParameter(
            f"{out} is the file with the texts; expected another one", param_hint="--out"
        )
    from esm.inference.preannotations import Tool, write_preannotations
    from esm.inference.predict import predict_file
    from esm.report.inference import prediction_tables

    reading = ReadingOptions(text=text, text_pair=text_pair, **asdict(table))
    found = predict_file(
        run,
        reading.spec(file),
        attributes=commas(attribute),
        abstain=abstain,
        device=device,
    )
    written: tuple[Path, ...] = (out,)
    if kind == _TABLE:
        found.write(out, with_probabilities=probabilities)
    else:
        written = write_preannotations(found, out, Tool(kind))
    typer.echo(f"written to {', '.join(map(str, written))}", err=True)
    output.show(found.as_dict(), prediction_tables(found.as_dict(), str(out)))
