"""fastText's files: in every line the labels, each after ``__label__``, and then the text.

Shape as in fastText's page "Text classification" (fasttext.cc/docs/en/supervised-tutorial.html).
"""

from __future__ import annotations

import re

from esm.tasks.formats.annotations import LABEL, Export, Labels, classes_or_sets, unannotated

_MARK = "__label__"
_FIRST = re.compile(rf"\s*((?:{_MARK}\S+\s*,?\s+)+)")
_NEARLY_ALL = 0.9
_LINES_LOOKED_AT = 200


def is_fasttext(text: str) -> bool:
    """Return whether nearly all of the first lines begin with a label."""
    if not text.lstrip().startswith(_MARK):
        return False
    lines = [line for line in text.split("\n", _LINES_LOOKED_AT)[:_LINES_LOOKED_AT] if line.strip()]
    return sum(line.lstrip().startswith(_MARK) for line in lines) >= _NEARLY_ALL * len(lines)


def read_fasttext(text: str) -> Export:
    """Read the lines; one without a label is not annotated."""
    texts: list[str] = []
    labels: list[Labels] = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        found = _FIRST.match(line + " ")
        marks = found[1].split() if found else []
        labels.append(
            [mark.strip(",").removeprefix(_MARK) for mark in marks if _MARK in mark] or None
        )
        texts.append(line[found.end() :].strip() if found else line.strip())
    column, about = classes_or_sets(LABEL, labels)
    empty = unannotated(labels.count(None), len(labels))
    return Export("fastText lines", {"text": texts, LABEL: column}, (about, empty))
