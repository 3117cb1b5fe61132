"""Label new texts with the winners of a validation, or the best models of a comparison.

The models of an attribute, one per run of the winning arm, vote: the mean of their calibrated
probabilities, or of their values.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from esm.common.arrays import Array
from esm.common.errors import SettingError, TaskError
from esm.inference.predictions import AttributePredictions, Predictions
from esm.metrics.calibration import (
    calibration_error,
    confidence,
    has_probabilities,
    is_right,
    mean_probabilities,
    probabilities,
)
from esm.strategies.joint.ensemble import average
from esm.tasks.formats.files import read_table
from esm.tasks.formats.sentences import as_sentences, as_text
from esm.tasks.guess.columns import choose_texts
from esm.tasks.raw import RawData, Table, is_missing, to_id
from esm.tasks.spec import TaskSpec
from esm.tasks.tagging import words_of
from esm.tasks.task import Problem, SplitName
from esm.trials.model_record import TrainedRecord
from esm.trials.models import Trained
from esm.trials.results import AttributeFound, load_result
from esm.trials.winners import StartEncoders, Winner, winners

_LOGGER = logging.getLogger(__name__)


def predict_file(
    run: Path,
    file: Path | TaskSpec,
    *,
    attributes: Collection[str] = (),
    abstain: float | None = None,
    device: str = "auto",
) -> Predictions:
    """Label the texts of a file with the winning models of a validation or a comparison.

    Cost: for each model one forward pass per text, and loading the encoder.

    Args:
        run: Folder of the validation or comparison.
        file: Texts to label; labels are not needed, other columns are carried through. A
            specification also says how to read the file, and which columns hold the texts; else
            they are the target's, else the one that looks so.
        attributes: Attributes to predict; none means all that have a winner.
        abstain: Leave the label empty where the confidence is below this; values have none.
        device: Device to compute on.

    Raises:
        ValidationError: The folder has no trained models, or an attribute has no winner.
        TaskError: The file cannot be read, or has no such column.
        EncoderError: The base model is gone or has changed.
        MapError: A model's weights are truncated.
        SettingError: ``abstain`` is not in [0, 1].
    """
    if abstain is not None and not 0 <= abstain <= 1:
        raise SettingError(f"abstain = {abstain:g}", expected="a probability in [0, 1]")
    result = load_result(run)
    chosen = winners(run, result, attributes)
    spec = file if isinstance(file, TaskSpec) else TaskSpec(location=str(file))
    table = read_table(spec.path.expanduser(), spec)
    columns = _text_columns(table, chosen[0].record, spec)
    words = any(winner.record.problem is Problem.TAGGING for winner in chosen)
    filled, texts, pairs = _texts(table, columns, as_words=words)
    encoders = StartEncoders(run, result, device)
    rows = len(next(iter(table.values())))
    return Predictions(
        columns=table,
        rows=rows,
        empty=rows - len(filled),
        attributes={
            winner.attribute: _judged(
                _predict(winner, encoders, texts, pairs, filled, rows, abstain),
                result.attributes[winner.attribute],
            )
            for winner in chosen
        },
        texts=tuple(columns),
    )


def _judged(found: AttributePredictions, by: AttributeFound) -> AttributePredictions:
    """Return predictions with what has to be known of the rows that their models were judged by."""
    said = {"untested": list(by.untested), "data_notes": list(by.data_notes)}
    return replace(found, summary={**found.summary, **said})


# ----------------------------------------------------------------------------------------- texts


def _text_columns(table: Table, record: TrainedRecord, spec: TaskSpec) -> list[str]:
    """Return the column of the texts and, for a model of pairs, that of the second texts."""
    first, second = (*record.text_columns, None, None)[:2]
    known = {
        "text": spec.text or (first if first in table else None),
        "text_pair": spec.text_pair or (second if second in table else None),
    }
    raw = RawData(id=to_id(spec.path.stem), splits={SplitName.TRAIN: table}, file=spec.path)
    raw = as_sentences(raw, spec.model_copy(update=known))
    found, pair = choose_texts(raw, spec.model_copy(update=known))
    if spec.text is None and first not in (None, found):
        _LOGGER.warning(f"{raw.id} has no column {first!r}: the texts are taken from {found!r}")
    if not record.is_pair:
        return [found]
    if pair is None:
        raise TaskError(
            f"{spec.path} has one column of texts, {found!r}; the models compare two texts",
            expected=f"a second one among {', '.join(map(repr, table))}",
            hint="--text-pair NAME",
        )
    return [found, pair]


def _texts(
    table: Table, columns: Sequence[str], *, as_words: bool
) -> tuple[list[int], list[str], list[str] | None]:
    """Return the rows that have a text, their texts and second texts.

    Args:
        table: The file.
        columns: The columns of the texts.
        as_words: Whether words are tagged, so that there has to be one space between them.
    """
    cells = list(zip(*(table[name] for name in columns), strict=True))
    if as_words:
        cells = [tuple(map(as_text, row)) for row in cells]
    filled = [row for row, texts in enumerate(cells) if not any(map(is_missing, texts))]
    firsts = [str(cells[row][0]) for row in filled]
    pairs = [str(cells[row][1]) for row in filled] if len(columns) > 1 else None
    return filled, firsts, pairs


# ----------------------------------------------------------------------------------- predictions


def _predict(
    winner: Winner,
    encoders: StartEncoders,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    filled: Sequence[int],
    rows: int,
    abstain: float | None,
) -> AttributePredictions:
    record = winner.record
    outputs = [_outputs(trained, encoders, texts, pairs) for trained in winner.models]
    sure, chances = None, None
    if has_probabilities(record.problem):
        chances = mean_probabilities(
            [
                _chances(trained, found)
                for trained, found in zip(winner.models, outputs, strict=True)
            ]
        )
        sure = confidence(record.problem, chances)
        decided = [_name(record, row) for row in chances]
        if abstain is not None:
            decided = [
                label if certainty >= abstain else None
                for label, certainty in zip(decided, sure, strict=True)
            ]
    elif record.problem is Problem.TAGGING:
        decided = _tags(record, outputs, texts)
    else:
        decided = [_value(record, value) for value in np.mean(outputs, axis=0)[:, 0]]
    labels: list[Any] = [None] * rows
    for row, label in zip(filled, decided, strict=True):
        labels[row] = label
    return AttributePredictions(
        name=winner.attribute,
        source=winner.source,
        models=len(winner.models),
        problem=record.problem,
        classes=record.label_names,
        labels=tuple(labels),
        confidence=None if sure is None else _spread(sure, filled, rows),
        probabilities=None if chances is None else _spread(chances, filled, rows),
        summary=_summary(winner, decided, abstain),
    )


def _outputs(
    trained: Trained, encoders: StartEncoders, texts: Sequence[str], pairs: Sequence[str] | None
) -> Array:
    model = trained.restore(encoders.encoder(trained.record))
    if not texts:
        width = (0,) if trained.record.problem is Problem.TAGGING else ()
        return np.empty((0, *width, trained.record.num_outputs))
    return np.asarray(model.predict(texts, pairs), dtype=np.float64)


def _chances(trained: Trained, outputs: Array) -> Array:
    calibration = trained.record.calibration
    temperature = 1.0 if calibration is None else calibration.temperature
    return probabilities(trained.record.problem, outputs, temperature)


def _name(record: TrainedRecord, chances: Array) -> Any:
    """Return the likeliest class, or the labels that are likelier than not."""
    if record.problem is Problem.MULTILABEL:
        return tuple(record.label_names[column] for column in np.flatnonzero(chances > 0.5))
    return record.label_names[int(chances.argmax())]


def _tags(
    record: TrainedRecord, outputs: Sequence[Array], texts: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the tags of each text's words, by the models' mean probabilities."""
    codes = average(Problem.TAGGING, outputs).argmax(axis=-1)
    return [
        tuple(record.label_names[code] for code in row[: len(words_of(text))])
        for row, text in zip(codes, texts, strict=True)
    ]


