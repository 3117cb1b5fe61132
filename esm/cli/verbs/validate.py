"""``esm validate``: from a ranking to realised gain and regret."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, grouped, option
from esm.cli.options import Device, OutputOptions, Strict, TransferOptions, commas
from esm.cli.reading import AttributeNames
from esm.cli.trials import Budget, Examples, PredictionFiles, named_files, row_counts
from esm.strategies.registry import STRATEGIES


@grouped
def validate(
    ranking: Annotated[Path, typer.Argument(help="Ranking written by esm rank --out FILE.json.")],
    *,
    run: Annotated[Path, option(Heading.OUTPUT, "--out", help="Folder of the run.", metavar="DIR")],
    attribute: AttributeNames = None,
    top: Annotated[int, option(Heading.SOURCES, help="Best-ranked sources to train with.")] = 3,
    source: Annotated[
        list[str] | None,
        option(Heading.SOURCES, help="Further sources to train with, by name."),
    ] = None,
    controls: Annotated[
        list[str] | None,
        option(
            Heading.SOURCES,
            help="none (no transfer), random, all; by commas. Default: none,random.",
        ),
    ] = None,
    random_sources: Annotated[
        int, option(Heading.SOURCES, help="Random sources per attribute.")
    ] = 2,
    pool: Annotated[
        Path | None,
        option(Heading.SOURCES, help="Folder of the pool. Default: the ranking's.", metavar="DIR"),
    ] = None,
    strategy: Annotated[
        str,
        option(
            Heading.TRAINING,
            help=f"How to train on an attribute: {', '.join(STRATEGIES)}, or dapt+ and another.",
        ),
    ] = STRATEGIES[0],
    seeds: Annotated[int, option(Heading.TRAINING, help="Runs per arm.")] = 3,
    examples: Examples = None,
    max_train: Annotated[
        int | None,
        option(Heading.TRAINING, help="Training rows per attribute to use at most."),
    ] = None,
    source_seeds: Annotated[
        int,
        option(
            Heading.TRAINING,
            help="Training seeds of the sources; has to divide --seeds. More than one"
            " trains them again.",
        ),
    ] = 1,
    retrain: Annotated[
        bool,
        option(
            Heading.TRAINING,
            "--retrain",
            help="Fine-tune sources again, from their data, instead of starting from their deltas.",
        ),
    ] = False,
    transfer: TransferOptions,
    predictions: PredictionFiles = None,
    budget: Budget = None,
    dry_run: Annotated[
        bool,
        option(
            Heading.BUDGET,
            "--dry-run",
            help="Print the plan with its time and disk, run nothing.",
        ),
    ] = False,
    device: Device = "auto",
    classes: Annotated[
        bool,
        option(
            Heading.OUTPUT, "--classes", help="Show every class and the confusion matrices too."
        ),
    ] = False,
    keep_models: Annotated[
        bool,
        option(
            Heading.OUTPUT,
            "--keep-models",
            help="Keep all models, not only those of the winners.",
        ),
    ] = False,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """Train with the picks and with controls: what is gained?

    Reports realised gain and regret; a stopped run goes on where it was.
    """
    from esm.common.records import build_settings
    from esm.pool.pool import Pool
    from esm.ranking.result import Ranking
    from esm.report.trials import result_tables
    from esm.report.validation import plan_tables
    from esm.trials import run as library
    from esm.trials.budget import seconds_of
    from esm.trials.settings import ValidationConfig

    seconds = None if budget is None else seconds_of(budget)
    loaded = Ranking.load(ranking)
    config = build_settings(
        ValidationConfig,
        {
            "attributes": commas(attribute),
            "top": top,
            "sources": commas(source),
            "controls": commas(controls) or ("none", "random"),
            "random_sources": random_sources,
            "seeds": seeds,
            "source_seeds": source_seeds,
            "strategy": strategy,
            "transfer": transfer.settings(),
            "examples": row_counts(examples),
            "max_train": max_train,
            "retrain": retrain,
        },
    )
    opened = None if pool is None else Pool.open(pool)
    if dry_run:
        plan, cost = library.dry_run(
            loaded, config, run, pool=opened, keep_models=keep_models, budget=seconds
        )
        content = {
            "runs": [planned.as_dict() for planned in plan.trials],
            "skipped": [asdict(skip) for skip in plan.skipped],
            "left_out": [arm.model_dump(mode="json") for arm in plan.left_out],
            "estimate": cost.as_dict(),
        }
        output.show(content, plan_tables(plan, cost))
        return
    result = library.validate_ranking(
        loaded,
        config,
        run,
        pool=opened,
        predictions=named_files(predictions),
        device=device,
        strict=strict,
        keep_models=keep_models,
        budget=seconds,
    )
    output.show(result.as_dict(), result_tables(result, classes=classes))
