"""Predictions as annotation tools take them: proposals that a person confirms or corrects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from esm.common.errors import SettingError, StorageError
from esm.common.storage import write_atomic
from esm.inference.predictions import AttributePredictions, Predictions
from esm.tasks.raw import is_missing, to_id
from esm.tasks.tagging import as_words, join_words, words_of
from esm.tasks.task import Problem

Record = dict[str, Any]


class Tool(StrEnum):
    """An annotation tool that reads predictions."""

    LABEL_STUDIO = "label-studio"
    DOCCANO = "doccano"
    PRODIGY = "prodigy"


SUFFIXES = {Tool.LABEL_STUDIO: ".json", Tool.DOCCANO: ".jsonl", Tool.PRODIGY: ".jsonl"}

_TEXT, _PAIR = "text", "text_pair"
_PRODIGY_KEYS = {"options", "accept", "answer", "label", "spans", "tokens", "meta", "config"}


def check_target(path: Path, tool: Tool) -> None:
    """Refuse a file whose name the tool does not take.

    Raises:
        StorageError: It ends in something else.
    """
    if path.suffix != SUFFIXES[tool]:
        raise StorageError(
            f"{path} ends in {path.suffix!r}", expected=f"{SUFFIXES[tool]} for {tool}"
        )


def write_preannotations(predictions: Predictions, path: Path, tool: Tool) -> tuple[Path, ...]:
    """Write predictions as a tool's pre-annotations; the file's columns, ids too, come along.

    For Label Studio these are tasks to import, and beside them the labeling configuration that
    they fit; for doccano and Prodigy, which hold one attribute a project, a row per text.

    Args:
        predictions: What was predicted.
        path: A .json file for Label Studio, a .jsonl file for the others; only its owner reads it.
        tool: Which tool.

    Returns:
        The files that were written.

    Raises:
        StorageError: Another suffix, or a file cannot be written.
        SettingError: Several attributes, or an amount, for a tool that holds neither.

    Source:
        Label Studio: labelstud.io/guide/predictions; doccano: backend/data_import of version 1.8.4;
        Prodigy: prodi.gy/docs/api-interfaces.
    """
    check_target(path, tool)
    rows = list(_rows(predictions))
    if tool is Tool.LABEL_STUDIO:
        tasks = [_label_studio(predictions, row, record) for row, record in enumerate(rows)]
        write_atomic(path, json.dumps(tasks, ensure_ascii=False, indent=1).encode(), private=True)
        config = path.with_suffix(".xml")
        write_atomic(config, label_config(predictions).encode(), private=True)
        return path, config
    found = _only_one(predictions, tool)
    write = _doccano if tool is Tool.DOCCANO else _prodigy
    lines = [
        json.dumps(write(found, row, each), ensure_ascii=False) for row, each in enumerate(rows)
    ]
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode(), private=True)
    return (path,)


def _only_one(predictions: Predictions, tool: Tool) -> AttributePredictions:
    found = list(predictions.attributes.values())
    if len(found) > 1:
        raise SettingError(
            f"{len(found)} attributes were predicted: {', '.join(predictions.attributes)}",
            expected=f"one, because a project of {tool} has one set of labels",
            hint="--attribute NAME, and a file for each",
        )
    if found[0].problem is Problem.REGRESSION:
        raise SettingError(
            f"attribute {found[0].name!r} is an amount",
            expected=f"labels: {tool} has no numbers to confirm",
            hint="--format label-studio",
        )
    return found[0]


def _rows(predictions: Predictions) -> Iterator[Record]:
    """Yield each row with its texts under fixed names, and all other columns as they are."""
    named = dict(zip(predictions.texts, (_TEXT, _PAIR), strict=False))
    is_tagged = any(found.problem is Problem.TAGGING for found in predictions.attributes.values())
    taken = {*named.values()} - named.keys()
    for cells in zip(*predictions.columns.values(), strict=True):
        record: Record = {}
        for name, cell in zip(predictions.columns, cells, strict=True):
            value = None if not isinstance(cell, list | dict) and is_missing(cell) else cell
            if name in named:
                record[named[name]] = _text(value, is_tagged)
            else:
                record[f"{name}_given" if name in taken else name] = _plain(value)
        yield record


def _text(cell: Any, is_tagged: bool) -> str:
    if cell is None:
        return ""
    # Tags belong to the words between single spaces.
    return join_words(as_words(cell) or ()) if is_tagged or isinstance(cell, list) else str(cell)


def _plain(cell: Any) -> Any:
    if isinstance(cell, list):
        return [_plain(item) for item in cell]
    return cell if isinstance(cell, str | bool | int | float | None) else str(cell)


def _confidence(found: AttributePredictions, row: int) -> float | None:
    if found.confidence is None or np.isnan(found.confidence[row]):
        return None
    return round(float(found.confidence[row]), 4)


def _labels(found: AttributePredictions, row: int) -> list[str]:
    label = found.labels[row]
    if label is None:
        return []
    return [str(each) for each in label] if isinstance(label, tuple) else [str(label)]


def _spans(text: str, tags: Sequence[str] | None) -> list[tuple[int, int, int, int, str]]:
    """Return first and last word, first character, the one after the last, and type of spans.

    Tags that mark no spans, such as parts of speech, are spans of one word each.
    """
    spans: list[tuple[int, int, int, int, str]] = []
    start = 0
    for place, (word, tag) in enumerate(zip(words_of(text), tags or (), strict=False)):
        end = start + len(word)
        prefix, _, kind = tag.partition("-")
        if prefix == "I" and kind and spans and spans[-1][1] == place - 1 and spans[-1][4] == kind:
            first, _, begin, _, _ = spans.pop()
            spans.append((first, place, begin, end, kind))
        elif tag != "O":
            spans.append((place, place, start, end, kind or tag))
        start = end + 1
    return spans


# ------------------------------------------------------------------------------- Label Studio


def label_config(predictions: Predictions) -> str:
    """Return the labeling configuration that pre-annotations fit: a control per attribute."""
    second = '  <Text name="text_pair" value="$text_pair"/>\n' if predictions.texts[1:] else ""
    controls = "".join(
        _control(control, found) for control, found in _controls(predictions).items()
    )
    return f'<View>\n  <Text name="text" value="$text"/>\n{second}{controls}</View>\n'


def _controls(predictions: Predictions) -> Mapping[str, AttributePredictions]:
    """Return the attributes by the name of their control: letters and digits, none twice."""
    controls: dict[str, AttributePredictions] = {}
    for found in predictions.attributes.values():
        name = to_id(found.name)
        while name in controls:
            name += "-2"
        controls[name] = found
    return controls


def _control(name: str, found: AttributePredictions) -> str:
    head = f"  <Header value={quoteattr(found.name)}/>\n"
    if found.problem is Problem.REGRESSION:
        return f'{head}  <Number name="{name}" toName="text"/>\n'
    kinds = found.classes
    tag, item, more = "Choices", "Choice", ' choice="single"'
    if found.problem is Problem.MULTILABEL:
        more = ' choice="multiple"'
    elif found.problem is Problem.TAGGING:
        tag, item, more = "Labels", "Label", ""
        spans = (tag_.partition("-")[2] or tag_ for tag_ in found.classes if tag_ != "O")
        kinds = tuple(dict.fromkeys(spans))
    items = "".join(f"    <{item} value={quoteattr(kind)}/>\n" for kind in kinds)
    return f'{head}  <{tag} name="{name}" toName="text"{more}>\n{items}  </{tag}>\n'


def _label_studio(predictions: Predictions, row: int, record: Record) -> Record:
    results: list[Record] = []
    sure: list[float] = []
    for control, found in _controls(predictions).items():
        values = _values(found, row, record[_TEXT])
        about = {"from_name": control, "to_name": "text"}
        results += [
            {"id": f"{control}-{number}", **about, **value} for number, value in enumerate(values)
        ]
        certainty = _confidence(found, row)
        if values and certainty is not None:
            sure.append(certainty)
    if not results:
        return {"data": record, "predictions": []}
    sources = "+".join(dict.fromkeys(each.source for each in predictions.attributes.values()))
    score = {"score": min(sure)} if sure else {}
    return {
        "data": record,
        "predictions": [{"model_version": f"esm {sources}", **score, "result": results}],
    }


def _values(found: AttributePredictions, row: int, text: str) -> list[Record]:
    """Return type and value of the results of one attribute; none where nothing was predicted."""
    label = found.labels[row]
    if label is None:
        return []
    if found.problem is Problem.REGRESSION:
        return [{"type": "number", "value": {"number": float(label)}}]
    if found.problem is Problem.TAGGING:
        return [
            {
                "type": "labels",
                "value": {"start": start, "end": end, "text": text[start:end], "labels": [kind]},
            }
            for _, _, start, end, kind in _spans(text, label)
        ]
    chosen = _labels(found, row)
    return [{"type": "choices", "value": {"choices": chosen}}] if chosen else []


# -------------------------------------------------------------------------- doccano and Prodigy


def _doccano(found: AttributePredictions, row: int, record: Record) -> Record:
    """Return one line to import; what is neither text nor label becomes the example's meta data."""
    given = {f"{name}_given" if name == "label" else name: cell for name, cell in record.items()}
    if found.problem is Problem.TAGGING:
        spans = _spans(record[_TEXT], found.labels[row])
        return given | {"label": [[start, end, kind] for _, _, start, end, kind in spans]}
    sure = _confidence(found, row)
    about = {} if sure is None else {"confidence": sure}
    return given | about | {"label": _labels(found, row)}


def _prodigy(found: AttributePredictions, row: int, record: Record) -> Record:
    """Return one task, without an answer: of the interface ``choice``, or ``ner_manual``."""
    given = {
        f"{name}_given" if name in _PRODIGY_KEYS or name.startswith("_") else name: cell
        for name, cell in record.items()
    }
    sure = _confidence(found, row)
    meta = {} if sure is None else {"confidence": sure}
    if "id" in record:
        meta = {"id": record["id"], **meta}
    if found.problem is Problem.TAGGING:
        tokens, start = [], 0
        for place, word in enumerate(words_of(record[_TEXT])):
            tokens.append({"text": word, "start": start, "end": start + len(word), "id": place})
            start += len(word) + 1
        spans = [
            {"start": begin, "end": end, "token_start": first, "token_end": last, "label": kind}
            for first, last, begin, end, kind in _spans(record[_TEXT], found.labels[row])
        ]
        return given | {"tokens": tokens, "spans": spans, "meta": meta}
    style = "multiple" if found.problem is Problem.MULTILABEL else "single"
    return given | {
        "options": [{"id": name, "text": name} for name in found.classes],
        "accept": _labels(found, row),
        "config": {"choice_style": style},
        "meta": meta,
    }