def _value(record: TrainedRecord, value: float) -> Any:
    """Return the value; on a scale of named ranks the name of the nearest one."""
    if not record.label_names:
        return float(value)
    return record.label_names[int(np.clip(np.rint(value), 0, len(record.label_names) - 1))]


def _spread(values: Array, filled: Sequence[int], rows: int) -> Array:
    """Return the values at their rows, NaN elsewhere."""
    spread = np.full((rows, *values.shape[1:]), np.nan)
    spread[list(filled)] = values
    return spread


# --------------------------------------------------------------------------------------- summary


def _summary(winner: Winner, decided: Sequence[Any], abstain: float | None) -> dict[str, Any]:
    labelled = [label for label in decided if label is not None]
    return {
        "source": winner.source,
        "models": len(winner.models),
        "problem": winner.record.problem.value,
        "licences": winner.record.licences,
        "labelled": len(labelled),
        "labels": _counts(winner.record, labelled),
        "values": _spread_of_values(winner.record, labelled),
        "abstain_below": abstain if has_probabilities(winner.record.problem) else None,
        "abstained": len(decided) - len(labelled),
        "abstained_share": (len(decided) - len(labelled)) / max(len(decided), 1),
        "calibration": _trust(winner, abstain or 0.0),
    }


def _counts(record: TrainedRecord, labelled: Sequence[Any]) -> dict[str, int] | None:
    if not record.label_names:
        return None
    single = (label for row in labelled for label in (row if isinstance(row, tuple) else [row]))
    counted = Counter(single)
    return {name: counted[name] for name in record.label_names}


def _spread_of_values(record: TrainedRecord, values: Sequence[Any]) -> dict[str, float] | None:
    if record.label_names or not values:
        return None
    return {"mean": float(np.mean(values)), "min": min(values), "max": max(values)}


def _trust(winner: Winner, abstain: float) -> dict[str, Any] | None:
    """Return what the vote does on the calibration rows: how many it labels, and how rightly.

    Models that were calibrated on the same rows vote there together, as on new texts.
    """
    if not has_probabilities(winner.record.problem):
        return None
    problem = winner.record.problem
    together: dict[str, list[tuple[Array, Array]]] = {}
    for trained in winner.models:
        outputs, labels = trained.calibration_outputs()
        calibration = trained.record.calibration
        rows = "" if calibration is None else calibration.rows_hash
        together.setdefault(rows, []).append((_chances(trained, outputs), labels))
    chances = np.concatenate(
        [mean_probabilities([one for one, _ in voters]) for voters in together.values()]
    )
    labels = np.concatenate([voters[0][1] for voters in together.values()])
    covered = confidence(problem, chances) >= abstain
    right = is_right(problem, labels, chances)
    first = winner.record.calibration
    return {
        "rows": len(labels),
        "calibrated_on": None if first is None else first.calibrated_on.value,
        "temperatures": [
            trained.record.calibration.temperature
            for trained in winner.models
            if trained.record.calibration is not None
        ],
        "calibration_error": calibration_error(problem, labels, chances),
        "coverage": float(covered.mean()),
        "accuracy": float(right[covered].mean()) if covered.any() else None,
    }
