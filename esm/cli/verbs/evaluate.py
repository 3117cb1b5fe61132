"""``esm evaluate``: any ranking against any table of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, grouped, option
from esm.cli.options import OutFile, OutputOptions, commas, write_out


@grouped
def evaluate(
    scores: Annotated[Path, typer.Argument(help="CSV or Parquet: target, source, score.")],
    truth: Annotated[
        Path, typer.Argument(help="CSV or Parquet: target, source, performance[, seed].")
    ],
    *,
    k: Annotated[
        list[str] | None,
        option(Heading.SCORING, "--k", help="Cut-offs of regret. Default: 1,3,5."),
    ] = None,
    out: OutFile = None,
    output: OutputOptions,
) -> None:
    """Judge any rankings by measured results.

    Prints regret@k, NDCG and rank correlations.
    """
    from esm.metrics.evaluate import evaluate_rankings
    from esm.report.evaluation import evaluation_tables

    evaluation = evaluate_rankings(scores, truth, _cutoffs(commas(k) or ("1", "3", "5")))
    content = evaluation.as_dict()
    records = [{"target": target} | judged for target, judged in content["targets"].items()]
    write_out(out, content, records)
    output.show(content, evaluation_tables(evaluation))


def _cutoffs(values: tuple[str, ...]) -> list[int]:
    if not all(value.isdecimal() and int(value) > 0 for value in values):
        raise typer.BadParameter(
            f"{','.join(values)!r} are not positive whole numbers", param_hint="--k"
        )
    return [int(value) for value in values]
