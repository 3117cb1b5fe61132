"""``esm compare``: several models on the attributes of a target, side by side."""

from __future__ import annotations

from collections.abc import Iterable
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
from esm.strategies.joint.registry import JOINT_STRATEGIES
from esm.strategies.registry import STRATEGIES


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
    predictions: Annotated[
        list[str] | None,
        option(
            Heading.TRAINING,
            help="NAME=FILE: labels that another system predicts for the test rows, as a column;"
            " the file has the texts and a column per attribute.",
            metavar="NAME=FILE",
        ),
    ] = None,
    seeds: Annotated[int, option(Heading.TRAINING, help="Runs per strategy.")] = 3,
    examples: Annotated[
        list[str] | None,
        option(
            Heading.TRAINING,
            help="Training rows per attribute, such as 50,100,all: a learning curve; strategies"
            " are compared at the largest. Default: all.",
        ),
    ] = None,
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
    dry_run: Annotated[
        bool,
        option(Heading.BUDGET, "--dry-run", help="Print the plan with its time, train nothing."),
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
    from esm.report.comparison import comparison_plan_tables, comparison_tables
    from esm.trials.compare import compare_strategies
    from esm.trials.costs import estimate
    from esm.trials.open import open_comparison
    from esm.trials.settings import DEFAULT_STRATEGIES, ComparisonConfig

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
            "examples": tuple(map(_rows, commas(examples))) or (None,),
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
        predictions=_named_files(commas(predictions)),
        cache=machine.open_cache(),
        device=machine.device,
    )
    if dry_run:
        effort = estimate(opened.plan, run)
        content = {
            "trainings": [cell.as_dict() for cell in opened.plan.trainings],
            "skipped": [asdict(skip) for skip in opened.plan.skipped],
            "estimate": effort.as_dict(),
        }
        output.show(content, comparison_plan_tables(opened.plan, effort))
        return
    found = compare_strategies(opened, run, strict=strict, keep_models=keep_models)
    output.show(found.as_dict(), comparison_tables(found))


def _rows(word: str) -> int | None:
    """Return a number of rows; None for all."""
    if word == "all":
        return None
    if not word.isdigit():
        raise typer.BadParameter(
            f"{word!r}; expected numbers of rows, or all", param_hint="--examples"
        )
    return int(word)


def _named_files(words: Iterable[str]) -> dict[str, Path]:
    found = {}
    for word in words:
        name, _, path = word.partition("=")
        if not name or not path or name in found:
            raise typer.BadParameter(
                f"{word!r}; expected NAME=FILE, each name once", param_hint="--predictions"
            )
        found[name] = Path(path)
    return found
