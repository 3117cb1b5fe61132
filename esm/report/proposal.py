"""Tables of what a file's columns are proposed as, and of what is wrong with data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from esm.report.table import MISSING, Table

if TYPE_CHECKING:
    from esm.tasks.faults.findings import Finding
    from esm.tasks.guess.propose import Proposal
    from esm.tasks.guess.roles import Guess


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
    return [Table(title, columns, rows, left=frozenset(columns) - {"count"})]
