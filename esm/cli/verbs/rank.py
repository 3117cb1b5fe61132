"""``esm rank``: from a target and a pool to a ranking per attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esm.cli.options import (
    MachineOptions,
    OutFile,
    OutputOptions,
    PoolFolder,
    ReadingOptions,
    Strict,
    base_model,
    commas,
    grouped,
    write_out,
)


@grouped
def rank(
    target: Annotated[str, typer.Argument(help="Target folder, file or Hub id.")],
    pool: PoolFolder,
    reading: ReadingOptions,
    machine: MachineOptions,
    output: OutputOptions,
    identifier: Annotated[str | None, typer.Option("--id", help="Name of the target.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Maps to score: anchored or published. Default: the pool's, anchored ones first.",
        ),
    ] = None,
    scorer: Annotated[
        str,
        typer.Option(
            help="How to score: logme, fused, probe, knn (on maps); tuned-logme, frozen, hscore"
            " (on deltas or tuned encoders); leep, nce (source heads); textemb, taskemb, vocab"
            " (stored vectors); size, random, static (blind to the target)."
        ),
    ] = "logme",
    embeddings: Annotated[
        str | None,
        typer.Option(
            help="For knn, hscore, leep and nce: mapped or tuned embeddings. Default: mapped for"
            " knn, tuned for hscore, tuned for leep and nce where all sources have deltas.",
            metavar="KIND",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="For --scorer static: results table or validate run on other targets.",
            metavar="TABLE",
        ),
    ] = None,
    balance: Annotated[
        str,
        typer.Option(help="Weigh classes equally: auto (where the metric is macro-F1), on or off."),
    ] = "auto",
    max_examples: Annotated[
        int, typer.Option(help="Training texts to use at most, the same for all attributes.")
    ] = 1000,
    max_chunks: Annotated[
        int | None,
        typer.Option(
            help="Windows in which longer texts are read; 1 cuts them. Default: the pool's."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample of rows.")] = 0,
    aggregate: Annotated[
        bool,
        typer.Option(
            "--aggregate",
            help="Also rank over all attributes, by mean rank: one source for all of them.",
        ),
    ] = False,
    bootstrap: Annotated[
        int,
        typer.Option(
            help="Draws of a bootstrap of the rows, 200 for instance: 90 % intervals of the"
            " predicted gains, probability of the top k, groups that cannot be told apart. For"
            " logme and tuned-logme; 0 for none.",
            metavar="DRAWS",
        ),
    ] = 0,
    diverse: Annotated[
        int,
        typer.Option(
            help="Also choose this many sources that together promise most: two that do nearly"
            " the same to the target's texts count once. validate and compare then try these first."
            " 0 for none.",
            metavar="K",
        ),
    ] = 0,
    top_k: Annotated[
        int, typer.Option(help="k of the bootstrap's probability of being among the k best.")
    ] = 3,
    base: Annotated[
        str | None, typer.Option(help="Base model; another one than the pool's is refused.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Results table (target,source,performance) or validate run: print regret.",
            metavar="TABLE",
        ),
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            help="Only sources whose licence is any of: commercial (allows commercial use), stated,"
            " or has this in its name; commas or repetition."
        ),
    ] = None,
    exclude_overlap: Annotated[
        float | None,
        typer.Option(
            help="Leave out sources that hold a larger share than this (0.01 is 1 %) of the"
            " target's texts or of its test texts, exactly or nearly."
        ),
    ] = None,
    shortlist: Annotated[
        int,
        typer.Option(
            help="Of a large packed pool with an index (esm pool index), score only so many sources"
            " exactly, at most 2000, chosen by the signatures of their maps; 0 for all. Only their"
            " records are read, unless there is --licence.",
            metavar="N",
        ),
    ] = 0,
    refine: Annotated[
        str,
        typer.Option(
            help="Sources to score again on embeddings by their deltas, which see what maps"
            " cannot: all, the best N, none, or auto: all up to a stated cost, an eighth of more,"
            " found by halving.",
            metavar="N",
        ),
    ] = "auto",
    near_tests: Annotated[
        bool,
        typer.Option(
            "--near-tests",
            help="Also embed the test texts to look for near copies of them in the sources; exact"
            " copies are looked for anyway.",
        ),
    ] = False,
    top: Annotated[
        int, typer.Option(help="Sources to print per attribute; 0 for all.", min=0)
    ] = 10,
    why: Annotated[
        str | None,
        typer.Option(help="Show what spoke for and against this source instead of the ranking."),
    ] = None,
    strict: Strict = False,
    out: OutFile = None,
) -> None:
    """Rank the pool's sources for every attribute of a target."""
    from esm.common.records import build_settings
    from esm.metrics.evaluate import evaluate_rankings, read_truth
    from esm.pool.pool import Pool
    from esm.ranking.rank import rank_sources
    from esm.ranking.result import RankConfig, ranking_table
    from esm.report.ranking import ranking_tables, why_tables
    from esm.trials.validate import results_table

    config = build_settings(
        RankConfig,
        {
            "scorer": scorer,
            "embeddings": embeddings,
            "results": None if results is None else str(results.resolve()),
            "max_examples": max_examples,
            "form": form,
            "balance": balance,
            "max_chunks": max_chunks,
            "seed": seed,
            "licences": commas(licence),
            "strict": strict,
            "aggregate": aggregate,
            "bootstrap": bootstrap,
            "diverse": diverse,
            "top_k": top_k,
            "exclude_overlap": exclude_overlap,
            "near_tests": near_tests,
            "shortlist": shortlist,
            "refine": refine,
        },
    )
    ranking = rank_sources(
        reading.spec(target, identifier=identifier),
        Pool.open(pool.resolve()),
        config,
        cache=machine.open_cache(),
        device=machine.device,
        base=None if base is None else base_model(base),
        results=None if results is None else read_truth(results_table(results))[0],
    )
    if truth is not None:
        judged = evaluate_rankings(ranking_table(ranking), results_table(truth))
        ranking = ranking.model_copy(update={"truth": judged.as_dict()})
    write_out(out, ranking.as_dict(), ranking.records())
    tables = ranking_tables(ranking, top=top) if why is None else why_tables(ranking, why)
    output.show(ranking.as_dict(), tables)
