"""From results to the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esm.report import MISSING, Table, duration, number, size

if TYPE_CHECKING:
    from esm.build import BuildReport
    from esm.evaluate import Evaluation
    from esm.pool import Pool, PoolEntry, Skipped
    from esm.rank import AttributeRanking, Ranking

_NAMES = frozenset({"source", "task", "attribute", "target", "measure", "arm", "language"})


# --------------------------------------------------------------------------------------- ranking


def ranking_tables(ranking: Ranking, judged: Evaluation | None = None, top: int = 0) -> list[Table]:
    """Return one table per attribute: rank, source, score, predicted gain, R², size.

    Args:
        ranking: The ranking.
        judged: Its evaluation against measured results, if there is one.
        top: Sources to show per attribute; 0 for all.
    """
    return [
        _attribute_table(ranking, name, ranked, judged, top)
        for name, ranked in ranking.attributes.items()
    ]


def _attribute_table(
    ranking: Ranking, name: str, ranked: AttributeRanking, judged: Evaluation | None, top: int
) -> Table:
    shown = ranked.ranking[:top] if top else ranked.ranking
    notes = [
        f"{ranked.examples} training rows, {len(ranked.ranking)} sources, {ranking.config.form} maps,"
        f" {'balanced ' if ranked.balanced else ''}{ranking.scorer};"
        f" untouched base embeddings score {number(ranked.base_score, 4)}"
    ]
    if len(shown) < len(ranked.ranking):
        notes.append(f"{len(ranked.ranking) - len(shown)} further sources: --top 0")
    target = f"{ranking.target}/{name}"
    if judged is not None:
        notes += _truth_notes(judged, target)
    return Table(
        title=target,
        columns=("rank", "source", "score", "predicted gain", "map R²", "source rows"),
        rows=[
            (
                str(line.rank),
                line.source,
                number(line.score, 4),
                number(line.gain, 4, sign=True),
                number(line.r2, 2),
                str(line.size),
            )
            for line in shown
        ],
        notes=[*notes, *skipped_notes(ranked.skipped)],
        left=_NAMES,
    )


def _truth_notes(judged: Evaluation, target: str) -> list[str]:
    if target not in judged.targets:
        return [f"measured results: {judged.left_out.targets.get(target, 'none')}"]
    regrets = [
        f"{name} {number(value, 2)} %"
        for name, value in judged.targets[target].items()
        if name.startswith("regret@")
    ]
    return [f"by measured results: {', '.join(regrets)}"]


def skipped_notes(skipped: Sequence[Skipped]) -> list[str]:
    """Name what was left out and why, one line each."""
    if not skipped:
        return []
    return [f"{len(skipped)} skipped:", *(f"  {skip.source}: {skip.reason}" for skip in skipped)]


# ------------------------------------------------------------------------------------------ pool


def build_report(report: BuildReport) -> list[Table]:
    """Return what became of the tasks of one training run."""
    rows = [(source, "trained") for source in report.trained]
    rows += [(source, "was there") for source in report.present]
    return [
        Table(
            title=f"{report.folder}: {len(report.trained)} trained, {len(report.present)} were"
            f" there, {len(report.skipped)} skipped, {duration(report.seconds)}",
            columns=("source", "now"),
            rows=rows,
            notes=skipped_notes(report.skipped),
            left=frozenset({"source", "now"}),
        )
    ]


def pool_tables(pool: Pool, entries: Sequence[PoolEntry], skipped: Sequence[Skipped]) -> list[Table]:
    """Return a pool's sources: rows, quality of the tuned model, fit and size of the maps."""
    base = pool.manifest.base
    rows = [
        (
            entry.id,
            entry.record.metadata.language or MISSING,
            str(entry.record.num_used),
            f"{entry.record.metric} {number(entry.record.quality.get(entry.record.metric))}",
            form,
            str(fit.rank),
            number(fit.r2_source, 2),
            number(fit.r2_anchors, 2),
            size(fit.bytes),
            duration(sum(entry.record.seconds.values())),
        )
        for entry in entries
        for form, fit in sorted(entry.record.maps.items())
    ]
    columns = (
        "source",
        "language",
        "rows",
        "held-out quality",
        "map",
        "rank",
        "R² own",
        "R² others",
        "size",
        "time",
    )
    notes = [
        f"base model {base.model}, {base.pooling} pooling, {base.max_length} tokens, width"
        f" {base.width}; {pool.manifest.anchors.count} anchor texts, lift of width"
        f" {pool.manifest.lift.width}",
        "R² own: on held-out texts of the source; R² others: on anchor texts of other tasks",
    ]
    left = frozenset({"source", "language", "held-out quality", "map"})
    title = f"{pool.folder}: {len(entries)} sources"
    return [Table(title, columns, rows, [*notes, *skipped_notes(skipped)], left)]


# ------------------------------------------------------------------------------------ evaluation


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """Return every measure per target, averaged, and beside random and static orders."""
    names = list(evaluation.mean)
    rows = [
        (target, *(_measure(judged, name) for name in names))
        for target, judged in evaluation.targets.items()
    ]
    for label, judged in (
        ("mean", evaluation.mean),
        ("standard error", evaluation.standard_error),
        ("random order", evaluation.random),
        ("static order", evaluation.static),
    ):
        rows.append((label, *(_measure(judged, name) for name in names)))
    notes = ["regret in percent, 0 is perfect; random: exact expectation over all orders; static:"]
    notes.append("sources by their mean performance on the other targets, blind to this one")
    notes += [
        f"{target}: not judged, {reason}" for target, reason in evaluation.left_out.targets.items()
    ]
    notes += [
        f"{target}: {count} scored sources without results were left out"
        for target, count in evaluation.left_out.sources.items()
    ]
    return [Table("", ("target", *names), rows, notes, _NAMES)]


def _measure(judged: Mapping[str, float | None], name: str) -> str:
    return number(judged[name], 2 if name.startswith("regret") else 3)


# ----------------------------------------------------------------------------------------- tasks


def task_list(found: Sequence[Mapping[str, Any]], skipped: Sequence[Mapping[str, str]]) -> list[Table]:
    """Return one line per attribute of every description (see :mod:`esm.tasks.describe`)."""
    rows = []
    for described in found:
        for name, attribute in described["attributes"].items():
            splits = attribute["splits"]
            rows.append(
                (
                    described["id"],
                    name,
                    attribute["problem"] + (" (pairs)" if attribute["is_pair"] else ""),
                    str(len(attribute["label_names"])) if attribute["label_names"] else MISSING,
                    *(str(splits[s]["rows"]) if s in splits else MISSING for s in _SPLITS),
                    attribute["metric"],
                    described["language"] or MISSING,
                    described["license"] or MISSING,
                )
            )
    columns = ("task", "attribute", "problem", "classes", *_SPLITS, "metric", "language", "licence")
    left = _NAMES | {"problem", "metric", "licence"}
    notes = [f"{len(skipped)} skipped:"] if skipped else []
    notes += [f"  {skip['source']}: {skip['reason']}" for skip in skipped]
    return [Table(f"{len(found)} tasks", columns, rows, notes, left)]


_SPLITS = ("train", "validation", "test")
