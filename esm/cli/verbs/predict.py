"""``esm predict``: labels for new texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esm.cli.options import OutputOptions, ReadingOptions, commas, grouped

_SUFFIXES = (".csv", ".jsonl", ".parquet")


def _writable(path: Path) -> Path:
    """Refuse a file that could not be written before time is spent on what goes into it."""
    if path.suffix not in _SUFFIXES:
        raise typer.BadParameter(f"{path} ends in {path.suffix!r}; expected {', '.join(_SUFFIXES)}")
    return path


@grouped
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run of esm validate or esm compare.")],
    file: Annotated[
        str, typer.Argument(help="Texts to label, in any format that esm reads, or its TOML file.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File to write: .csv, .jsonl or .parquet.",
            metavar="FILE",
            callback=_writable,
        ),
    ],
    output: OutputOptions,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="Attributes; by commas, one in a name as '\\,'. Default: all."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Text column. Default: the one that the target had.")
    ] = None,
    text_pair: Annotated[str | None, typer.Option(help="Second text column of a pair task.")] = (
        None
    ),
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of the file. Default: found out.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="What separates its cells; 'tab' for a tab. Default: found out."),
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook. Default: the first.")] = (
        None
    ),
    abstain: Annotated[
        float | None,
        typer.Option(
            help="Leave a label empty whose probability is below this; values have none.",
            min=0.0,
            max=1.0,
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write a column per class too.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Label new texts with the winners of a run.

    Every attribute is predicted by the arm, or the strategy, that did best; its models vote with
    calibrated probabilities.
    """
    if out.resolve() == Path(file).resolve():
        raise typer.BadParameter(
            f"{out} is the file with the texts; expected another one", param_hint="--out"
        )
    from esm.inference.predict import predict_file
    from esm.report.inference import prediction_tables

    reading = ReadingOptions(
        text=text, text_pair=text_pair, encoding=encoding, delimiter=delimiter, sheet=sheet
    )
    found = predict_file(
        run,
        reading.spec(file),
        attributes=commas(attribute),
        abstain=abstain,
        device=device,
    )
    found.write(out, with_probabilities=probabilities)
    typer.echo(f"written to {out}", err=True)
    output.show(found.as_dict(), prediction_tables(found.as_dict(), str(out)))
