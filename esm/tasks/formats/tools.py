"""The annotation tools whose exports are recognised by their shape, and how each is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esm.tasks.formats import doccano, google_forms, label_studio, prodigy, spacy
from esm.tasks.formats.json_rows import JsonRow, as_columns
from esm.tasks.raw import Table

# The first one that knows the shape reads the file.
_OF_ROWS = (
    label_studio.from_tasks,
    label_studio.from_rows,
    prodigy.from_rows,
    doccano.from_rows,
    spacy.from_rows,
)
_OF_TABLES = (label_studio.from_table, doccano.from_table, google_forms.from_table)


def columns_of_rows(path: Path, rows: Sequence[JsonRow]) -> Table:
    """Return the columns of JSON objects; what a known tool wrote is read as such, with a note.

    Raises:
        TaskError: The tool is known, and its labels cannot be read.
    """
    for read in _OF_ROWS if rows else ():
        export = read(path, rows)
        if export is not None:
            return export.told(path)
    return as_columns(rows)


def columns_of_table(path: Path, table: Table) -> Table:
    """Return the columns of a table; what a known tool wrote is read as such, with a note.

    Raises:
        TaskError: The tool is known, and its labels cannot be read.
    """
    for read in _OF_TABLES if table else ():
        export = read(path, table)
        if export is not None:
            return export.told(path)
    return table
