"""Files with a word and its tag in every line, and an empty line between sentences."""

from __future__ import annotations

from pathlib import Path

from esm.common.errors import TaskError
from esm.tasks.raw import Table

TOKENS, TAGS = "tokens", "tags"

_DOCUMENT = "-DOCSTART-"


def read_conll(path: Path, text: str) -> Table:
    """Read the columns ``tokens`` and ``tags`` of such a file: lists, a row per sentence.

    The first cell of a line is the word and the last one its tag, whatever stands between them.
    Cells are separated by tabs where there are any in the file, else by spaces. Lines that mark
    the beginning of a document are left out.

    Args:
        path: The file, for messages.
        text: What it holds.

    Raises:
        TaskError: A line has a single cell, or no word or no tag.
    """
    separator = "\t" if "\t" in text else None
    table: dict[str, list[list[str]]] = {TOKENS: [], TAGS: []}
    is_open = False
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.rstrip("\r").split(separator)
        if not line.strip() or cells[0] == _DOCUMENT:
            is_open = False
            continue
        word, tag = cells[0], cells[-1].strip()
        if len(cells) < 2 or not word.strip() or not tag:
            # Only the place: the file's texts stay out of messages.
            raise TaskError(
                f"{path} cannot be read: line {number} has not both a word and a tag",
                expected="WORD, a tab and TAG in every line, and an empty line between sentences",
                hint="mend the line",
            )
        if not is_open:
            table[TOKENS].append([])
            table[TAGS].append([])
            is_open = True
        table[TOKENS][-1].append(word)
        table[TAGS][-1].append(tag)
    return dict(table)
