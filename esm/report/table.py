"""Show results to a person: tables that fit a terminal, aligned plain text in a pipe."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esm.report.layout import GAP, Column, arrange, fold

if TYPE_CHECKING:
    from rich.console import Console

    from esm.pool.pool import Skipped

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
        left: Columns of texts, aligned left; the others, numbers, are aligned right.
        further: Columns that are shown with ``--wide`` alone.
        keys: How many of the first columns say what a row is about: they are repeated where the
            columns are too many to stand side by side.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    left: frozenset[str] = field(default_factory=frozenset)
    further: frozenset[str] = field(default_factory=frozenset)
    keys: int = 1


def notes_table(lines: Sequence[str]) -> list[Table]:
    """Return lines to print below tables; nothing where there are none."""
    return [Table("", (), (), list(lines))] if lines else []


def print_tables(tables: Iterable[Table], *, wide: bool = False) -> None:
    """Print tables on stdout, styled and as wide as the terminal, or plain.

    Plain text is as wide as its columns, for programs that read lines, unless the environment says
    how wide it may be (``COLUMNS``).

    Args:
        tables: The tables.
        wide: Show all columns.
    """
    tables = list(tables)
    if not wide:
        further = dict.fromkeys(
            head for table in tables for head in table.columns if head in table.further
        )
        tables += notes_table([f"--wide also shows: {', '.join(further)}"] if further else [])
    if sys.stdout.isatty():
        from rich.console import Console

        print_styled(tables, Console(), wide=wide)
        return
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and int(columns) else None
    for table in tables:
        print(plain(table, wide=wide, width=width), flush=True)  # noqa: T201


def plain(table: Table, *, wide: bool = False, width: int | None = None) -> str:
    """Return a table as aligned text, with an empty line below.

    Args:
        table: The table.
        wide: Show all columns.
        width: Cells of a line; None for as many as it takes.
    """
    return "\n".join([*(text for _, text in _lines(table, wide=wide, width=width)), ""])


_BREAKS = re.compile(r"[ ]*[\r\n\t]+[ ]*")
_STYLES = {"title": "bold", "heads": "bold", "note": "dim"}


def print_styled(tables: Iterable[Table], console: Console, *, wide: bool = False) -> None:
    """Print tables to a terminal. Names come from data: none of them is read as markup."""
    from rich.text import Text

    for table in tables:
        for kind, line in _lines(table, wide=wide, width=console.width, rule=True):
            console.print(Text(line, _STYLES.get(kind, "")), soft_wrap=True)
        console.print()


def _lines(
    table: Table, *, wide: bool, width: int | None, rule: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the lines of a table, each with what it is."""
    if table.title:
        yield from (("title", line) for line in _folded(table.title, width))
    columns = [
        Column(head, [_BREAKS.sub(" ", row[i]) for row in table.rows], head in table.left)
        for i, head in enumerate(table.columns)
        if wide or head not in table.further
    ]
    heads = [column.head for column in columns]
    for n, block in enumerate(arrange(columns, table.keys, width) if columns else ()):
        if n:
            yield "gap", ""
        yield from (("heads", line) for line in block.lines(heads, bottom=True))
        if rule:
            yield "rule", GAP.join("─" * cells for cells in block.widths)
        for row in zip(*(column.cells for column in columns), strict=True):
            yield from (("row", line) for line in block.lines(row))
    for note in table.notes:
        yield from (("note", line) for line in _folded(note, width))


def _folded(text: str, width: int | None) -> list[str]:
    """Fold a sentence; what goes on is indented."""
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return [text] if width is None else fold(text, width, indent)


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
