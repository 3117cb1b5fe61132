"""Task folders (``task.json``) and multi-attribute target folders (``target.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict

from esm.common.errors import StorageError, TaskError
from esm.common.storage import read_json
from esm.tasks.formats.files import read_table
from esm.tasks.raw import LabelColumn, RawData, Table, Values, to_id
from esm.tasks.task import Metric, Problem, SplitName, TaskMetadata

TASK_FILE = "task.json"
TARGET_FILE = "target.json"
LABEL = "label"
TAGS = "tags"

_PROBLEMS = {
    "classification": Problem.CLASSIFICATION,
    "pair-classification": Problem.CLASSIFICATION,
    "ordinal": Problem.ORDINAL,
    "pair-ordinal": Problem.ORDINAL,
    "regression": Problem.REGRESSION,
    "pair-regression": Problem.REGRESSION,
    "multi-label": Problem.MULTILABEL,
    "tagging": Problem.TAGGING,
    "corpus": Problem.CORPUS,
}

# A rank correlation is asked of amounts only, ratings from 1 to 5 among them; a weighted kappa of
# ordered classes, a measure of spans of tags.
_PROBLEM_OF_METRIC = {
    Metric.SPEARMAN: Problem.REGRESSION,
    Metric.KAPPA: Problem.ORDINAL,
    Metric.SPAN_F1: Problem.TAGGING,
}


class _Description(BaseModel):
    """What both kinds of folder say. Other keys are the describer's own notes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str | None = None
    name: str = ""
    language: str = ""
    domain: str = ""
    license: str = ""
    origin: str = ""
    citation: str = ""

    def metadata(self) -> TaskMetadata:
        return TaskMetadata(
            name=self.name,
            language=self.language,
            domain=self.domain,
            license=self.license,
            origin=self.origin,
            citation=self.citation,
        )


class _TaskDescription(_Description):
    task_type: str | None = None
    label_names: tuple[str, ...] = ()
    metric: str | None = None


class _AttributeDescription(BaseModel):
    """One attribute; a key beside these that maps labels to labels is a reading of them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    question: str = ""
    labels: tuple[str, ...] = ()
    counts: Mapping[str, int] = {}
    not_annotated: int = 0
    metric: str | None = None

    def readings(self) -> dict[str, dict[str, str | None]]:
        further = self.model_extra or {}
        return {name: value for name, value in further.items() if isinstance(value, dict)}


class _TargetDescription(_Description):
    attributes: Mapping[str, _AttributeDescription]


_AnyDescription = TypeVar("_AnyDescription", bound=_Description)


def read_folder(folder: Path) -> RawData:
    """Read a task folder or a multi-attribute target folder.

    Raises:
        TaskError: There is no description, it is malformed, or the training rows are absent.
    """
    if (folder / TARGET_FILE).is_file():
        return _read_target(folder)
    if (folder / TASK_FILE).is_file():
        return _read_task(folder)
    raise TaskError(
        f"{folder} has neither {TASK_FILE} nor {TARGET_FILE}",
        expected="a task folder, or a multi-attribute target folder",
        hint="give a data file in it, or one of its subfolders",
    )


def _read_task(folder: Path) -> RawData:
    description = _describe(folder / TASK_FILE, _TaskDescription)
    identifier = description.id or to_id(folder.name)
    names = description.label_names
    kind = _choice("task_type", description.task_type, _PROBLEMS, identifier)
    if kind is Problem.CORPUS:
        return RawData(
            id=identifier,
            splits=_read_splits(folder),
            described=True,
            metadata=description.metadata(),
            is_corpus=True,
            file=folder / "train.parquet",
        )
    column = LabelColumn(
        names=names,
        problem=kind,
        metric=_metric(description.metric, identifier),
    )
    label = TAGS if column.problem is Problem.TAGGING else LABEL
    splits = {
        split: {**table, label: _named(table[label], names, identifier)}
        if names and label in table
        else table
        for split, table in _read_splits(folder).items()
    }
    return RawData(
        id=identifier,
        splits=splits,
        known={label: column},
        described=True,
        metadata=description.metadata(),
        file=folder / "train.parquet",
    )


def _read_target(folder: Path) -> RawData:
    description = _describe(folder / TARGET_FILE, _TargetDescription)
    identifier = description.id or to_id(folder.name)
    known = {
        name: _attribute(attribute, f"{identifier}/{name}")
        for name, attribute in description.attributes.items()
    }
    return RawData(
        id=identifier,
        splits=_read_splits(folder),
        known=known,
        described=True,
        metadata=description.metadata(),
        file=folder / "train.parquet",
    )


def _attribute(description: _AttributeDescription, task: str) -> LabelColumn:
    metric = _metric(description.metric, task)
    return LabelColumn(
        names=description.labels,
        problem=None if metric is None else _PROBLEM_OF_METRIC.get(metric),
        metric=metric,
        readings=description.readings(),
    )


def _describe(path: Path, model: type[_AnyDescription]) -> _AnyDescription:
    try:
        return model.model_validate(read_json(path))
    except StorageError as error:
        raise TaskError(error.got, expected="a description in JSON") from error
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the whole"
        raise TaskError(f"{path}: {place}: {fault['msg']}", hint="mend the description") from error


def _read_splits(folder: Path) -> dict[SplitName, Table]:
    paths = {split: folder / f"{split}.parquet" for split in SplitName}
    if not paths[SplitName.TRAIN].is_file():
        raise TaskError(
            f"no file {paths[SplitName.TRAIN]}",
            expected="train.parquet beside the description, and test.parquet where there is one",
        )
    return {split: read_table(path) for split, path in paths.items() if path.is_file()}


def _named(values: Values, names: tuple[str, ...], task: str) -> Values:
    """Return the names of class indices; labels that are names already stay."""
    return [_name(value, names, task) for value in values]


def _name(value: Any, names: tuple[str, ...], task: str) -> Any:
    if isinstance(value, list):
        return _named(value, names, task)
    if not isinstance(value, int):
        return value
    if not 0 <= value < len(names):
        raise TaskError(
            f"{task} has label {value}",
            expected=f"an index into its {len(names)} label_names",
            hint=f"mend {TASK_FILE}",
        )
    return names[value]


def _metric(name: str | None, task: str) -> Metric | None:
    return _choice("metric", name, {metric.value: metric for metric in Metric}, task)


_Choice = TypeVar("_Choice", Metric, Problem)


def _choice(
    key: str, name: str | None, choices: Mapping[str, _Choice], task: str
) -> _Choice | None:
    if name is not None and name not in choices:
        raise TaskError(f"{task} has {key} {name!r}", expected=f"one of {', '.join(choices)}")
    return None if name is None else choices[name]
