"""``esm rank``: from a target and a pool to a ranking per attribute."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from esm.cli.help import Heading, grouped
from esm.cli.options import (
    MachineOptions,
    OutFile,
    OutputOptions,
    PoolFolder,
    Strict,
    base_model,
    commas,
    write_out,
)
from esm.cli.reading import ReadingOptions, TargetName
from esm.scorers.names import BY_READING, OF_EITHER, ScorerName

_SCORERS = "; ".join(f"{what}: {', '.join(names)}" for what, names in BY_READING.items())


@dataclass(frozen=True)
class SourceOptions:
    """Which sources are ranked; see :class:`esm.ranking.result.RankConfig`."""

    HEADING: ClassVar = Heading.SOURCES

    pool: PoolFolder
    licence: Annotated[
        list[str] | None,
        typer.Option(
            help="Only sources whose licence is any of: commercial (allows commercial use), stated,"
            " or has this in its name; commas or repetition."
        ),
    ] = None
    exclude_overlap: Annotated[
        float | None,
        typer.Option(
            help="Leave out sources that hold a larger share than this (0.01 is 1 %) of the"
            " target's texts or of its test texts, exactly or nearly."
        ),
    ] = None
    near_tests: Annotated[
        bool,
        typer.Option(
            "--near-tests",
            help="Also embed the test texts to look for near copies of them in the sources; exact"
            " copies are looked for anyway.",
        ),
    ] = False
    shortlist: Annotated[
        int,
        typer.Option(
            help="Of a large packed pool with an index (esm pool index), score only so many sources"
            " exactly, at most 2000, chosen by the signatures of their maps; 0 for all. Only their"
            " records are read, unless there is --licence.",
            metavar="N",
        ),
    ] = 0
    base: Annotated[
        str | None, typer.Option(help="Base model; another one than the pool's is refused.")
    ] = None


@dataclass(frozen=True)
class ScoringOptions:
    """How sources are scored; see :class:`esm.ranking.result.RankConfig`."""

    HEADING: ClassVar = Heading.SCORING

    scorer: Annotated[str, typer.Option(help=f"How to score. {_SCORERS.capitalize()}.")] = (
        ScorerName.LOGME.value
    )
    refine: Annotated[
        str,
        typer.Option(
            help="Sources to score again on embeddings by their deltas, which see what maps"
            " cannot: all, the best N, none, or auto: all up to a stated cost, an eighth of more,"
            " found by halving.",
            metavar="N",
        ),
    ] = "auto"
    aggregate: Annotated[
        bool,
        typer.Option(
            "--aggregate",
            help="Also rank over all attributes, by mean rank: one source for all of them.",
        ),
    ] = False
    diverse: Annotated[
        int,
        typer.Option(
            help="Also choose this many sources that together promise most: two that do nearly"
            " the same to the target's texts count once. validate and compare then try these first."
            " 0 for none.",
            metavar="K",
        ),
    ] = 0
    max_examples: Annotated[
        int, typer.Option(help="Training texts to use at most, the same for all attributes.")
    ] = 1000
    seed: Annotated[int, typer.Option(help="Seed of the sample of rows.")] = 0
    form: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Maps to score: anchored or published. Default: the pool's, anchored ones first.",
        ),
    ] = None
    balance: Annotated[
        str,
        typer.Option(help="Weigh classes equally: auto (where the metric is macro-F1), on or off."),
    ] = "auto"
    max_chunks: Annotated[
        int | None,
        typer.Option(
            help="Windows in which longer texts are read; 1 cuts them. Default: the pool's."
        ),
    ] = None
    embeddings: Annotated[
        str | None,
        typer.Option(
            help=f"For {', '.join(OF_EITHER)}: mapped or tuned embeddings. Default: mapped for"
            " knn, tuned for hscore, tuned for leep and nce where all sources have deltas.",
            metavar="KIND",
        ),
    ] = None
    results: Annotated[
        Path | None,
        typer.Option(
            help="For --scorer static: results table or validate run on other targets.",
            metavar="TABLE",
        ),
    ] = None


@dataclass(frozen=True)
class UncertaintyOptions:
    """How sure gains and places are; see :class:`esm.ranking.result.RankConfig`."""

    HEADING: ClassVar = Heading.UNCERTAINTY

    bootstrap: Annotated[
        int,
        typer.Option(
            help="Draws of a bootstrap of the rows, 200 for instance: 90 % intervals of the"
            " predicted gains, probability of the top k, groups that cannot be told apart. For"
            " logme and tuned-logme; 0 for none.",
            metavar="DRAWS",
        ),
    ] = 0
    top_k: Annotated[
        int, typer.Option(help="k of the bootstrap's probability of being among the k best.")
    ] = 3


@dataclass(frozen=True)
class ViewOptions:
    """What of a ranking is shown."""

    HEADING: ClassVar = Heading.OUTPUT

    top: Annotated[int, typer.Option(help="Sources to print per attribute; 0 for all.", min=0)] = 10
    why: Annotated[
        str | None,
        typer.Option(help="Show what spoke for and against this source instead of the ranking."),
    ] = None
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Results table (target,source,performance) or validate run: print regret.",
            metavar="TABLE",
        ),
    ] = None
    out: OutFile = None
    strict: Strict = False


@grouped
def rank(
    target: Annotated[str, typer.Argument(help="Target folder, file or Hub id.")],
    sources: SourceOptions,
    scoring: ScoringOptions,
    uncertainty: UncertaintyOptions,
    reading: ReadingOptions,
    machine: MachineOptions,
    view: ViewOptions,
    output: OutputOptions,
    identifier: TargetName = None,
) -> None:
    """Rank the pool's sources for every attribute of a target."""
    from esm.common.records import build_settings
    from esm.metrics.evaluate import evaluate_rankings, read_truth
    from esm.pool.pool import Pool
    from esm.ranking.rank import rank_sources
    from esm.ranking.result import RankConfig, ranking_table
    from esm.report.ranking import ranking_tables
    from esm.report.why import why_tables
    from esm.trials.results import results_table

    results = scoring.results
    settings = asdict(scoring) | asdict(uncertainty)
    settings |= {
        "results": None if results is None else str(results.resolve()),
        "licences": commas(sources.licence),
        "exclude_overlap": sources.exclude_overlap,
        "near_tests": sources.near_tests,
        "shortlist": sources.shortlist,
        "strict": view.strict,
    }
    ranking = rank_sources(
        reading.spec(target, identifier=identifier),
        Pool.open(sources.pool.resolve()),
        build_settings(RankConfig, settings),
        cache=machine.open_cache(),
        device=machine.device,
        base=None if sources.base is None else base_model(sources.base),
        results=None if results is None else read_truth(results_table(results))[0],
    )
    if view.truth is not None:
        judged = evaluate_rankings(ranking_table(ranking), results_table(view.truth))
        ranking = ranking.model_copy(update={"truth": judged.as_dict()})
    write_out(view.out, ranking.as_dict(), ranking.records())
    shown = ranking_tables(ranking, view.top) if view.why is None else why_tables(ranking, view.why)
    output.show(ranking.as_dict(), shown)
