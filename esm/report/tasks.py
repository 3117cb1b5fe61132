"""Tables of what data there are: the registry, the languages of a target, the caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.report.classes import row_notes
from esm.report.numbers import MISSING, number, size
from esm.report.ranking import unusable_table
from esm.report.reliability import flag_notes, licence_flag
from esm.report.table import LICENCE_LETTERS, Table
from esm.tasks.licences import licence_label

if TYPE_CHECKING:
    from esm.common.caches import Cache
    from esm.tasks.faults.findings import Finding
    from esm.tasks.guess.propose import Proposal
    from esm.tasks.guess.roles import Guess
    from esm.tasks.registry import RegistryEntry


def registry_tables(entries: Sequence[RegistryEntry]) -> list[Table]:
    """Return the registry: name, Hub id, kind, language, licence, what it is good for."""
    rows = [
        (
            entry.name,
            entry.hub + (f" ({entry.config})" if entry.config else ""),
            entry.kind + (" of pairs" if entry.text_pair else ""),
            entry.language,
            licence_flag(entry.licence) or MISSING,
            licence_label(entry.licence, longest=LICENCE_LETTERS),
            entry.good_for,
        )
        for entry in entries
    ]
    columns = ("name", "Hub dataset", "kind", "language", "flags", "licence", "good for")
    notes = ["esm train registry:NAME --pool DIR trains on one; --json tells where it was checked"]
    notes += flag_notes(row[4] for row in rows)
    further = frozenset({"Hub dataset", "licence"})
    title = f"{len(entries)} source tasks"
    return [Table(title, columns, rows, notes, frozenset(columns), further)]


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


def proposal_tables(proposal: Proposal, written: Path) -> list[Table]:
    """Return what each column is proposed as and why, and how rows are to be split."""
    columns = ("column", "proposed as", "why")
    rows = [(guess.name, _proposed_as(guess), guess.why) for guess in proposal.guesses]
    split = proposal.spec.split.method
    notes = [
        f"split: {split}: {proposal.reasons['split']}",
        *(
            f"{guess.name}: min_per_class = {guess.how.min_per_class}, rare = {guess.how.rare}:"
            f" {guess.about_rare}"
            for guess in proposal.guesses
            if guess.how is not None and guess.about_rare
        ),
        f"written to {written}: check it and edit it; then: esm tasks show {written}",
    ]
    title = f"{proposal.spec.path.name}: {proposal.rows:,} rows"
    return [Table(title, columns, rows, notes, frozenset(columns))]


def _proposed_as(guess: Guess) -> str:
    return guess.role.value if guess.how is None else f"{guess.role}: {guess.how.kind}"


def finding_tables(findings: Sequence[Finding]) -> list[Table]:
    """Return what may spoil results, and what to do about each; nothing where all is well."""
    if not findings:
        return []
    columns = ("finding", "attribute", "count", "what", "what to do")
    rows = [
        (
            finding.kind.value,
            finding.attribute or MISSING,
            f"{finding.count:,}",
            finding.message,
            finding.hint,
        )
        for finding in findings
    ]
    title = (
        f"{len(findings)} things may spoil results"
        if len(findings) > 1
        else ("1 thing may spoil results")
    )
    return [Table(title, columns, rows, left=frozenset(columns) - {"count"}, keys=2)]


_SPLITS = ("train", "validation", "test")
# Krippendorff, "Reliability in Content Analysis", Human Communication Research 30 (2004), p. 429.
_LOWEST_AGREEMENT = 0.667


def task_list(
    found: Sequence[Mapping[str, Any]], skipped: Sequence[Mapping[str, str]]
) -> list[Table]:
    """Return one line per attribute of every description (see :mod:`esm.tasks.faults.describe`)."""
    rows = [
        (
            attribute["id"],
            attribute["problem"] + (" of pairs" if attribute["is_pair"] else ""),
            str(len(attribute["label_names"])) if attribute["label_names"] else MISSING,
            *(_rows(attribute, split) for split in _SPLITS),
            attribute["metric"],
            attribute["metadata"]["language"] or MISSING,
            licence_flag(attribute["metadata"]["license"]) or MISSING,
            licence_label(attribute["metadata"]["license"], longest=LICENCE_LETTERS),
        )
        for described in found
        for attribute in described["attributes"].values()
    ]
    columns = ("task", "problem", "classes", *_SPLITS, "metric", "language", "flags", "licence")
    left = frozenset({"task", "problem", "metric", "language", "flags", "licence"})
    further = frozenset({"validation", "metric", "licence"})
    unusable = {
        f"{described['id']}/{name}": reason
        for described in found
        for name, reason in described["skipped"].items()
    }
    notes = [f"{len(skipped)} skipped:"] if skipped else []
    notes += [f"  {skip['source']}: {skip['reason']}" for skip in skipped]
    notes += flag_notes(row[columns.index("flags")] for row in rows)
    return [Table("", columns, rows, notes, left, further), *unusable_table(unusable)]


def _rows(attribute: Mapping[str, Any], split: str) -> str:
    return str(attribute["splits"][split]["rows"]) if split in attribute["splits"] else MISSING


def task_details(described: Mapping[str, Any]) -> list[Table]:
    """Return, per attribute of a description, rows and balance of every split, and warnings."""
    tables = [
        _details(f"{described['id']}/{name}", attribute)
        for name, attribute in described["attributes"].items()
    ]
    return [*tables, *unusable_table(described["skipped"])]


def _details(name: str, attribute: Mapping[str, Any]) -> Table:
    splits = [name for name in _SPLITS if name in attribute["splits"]]
    rows = [
        ("rows", *(_rows(attribute, split) for split in splits)),
        ("words, median", *(_words(attribute, split, "median") for split in splits)),
        ("words, longest", *(_words(attribute, split, "max") for split in splits)),
        ("duplicate rows", *(str(attribute["splits"][s]["duplicates"]) for s in splits)),
    ]
    for label in attribute["splits"]["train"]["labels"]:
        shares = [attribute["splits"][split]["labels"][label] for split in splits]
        rows.append((f"  {label}", *(_share(share) for share in shares)))
    notes = [*row_notes(attribute), *agreement_notes(attribute["agreement"])]
    if attribute["shared_train_test"]:
        notes.append(
            f"{attribute['shared_train_test']} texts are in train and in test: results on test will"
            " flatter"
        )
    pairs = " of pairs" if attribute["is_pair"] else ""
    title = f"{name}: {attribute['problem']}{pairs}, metric {attribute['metric']}"
    return Table(title, ("", *splits), rows, notes, frozenset({""}))


def agreement_notes(agreement: Mapping[str, Any] | None) -> list[str]:
    """Return how far annotators agree; nothing where each text has one."""
    if agreement is None:
        return []
    level = agreement["level"]
    found = f"none ({agreement['why_none']})"
    if agreement["alpha"] is not None:
        found = f"{agreement['alpha']:.2f} ({level})"
    notes = [
        f"agreement of {agreement['annotators']} annotators: Krippendorff's alpha {found} over"
        f" {agreement['texts']} texts that several annotated; {agreement['ties']} have no majority"
    ]
    if agreement["alpha"] is not None and agreement["alpha"] < _LOWEST_AGREEMENT:
        notes.append(
            f"below {_LOWEST_AGREEMENT}, Krippendorff (2004) calls conclusions from such labels"
            " unsupported"
        )
    if agreement["repeated"]:
        notes.append(
            f"{agreement['repeated']} annotations came again from the same person: the last counts"
        )
    return notes


def _words(attribute: Mapping[str, Any], split: str, which: str) -> str:
    return number(attribute["splits"][split]["words"][which], 0)


def _share(share: Mapping[str, float] | float) -> str:
    if isinstance(share, Mapping):
        return f"{share['rows']:.0f} ({100 * share['share']:.0f} %)"
    return number(share)
