"""From pools, and what fills them, to the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from esm.pool.records import MapRecord
from esm.report.numbers import MISSING, duration, number, size
from esm.report.reliability import flag_notes, licence_flag
from esm.report.table import LICENCE_LETTERS, Table, notes_table, skipped_notes
from esm.tasks.licences import licence_label

if TYPE_CHECKING:
    from esm.maps.forms import MapForm
    from esm.pool.build import BuildReport
    from esm.pool.hub.hub import Listing
    from esm.pool.hub.pull import PullReport
    from esm.pool.hub.push import PushReport
    from esm.pool.pack import PackReport
    from esm.pool.pool import Pool, PoolEntry, Skipped, SourceRecord
    from esm.pool.verify import VerifyReport


def build_report(report: BuildReport) -> list[Table]:
    """Return what became of the tasks of one training run."""
    rows = [(source, "trained") for source in report.trained]
    rows += [(source, "completed, not trained again") for source in report.completed]
    rows += [(source, "was there") for source in report.present]
    completed = f"{len(report.completed)} completed, " if report.completed else ""
    return [
        Table(
            title=f"{report.folder}: {len(report.trained)} trained,"
            f" {completed}{len(report.present)} were there, {len(report.skipped)} skipped,"
            f" {duration(report.seconds)}",
            columns=("source", "now"),
            rows=rows,
            notes=[*_without_delta(report.without_delta), *skipped_notes(report.skipped)],
            left=frozenset({"source", "now"}),
        )
    ]


def _without_delta(sources: Sequence[str]) -> list[str]:
    if not sources:
        return []
    return [
        f"without a delta, their tuned encoders not being kept: {', '.join(sources)}; rankings go"
        " by their maps (--replace trains them again)"
    ]


def pool_tables(
    pool: Pool, entries: Sequence[PoolEntry], skipped: Sequence[Skipped], *, of: int | None = None
) -> list[Table]:
    """Return a pool's sources: rows, quality of the tuned model, fit and size of the maps.

    Args:
        pool: The pool.
        entries: Sources to show.
        skipped: Damaged ones.
        of: How many there are, where these are some of them.
    """
    rows = [
        (
            entry.id,
            entry.record.metadata.language or MISSING,
            licence_flag(entry.record.metadata.license) or MISSING,
            licence_label(entry.record.metadata.license, longest=LICENCE_LETTERS),
            MISSING if entry.record.num_used is None else str(entry.record.num_used),
            _quality(entry.record),
            form,
            str(fit.rank) if isinstance(fit, MapRecord) else MISSING,
            number(fit.r2_source, 2),
            number(fit.r2_anchors, 2),
            size(fit.bytes),
            duration(sum(entry.record.seconds.values())) if entry.record.seconds else MISSING,
        )
        for entry in entries
        for form, fit in entry.record.fits()
    ]
    columns = (
        "source",
        "language",
        "flags",
        "licence",
        "rows",
        "held-out quality",
        "map",
        "rank",
        "R² own",
        "R² others",
        "size",
        "time",
    )
    left = frozenset({"source", "language", "flags", "licence", "held-out quality", "map"})
    further = {"licence", "rank", "R² own", "size", "time"}
    # A source with a map and a delta has two lines, and what they are takes the language's place.
    alone = len({form for entry in entries for form, _ in entry.record.fits()}) < 2
    further.add("map" if alone else "language")
    notes = [
        *_pool_notes(pool, entries),
        *flag_notes(row[2] for row in rows),
        *skipped_notes(skipped),
    ]
    some = "" if of in (None, len(entries)) else f" of {of}"
    title = f"{pool.folder}: {len(entries)}{some} sources"
    return [Table(title, columns, rows, notes, left, frozenset(further))]


def _quality(record: SourceRecord) -> str:
    if record.metric is None:
        return MISSING
    after = record.quality.get(record.metric)
    before = record.quality.get(f"{record.metric}_before")
    if before is not None:  # of a corpus: what it ended with says nothing by itself
        return f"{record.metric} {number(before, 1)} → {number(after, 1)}"
    return f"{record.metric} {number(after)}"


def _pool_notes(pool: Pool, entries: Sequence[PoolEntry]) -> list[str]:
    manifest = pool.manifest
    base = (
        f"base model {manifest.base.model}, {manifest.base.pooling} pooling,"
        f" {manifest.base.reading}, width {manifest.base.width}"
    )
    if manifest.anchors is None or manifest.lift is None:
        return [base, "maps from the Hub: rows and licence as published, R² not known"]
    return [
        f"{base}; {manifest.anchors.count} anchor texts, lift of width {manifest.lift.width}",
        "R² others: on anchor texts of other tasks; R² own (--wide): on held-out texts of the"
        " source",
        *_left_out_notes(entries),
    ]


def _left_out_notes(entries: Sequence[PoolEntry]) -> list[str]:
    """Say what deltas leave out, and how many sources have none."""
    deltas = [entry.record.delta for entry in entries]
    most = max((len(one.left_out) for one in deltas if one is not None), default=0)
    notes = []
    if most:
        notes.append(
            f"deltas leave out embedding tables and what is not worth its bytes, at most {most}"
            " weights that tuning changed"
        )
    if 0 < deltas.count(None) < len(deltas):
        notes.append(f"{deltas.count(None)} of {len(deltas)} sources have no delta")
    return notes


def pack_report(report: PackReport) -> list[Table]:
    """Return what was packed."""
    rows = [
        ("sources", str(report.sources)),
        ("maps", str(report.maps)),
        ("before", size(report.bytes_before)),
        ("bundle", size(report.bytes_after)),
        ("skipped", str(len(report.skipped))),
    ]
    losses = list(report.losses.values())
    if losses:
        mean, most = 100 * sum(losses) / len(losses), 100 * max(losses)
        rows.append(("lost by compression, mean / most", f"{mean:.1f} % / {most:.1f} %"))
    notes = [f"not packed: {name} of {count}" for name, count in sorted(report.left_out.items())]
    return [
        Table(
            title=f"{report.folder}: packed from {report.pool}, {duration(report.seconds)}",
            columns=("what", "how much"),
            rows=rows,
            notes=[*notes, *skipped_notes(report.skipped)],
            left=frozenset({"what"}),
        )
    ]


def index_report(pool: str, found: Mapping[MapForm, int]) -> list[Table]:
    """Return how many maps of each form were indexed."""
    rows = [(str(form), str(count)) for form, count in found.items()]
    return [Table(f"{pool}: indexed", ("form", "maps"), rows, left=frozenset({"form"}))]


def verify_report(report: VerifyReport) -> list[Table]:
    """Return what is wrong with a pool."""
    rows = [(fault.source or "(the whole pool)", fault.reason) for fault in report.faults]
    shared = sum(not fault.source for fault in report.faults)
    verdict = (
        f"{report.folder}: whole sources {report.sources} (maps {report.maps}), damaged"
        f" {len(report.bad)}, faults of the whole pool {shared}; {duration(report.seconds)}"
    )
    if not rows:
        return notes_table([verdict])
    return [
        Table(
            title=verdict,
            columns=("source", "fault"),
            rows=rows,
            left=frozenset({"source", "fault"}),
        )
    ]


def pull_report(report: PullReport) -> list[Table]:
    """Return what became of the maps on the Hub."""
    rows = [
        ("found on the Hub", str(report.found)),
        ("fetched now", str(len(report.fetched))),
        ("were there", str(len(report.present))),
        *((f"left out by {name}", str(count)) for name, count in report.left_out.items()),
        ("skipped", str(len(report.skipped))),
    ]
    return [
        Table(
            title=f"{report.folder}: maps for {report.base}, {duration(report.seconds)}",
            columns=("maps", "number"),
            rows=rows,
            notes=skipped_notes(report.skipped),
            left=frozenset({"maps"}),
        )
    ]


def push_report(report: PushReport) -> list[Table]:
    """Return what was published, or would be, and where."""
    columns = ("source", "repository", "at")
    rows = [(line.source, line.repo, line.url or line.folder or MISSING) for line in report.pushed]
    done = "would be published" if report.dry_run else "published"
    return [
        Table(
            title=f"{len(rows)} maps {done}",
            columns=columns,
            rows=rows,
            notes=skipped_notes(report.skipped),
            left=frozenset(columns),
        )
    ]


def listing_table(base: str, listings: Sequence[Listing]) -> list[Table]:
    """Return the maps that the Hub has for a base model."""
    columns = ("map", "datasets", "licence of the map", "commit")
    rows = [
        (found.repo, ", ".join(found.datasets) or MISSING, found.licence or MISSING, found.commit)
        for found in listings
    ]
    return [
        Table(
            f"{len(rows)} maps for {base} on the Hub",
            columns,
            rows,
            left=frozenset(columns),
            further=frozenset({"commit"}),
        )
    ]
