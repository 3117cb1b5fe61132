"""``esm compare``: several models on the attributes of a target, side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from esm.cli.help import Heading, grouped, option
from esm.cli.options import (
    MachineOptions,
    OutputOptions,
    Strict,
    TransferOptions,
    base_model,
    commas,
)
from esm.cli.reading import ReadingOptions, TargetName
from esm.cli.trials import Budget, Examples, PredictionFiles, named_files, row_counts
from esm.strategies.registry import JOINT_STRATEGIES, STRATEGIES


@grouped
def compare(
    target: Annotated[str, typer.Argument(help="Target folder, file or Hub id.")],
    *,
    run: Annotated[
        Path, option(Heading.OUTPUT, "--out", help="Folder of the comparison.", metavar="DIR")
    ],
    reading: ReadingOptions,
    identifier: TargetName = None,
    source: Annotated[
        list[str] | None,
        option(
            Heading.SOURCES,
            help="none (default), auto (the best-ranked ones) or names, best first.",
        ),
    ] = None,
    pool: Annotated[
        Path | None,
        option(Heading.SOURCES, help="Folder of the pool that sources are in.", metavar="DIR"),
    ] = None,
    ranking: Annotated[
        Path | None,
        option(
            Heading.SOURCES,
            help="Ranking for auto, written by esm rank --out FILE.json. Default: rank the pool.",
            metavar="FILE",
        ),
    ] = None,
    top: Annotated[
        int,
        option(Heading.SOURCES, help="Sources, with auto, for strategies that use several."),
    ] = 3,
    strategy: Annotated[
        list[str] | None,
        option(
            Heading.TRAINING,
            help=f"Strategies, by commas: {', '.join((*STRATEGIES, *JOINT_STRATEGIES))}; variants"
            " behind a colon, such as multitask:square-root, and dapt+ before another one."
            " Default: features,houlsby,full,multitask.",
        ),
    ] = None,
    predictions: PredictionFiles = None,
    seeds: Annotated[int, option(Heading.TRAINING, help="Runs per strategy.")] = 3,
    examples: Examples = None,
    max_train: Annotated[
        int | None,
        option(Heading.TRAINING, help="Training rows per attribute to use at most."),
    ] = None,
    retrain: Annotated[
        bool,
        option(
            Heading.TRAINING,
            "--retrain",
            help="Fine-tune sources again, from their data, instead of starting from their deltas.",
        ),
    ] = False,
    transfer: TransferOptions,
    budget: Budget = None,
    dry_run: Annotated[
        bool,
        option(
            Heading.BUDGET,
            "--dry-run",
            help="Print the plan with its time and disk, train nothing.",
        ),
    ] = False,
    base: Annotated[
        str | None,
        option(
            Heading.MODEL,
            help="Base model without a pool: 'offline' (default), a Hub id or a folder.",
        ),
    ] = None,
    max_length: Annotated[
        int,
        option(Heading.MODEL, help="Most tokens of a text, without a pool; longer ones are cut."),
    ] = 256,
    max_chunks: Annotated[
        int | None,
        option(
            Heading.MODEL,
            help="Windows in which longer texts are read. Default: the pool's, or 1.",
        ),
    ] = None,
    machine: MachineOptions,
    classes: Annotated[
        bool,
        option(
            Heading.OUTPUT, "--classes", help="Show every class and the confusion matrices too."
        ),
    ] = False,
    keep_models: Annotated[
        bool,
        option(
            Heading.OUTPUT, "--keep-models", help="Keep all models, not only those of the best."
        ),
    ] = False,
    output: OutputOptions,
    strict: Strict = False,
) -> None:
    """Train several models on the attributes and compare them.

    A stopped comparison goes on where it was.
    """
    from esm.common.records import build_settings
    from esm.encoder.settings import OFFLINE, EncoderConfig
    from esm.pool.pool import Pool
    from esm.ranking.result import Ranking
    from esm.report.comparison import comparison_plan_tables
    from esm.report.trials import result_tables
    from esm.trials.budget import seconds_of
    from esm.trials.open import open_comparison
    from esm.trials.run import compare_strategies, estimate
    from esm.trials.settings import DEFAULT_STRATEGIES, ComparisonConfig

    seconds = None if budget is None else seconds_of(budget)
    names = commas(source)
    given = reading.spec(target, identifier=identifier)
    config = build_settings(
        ComparisonConfig,
        {
            "strategies": commas(strategy) or DEFAULT_STRATEGIES,
            "attributes": given.attributes,
            "sources": () if names == ("none",) else names,
            "top": top,
            "seeds": seeds,
            "examples": row_counts(examples),
            "max_train": max_train,
            "retrain": retrain,
            "transfer": transfer.settings(),
        },
    )
    name = OFFLINE if base is None else base_model(base)
    reads = {"model": name, "max_length": max_length, "max_chunks": max_chunks or 1}
    opened = open_comparison(
        given,
        config,
        base=build_settings(EncoderConfig, reads),
        max_chunks=max_chunks,
        pool=None if pool is None else Pool.open(pool.resolve()),
        ranking=None if ranking is None else Ranking.load(ranking),
        predictions=named_files(predictions),
        cache=machine.open_cache(),
        device=machine.device,
    )
    if dry_run:
        plan, cost = estimate(opened, run, keep_models=keep_models, budget=seconds)
        content = {
            "trainings": [trial.as_dict() for trial in plan.trials],
            "skipped": [asdict(skip) for skip in plan.skipped],
            "left_out": [arm.model_dump(mode="json") for arm in plan.left_out],
            "estimate": cost.as_dict(),
        }
        output.show(content, comparison_plan_tables(plan, cost))
        return
    found = compare_strategies(opened, run, strict=strict, keep_models=keep_models, budget=seconds)
    output.show(found.as_dict(), result_tables(found, classes=classes))
