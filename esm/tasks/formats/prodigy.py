"""Prodigy's exports (``prodigy db-out``): choices, yes or no to one label, and tags of words.

Shapes as in Prodigy's page "Annotation interfaces" (prodi.gy/docs/api-interfaces): every row has
an ``answer``: accept, reject or ignore.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esm.tasks.formats.annotations import (
    ANNOTATOR,
    AS_WORDS,
    LABEL,
    Export,
    Labels,
    classes_or_sets,
    left_out,
    spans_error,
)
from esm.tasks.formats.json_rows import JsonRow, as_columns, keys_of
from esm.tasks.formats.sentences import WORDS
from esm.tasks.guess.words import OCCASIONS, SENDERS, says

_ANSWERS = {"accept", "reject", "ignore"}
_OWN = {
    "accept",
    "answer",
    "config",
    "field_autofocus",
    "html",
    "label",
    "meta",
    "options",
    "priority",
    "relations",
    "score",
    "sessions",
    "spans",
    "style",
    "tokens",
    "versions",
    "view_id",
}
_TAGS = "tags"
_MANUAL = f"annotate with ner.manual, which stores the words with the spans; {AS_WORDS}"


def from_rows(path: Path, rows: Sequence[JsonRow]) -> Export | None:
    """Read what ``db-out`` writes; None where the rows are of another origin.

    Raises:
        TaskError: Labels belong to spans of the text, without the words or overlapping.
    """
    keys = keys_of(rows)
    if "text" not in keys or not all(row.get("answer") in _ANSWERS for row in rows):
        return None
    if "accept" in keys:
        return _choices(rows)
    if "spans" in keys and any(row.get("spans") for row in rows):
        return _tags(path, rows)
    if "label" in keys:
        return _yes_or_no(rows)
    if {"spans", "tokens"} <= keys:
        return _tags(path, rows)
    return _answers_alone(rows)


def _choices(rows: Sequence[JsonRow]) -> Export:
    """Read the interface ``choice``: ``accept`` holds the ids of the options that were chosen."""
    styles = {(row.get("config") or {}).get("choice_style") for row in rows}
    is_multiple = "multiple" in styles or any(len(row.get("accept") or ()) > 1 for row in rows)
    labels: list[Labels] = []
    for row in rows:
        chosen = [str(option) for option in row.get("accept") or ()]
        is_used = row["answer"] == "accept" and (chosen or is_multiple)
        labels.append(chosen if is_used else None)
    if is_multiple:
        about = f"{LABEL!r} holds sets of labels"
        column: list[Any] = list(labels)
    else:
        column, about = classes_or_sets(LABEL, labels)
    accepted = sum(row["answer"] == "accept" for row in rows)
    unchosen = accepted - sum(label is not None for label in labels)
    nothing = f"{unchosen} accepted rows chose nothing and have no label" if unchosen else ""
    return _export("choices", rows, {LABEL: column}, (about, nothing, _not_accepted(rows)))


def _not_accepted(rows: Sequence[JsonRow]) -> str:
    counts = Counter(row["answer"] for row in rows)
    parts = [f"{counts[answer]} {answer}" for answer in ("reject", "ignore") if counts[answer]]
    return f"rows without an accepted answer have no label ({', '.join(parts)})" if parts else ""


def _yes_or_no(rows: Sequence[JsonRow]) -> Export:
    """Read the interface ``classification``: whether the one label of a row holds.

    Each label becomes an attribute with the answers accept and reject: of a text, nothing is known
    of the labels that were not asked.
    """
    labels = list(dict.fromkeys(str(row["label"]) for row in rows if row.get("label")))
    merged: dict[tuple[str, str | None], JsonRow] = {}
    answers: list[dict[str, str]] = []
    places: dict[tuple[str, str | None], int] = {}
    changed = 0
    for row in rows:
        key = (row["text"], _annotator(row))
        if key not in merged:
            merged[key] = row
            places[key] = len(answers)
            answers.append({})
        if row.get("label") and row["answer"] != "ignore":
            of_text = answers[places[key]]
            label = str(row["label"])
            changed += of_text.get(label, row["answer"]) != row["answer"]
            of_text[label] = row["answer"]
    taken = {"text", "id", ANNOTATOR}
    columns = {
        f"label {label}" if label in taken else label: [given.get(label) for given in answers]
        for label in labels
    }
    ignored = sum(row["answer"] == "ignore" for row in rows)
    notes = (
        f"every label is an attribute of its own, with accept and reject ({len(labels)} labels,"
        f" {len(merged)} texts from {len(rows)} rows)",
        f"{ignored} ignored rows have no label" if ignored else "",
        f"{changed} answers were changed later: the last one counts" if changed else "",
    )
    return _export("yes or no to one label", list(merged.values()), columns, notes)


def _answers_alone(rows: Sequence[JsonRow]) -> Export:
    answers = [None if row["answer"] == "ignore" else row["answer"] for row in rows]
    about = "the answer is the label, accept or reject"
    ignored = answers.count(None)
    return _export(
        "yes or no to a text",
        rows,
        {LABEL: answers},
        (about, f"{ignored} ignored rows have no label" if ignored else ""),
    )


def _tags(path: Path, rows: Sequence[JsonRow]) -> Export:
    """Read the interface ``ner_manual``: spans of words become tags that begin with B- and I-."""
    if not all(row.get("tokens") for row in rows if row["answer"] == "accept"):
        raise spans_error(path, "Prodigy's export of spans without the words (tokens)", _MANUAL)
    words: list[list[str] | None] = []
    tags: list[list[str] | None] = []
    for row in rows:
        tokens = row.get("tokens") or ()
        words.append([str(token["text"]) for token in tokens] or None)
        tags.append(_tags_of(path, row) if row["answer"] == "accept" else None)
    kept = [{name: value for name, value in row.items() if name != "text"} for row in rows]
    columns = {WORDS[0]: words, _TAGS: tags}
    about = "the spans are read as a tag for every word"
    return _export("spans of words", kept, columns, (about, _not_accepted(rows)))


def _tags_of(path: Path, row: JsonRow) -> list[str]:
    tokens = row["tokens"]
    tags = ["O"] * len(tokens)
    for span in row.get("spans") or ():
        inside = [
            place
            for place, token in enumerate(tokens)
            if token["start"] < span["end"] and token["end"] > span["start"]
        ]
        if any(tags[place] != "O" for place in inside):
            raise spans_error(path, "Prodigy's export of spans that overlap", _MANUAL)
        for place in inside:
            tags[place] = f"{'B' if place == inside[0] else 'I'}-{span['label']}"
    return tags


def _export(
    what: str, rows: Sequence[JsonRow], labels: dict[str, list[Any]], notes: Sequence[str]
) -> Export:
    """Return texts, ids and labels, without what Prodigy keeps for itself."""
    found: list[JsonRow] = []
    dropped: set[str] = set()
    for row in rows:
        own = {name for name in row if name in _OWN or name.startswith("_")}
        dropped |= own
        kept = {name: value for name, value in row.items() if name not in own}
        found.append(kept | _origin(row.get("meta")) | {ANNOTATOR: _annotator(row)})
    columns: dict[str, list[Any]] = {**as_columns(found), **labels}
    who = {each for each in columns[ANNOTATOR] if each is not None}
    if len(who) < 2:
        del columns[ANNOTATOR]
    several = f"{len(who)} annotators" if len(who) > 1 else ""
    unread = left_out(dropped - {"accept", "answer", "label", "spans", "tokens"})
    return Export(f"Prodigy, {what}", columns, (*notes, several, unread))


def _annotator(row: JsonRow) -> str | None:
    who = row.get("_annotator_id") or row.get("_session_id")
    return None if who is None else str(who)


def _origin(meta: Any) -> JsonRow:
    """Return what the meta data say of where a text comes from: ids, and what rows can group by."""
    if not isinstance(meta, dict):
        return {}
    return {
        name: value
        for name, value in meta.items()
        if isinstance(value, str | int) and (name == "id" or says(name, SENDERS + OCCASIONS))
    }
