"""Show results to a person: tables in a terminal, aligned plain text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod

    from esm.pool.pool import Skipped

MISSING = "-"

LICENCE_LETTERS = 28
"""Letters of a licence that a table shows; JSON has it whole."""


@dataclass(frozen=True)
class Table:
    """A table to print.

    Attributes:
        title: What it shows.
        columns: Column heads.
        rows: Cells as text.
        notes: Lines under the table: what was left out, what a column means.
        left: Columns aligned left; the others, numbers, are aligned right.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    left: frozenset[str] = field(default_factory=frozenset)


def notes_table(lines: Sequence[str]) -> list[Table]:
    """Return lines to print below tables; nothing where there are none."""
    return [Table("", (), (), list(lines))] if lines else []


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables on stdout, with colour and frames only where a terminal shows them."""
    if sys.stdout.isatty():
        from rich.console import Console

        print_framed(tables, Console())
        return
    for table in tables:
        print(plain(table), flush=True)  # noqa: T201


def plain(table: Table) -> str:
    """Return a table as aligned text without frames."""
    lines = [list(table.columns), *(list(row) for row in table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    text = [table.title] if table.title else []
    for line in lines:
        cells = [
            cell.ljust(width) if column in table.left else cell.rjust(width)
            for cell, width, column in zip(line, widths, table.columns, strict=True)
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join([*text, *table.notes, ""])


def print_framed(tables: Iterable[Table], console: Console) -> None:
    """Print tables with frames. Names come from data: none of them is read as markup."""
    from rich.table import Table as RichTable
    from rich.text import Text

    for table in tables:
        title = Text(table.title, style="bold") if table.title else None
        shown = RichTable(title=title, title_justify="left")
        for column in table.columns:
            justify: JustifyMethod = "left" if column in table.left else "right"
            shown.add_column(Text(column), justify=justify)
        for row in table.rows:
            shown.add_row(*(Text(cell) for cell in row))
        console.print(shown)
        for line in table.notes:
            console.print(Text(line, style="dim"))
        console.print()


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Format a number, or a dash where there is none."""
    if value is None or value != value:
        return MISSING
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Format seconds for a person.

    Example:
        >>> duration(3725)
        '1 h 2 min'
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Format a number of bytes in decimal units.

    Example:
        >>> size(57_300)
        '57.3 kB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


_MOST_CLASSES_NAMED = 5


def untested_note(name: str, untested: Sequence[str]) -> list[str]:
    """Say beside a verdict which classes it was reached without."""
    if not untested:
        return []
    some = ", ".join(map(repr, untested[:_MOST_CLASSES_NAMED]))
    more = len(untested) - _MOST_CLASSES_NAMED
    named = f"{some} and {more} more" if more > 0 else some
    kind = "class" if len(untested) == 1 else "classes"
    return [f"{name} is judged without {kind} {named}: no test row has it"]


def skipped_notes(skipped: Sequence[Skipped]) -> list[str]:
    """Name what was left out and why, one line each."""
    if not skipped:
        return []
    return [f"{len(skipped)} skipped:", *(f"  {skip.source}: {skip.reason}" for skip in skipped)]
