"""Tables of what data there are: the registry, the languages of a target, the caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.report.table import LICENCE_LETTERS, MISSING, Table, size
from esm.tasks.licences import marked

if TYPE_CHECKING:
    from esm.common.caches import Cache
    from esm.tasks.registry import RegistryEntry


def registry_tables(entries: Sequence[RegistryEntry]) -> list[Table]:
    """Return the registry: name, Hub id, kind, language, licence, what it is good for."""
    rows = [
        (
            entry.name,
            entry.hub + (f" ({entry.config})" if entry.config else ""),
            entry.kind + (" of pairs" if entry.text_pair else ""),
            entry.language,
            marked(entry.licence, longest=LICENCE_LETTERS),
            entry.good_for,
        )
        for entry in entries
    ]
    columns = ("name", "Hub dataset", "kind", "language", "licence", "good for")
    notes = ["esm train registry:NAME --pool DIR trains on one; --json tells where it was checked"]
    return [Table(f"{len(entries)} source tasks", columns, rows, notes, frozenset(columns))]


def language_tables(language: Mapping[str, Any]) -> list[Table]:
    """Return what is declared and detected of a target's language (see ``describe``)."""
    detected = f"{language['detected']} in {100 * language['share']:.0f} ±"
    detected += f" {100 * language['error']:.0f} % of {language['texts']} texts"
    row = (
        language["code"] if language["declared"] else MISSING,
        detected,
        language["runner_up"] or MISSING,
    )
    columns = ("declared language", "detected", "next")
    notes = []
    if language["contradicted"]:
        notes = [f"the texts look like {language['detected']}: check what is declared"]
    return [Table("", columns, [row], notes, frozenset(columns))]


def cache_tables(
    folder: Path, chosen: Sequence[Cache], kept: Sequence[Cache], *, removed: bool
) -> list[Table]:
    """Return what was removed, or would be, and what stays."""
    fate = "removed" if removed else "would be removed"
    rows = [
        (cache.kind, str(len(cache.files)), size(cache.bytes), what)
        for caches, what in ((chosen, fate), (kept, "kept"))
        for cache in caches
    ]
    notes = [
        f"{cache.kind}: without them those data are split anew, and test rows of earlier runs"
        " become training rows; --splits removes them"
        for cache in kept
    ]
    title = f"{folder}: {'nothing to remove' if not chosen else fate}"
    return [Table(title, ("cache", "files", "size", ""), rows, notes, frozenset({"cache", ""}))]
