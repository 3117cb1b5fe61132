"""``esm trim``: a base model with the vocabulary of one's own languages alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, grouped, option
from esm.cli.options import OutputOptions, base_model


@grouped
def trim(
    base: Annotated[
        str, typer.Argument(help="Base model: 'multilingual', a Hub id, a folder or a wheel.")
    ],
    corpus: Annotated[
        list[Path],
        typer.Argument(
            help="Texts in all your languages, sources' included: .txt with one a line, or tables"
            " with a column text.",
        ),
    ],
    out: Annotated[Path, option(Heading.DATA, "--out", help="Folder of the copy.", metavar="DIR")],
    output: OutputOptions,
    pieces: Annotated[
        int | None,
        option(Heading.MODEL, help="Most pieces to keep. Default: all in the texts' characters."),
    ] = None,
) -> None:
    """Trim a base model's vocabulary to the languages of a corpus.

    The copy is a base model of its own (--base DIR), smaller in memory and on disk. No text has
    more unknown characters than before.
    """
    from esm.encoder.vocabulary import trim_vocabulary
    from esm.maps.anchors import corpus_texts
    from esm.report.bases import trim_tables

    texts = [text for path in corpus for text in corpus_texts(path)]
    made = trim_vocabulary(base_model(base), texts, out.resolve(), most=pieces)
    output.show(made.as_dict() | {"folder": str(out.resolve())}, trim_tables(made, out))
