"""Where a task lies to what it is: the one way in, for folders, files and the Hub."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esm.common.errors import TaskError
from esm.common.runtime import warn_once
from esm.common.storage import check_id
from esm.tasks.agreement import measure_agreement
from esm.tasks.annotators import (
    TIED,
    ColumnVotes,
    choose_annotator,
    merge_annotators,
    vote_codes,
    with_soft_labels,
)
from esm.tasks.arrange import arrange
from esm.tasks.corpus import corpus_task, is_corpus, refuse_corpus
from esm.tasks.faults.labels import source_notes
from esm.tasks.formats import files, folders, hub
from esm.tasks.formats.sentences import as_sentences
from esm.tasks.guess.columns import choose_attributes, choose_texts
from esm.tasks.guess.reading import read_columns, summary
from esm.tasks.guess.roles import Role
from esm.tasks.labels.problem import AUTO
from esm.tasks.labels.read import NO_LABEL, Labels, read_labels
from esm.tasks.raw import LabelColumn, RawData, Values, attribute_id, num_rows
from esm.tasks.spec import ColumnSpec, SplitMethod, TaskSpec, Voting
from esm.tasks.splits.divide import Divider, join_splits, method_of
from esm.tasks.splits.folds import fold_targets
from esm.tasks.splits.rows import EMPTY_TEXT, TextRows, filled_rows, take
from esm.tasks.tagging import is_iob2
from esm.tasks.task import Examples, Metric, Problem, SplitName, Target, Task, Texts

_LOGGER = logging.getLogger(__name__)

# The first metric of each problem is its default.
_METRICS = {
    Problem.CLASSIFICATION: (Metric.MACRO_F1, Metric.ACCURACY, Metric.MATTHEWS),
    Problem.ORDINAL: (Metric.MACRO_F1, Metric.ACCURACY, Metric.SPEARMAN, Metric.KAPPA),
    Problem.REGRESSION: (Metric.SPEARMAN,),
    Problem.MULTILABEL: (Metric.MACRO_F1, Metric.ACCURACY),
    Problem.TAGGING: (Metric.SPAN_F1, Metric.ACCURACY, Metric.MACRO_F1),
}


def load_target(spec: TaskSpec) -> Target:
    """Load a target: a task for each of its attributes, over the same texts.

    An attribute that was not named and cannot be used (one class only, say) is left out and
    listed in ``Target.skipped``. Where the split is by folds, all rows are training rows; see
    :func:`load_targets`.

    Raises:
        TaskError: The data, or an attribute that was named, cannot be used; or none can.
        HubError: The Hub cannot be reached.
        StorageError: A new split cannot be stored.
    """
    return with_soft_labels(_target(_open(spec)))


def load_targets(spec: TaskSpec) -> tuple[Target, ...]:
    """Load a target as often as it is split: once, or per fold of each repetition.

    The data are read once. Every text is a test text in one fold of each repetition, and no
    text, nor group where a group column is named, is on both sides of a fold.

    Raises:
        TaskError: As :func:`load_target`; or there are too few rows for the folds.
        HubError: The Hub cannot be reached.
        StorageError: A new split cannot be stored.
    """
    opened = _open(spec)
    whole = _target(opened)
    if opened.divider.method is not SplitMethod.K_FOLD:
        return (with_soft_labels(whole),)
    draws = opened.divider.folds(opened.splits[SplitName.TRAIN])
    folds = fold_targets(whole, draws, spec.split.folds, strict=bool(spec.attributes))
    return tuple(map(with_soft_labels, folds))


def load_tasks(spec: TaskSpec) -> list[tuple[TaskSpec, Task]]:
    """Load a source task for each attribute that is named, each with its own specification.

    Raises:
        TaskError: As :func:`load_task`; several attributes and none was named.
        HubError: The Hub cannot be reached.
        StorageError: A new split cannot be stored.
    """
    names = spec.attributes or (None,)
    singles = [
        spec if name is None else spec.model_copy(update={"attributes": (name,)}) for name in names
    ]
    return [(single, load_task(single)) for single in singles]


def load_task(spec: TaskSpec) -> Task:
    """Load a source task: a task folder, a corpus, or one attribute of anything else.

    Its id is the data's, with ``/attribute`` where the data offer several. Where the split is by
    folds, all rows are training rows.

    Raises:
        TaskError: Several attributes and none, or more than one, was named; and as
            :func:`load_target` and :func:`~esm.tasks.corpus.corpus_task`.
        HubError: The Hub cannot be reached.
        StorageError: A new split cannot be stored.
    """
    raw = _read(spec)
    if is_corpus(raw, spec):
        return corpus_task(_in_order(raw, spec), spec)
    opened = _divided(raw, spec)
    if len(opened.chosen) > 1:
        raise TaskError(
            f"{opened.raw.id} has {len(opened.chosen)} attributes: {', '.join(opened.chosen)}",
            expected="the attribute, or the attributes, to make a source task of",
            hint="--attribute NAME[,NAME]",
        )
    target = with_soft_labels(_target(opened))
    task = target.attributes[opened.chosen[0]]
    task = task if len(opened.attributes) > 1 else dataclasses.replace(task, id=opened.raw.id)
    for said in source_notes(task):
        warn_once(_LOGGER, f"{task.id}: {said}")
    return task


@dataclass(frozen=True)
class _Opened:
    """Data after the choice of columns and the split, before labels are read.

    `spec` is the specification with what the reading of an undescribed table adds to it, `named`
    says whether the user named attributes. `chosen` are the attributes to load, `attributes` all
    that there are. Rows that are split into folds are training rows.
    """

    raw: RawData
    spec: TaskSpec
    named: bool
    divider: Divider
    attributes: tuple[str, ...]
    chosen: tuple[str, ...]
    splits: Mapping[SplitName, TextRows]
    num_empty: int
    votes: Mapping[str, ColumnVotes]


# ---------------------------------------------------------------------------- rows and columns


def _open(spec: TaskSpec) -> _Opened:
    raw = _read(spec)
    if is_corpus(raw, spec):
        raise refuse_corpus(raw)
    return _divided(raw, spec)


def _divided(raw: RawData, spec: TaskSpec) -> _Opened:
    named = bool(spec.attributes)
    if _is_undescribed(raw, spec):
        raw, spec = _understood(raw, spec)
    raw = _in_order(raw, spec)
    given = tuple(raw.splits)
    method = method_of(raw, spec.split)
    if method is not SplitMethod.AUTO:
        raw = join_splits(raw, method)
    texts = choose_texts(raw, spec)
    columns = tuple(name for name in texts if name is not None)
    divider = Divider(raw.id, raw.file, given, columns, method, spec.split)
    who = choose_annotator(raw, spec, columns)
    others = {*texts, spec.split.group, spec.split.column, who}
    offered = tuple(name for name in raw.known if name not in others)
    chosen = choose_attributes(raw, spec, offered)
    attributes = tuple(dict.fromkeys((*offered, *chosen)))
    raw, votes = merge_annotators(raw, spec, columns, attributes, who)
    # A new split is stratified over all attributes, so that it serves whichever is chosen next.
    needed = attributes if divider.draws else chosen
    rows = {split: _texts(raw, split, divider, needed) for split in raw.splits}
    num_empty = sum(map(num_rows, raw.splits.values())) - sum(map(len, rows.values()))
    if not rows[SplitName.TRAIN].texts:
        raise TaskError(
            f"every training row of {raw.id} has an empty text in column {texts[0]!r}",
            expected="texts",
            hint="name the text column with --text",
        )
    parts = divider.divide(rows)
    return _Opened(raw, spec, named, divider, attributes, chosen, parts, num_empty, votes)


def _is_undescribed(raw: RawData, spec: TaskSpec) -> bool:
    """Whether something is left to find out: neither the data nor the user say all of it."""
    said = spec.attributes and all(
        name in spec.columns and spec.columns[name].kind != AUTO for name in spec.attributes
    )
    return not raw.described and not (said and spec.text is not None)


def _understood(raw: RawData, spec: TaskSpec) -> tuple[RawData, TaskSpec]:
    """Return data and specification with what ``esm tasks init`` would propose."""
    sentences = as_sentences(raw, spec)
    reading = read_columns(sentences, spec)
    said = spec.columns or spec.attributes or spec.kind != AUTO
    if not said and not reading.is_obvious:
        warn_once(
            _LOGGER,
            f"{summary(raw, reading)}; esm tasks init FILE writes this down to be edited, and"
            " --attribute names what to take",
        )
    for guess in reading.guesses:
        if spec.kind == AUTO and guess.role is Role.NONE and _is_named_alone(guess.name, spec):
            warn_once(
                _LOGGER,
                f"{raw.id}: attribute {guess.name!r} is read because you name it, though it would"
                f" be left out: {guess.why}",
            )
        elif spec.kind == AUTO and guess.doubtful and guess.name not in spec.columns:
            warn_once(_LOGGER, f"{raw.id}: {guess.name!r} is read as an attribute: {guess.why}")
    return raw, reading.fill_in(spec)


def _is_named_alone(name: str, spec: TaskSpec) -> bool:
    return name in spec.attributes and name not in spec.columns


def _in_order(raw: RawData, spec: TaskSpec) -> RawData:
    return as_sentences(arrange(raw, spec), spec)


def _read(spec: TaskSpec) -> RawData:
    path = spec.path.expanduser()
    if path.is_dir():
        raw = folders.read_folder(path)
    elif path.is_file():
        raw = files.read_data(path, spec)
    elif hub.is_hub_id(spec.location) and not _looks_local(path):
        raw = hub.read_hub(spec)
    else:
        raise TaskError(
            f"nothing at {spec.location!r}",
            expected=f"a task folder, a target folder, a file ({', '.join(files.SUFFIXES)}), or a"
            " Hub dataset id owner/name",
            hint="check the path",
        )
    if spec.test is not None:
        test = files.read_table(Path(spec.test).expanduser(), spec)
        raw = dataclasses.replace(raw, splits={**raw.splits, SplitName.TEST: test})
    metadata = dataclasses.replace(
        raw.metadata,
        language=spec.language or raw.metadata.language,
        license=spec.licence or raw.metadata.license,
    )
    return dataclasses.replace(raw, id=check_id(spec.id or raw.id), metadata=metadata)


def _looks_local(path: Path) -> bool:
    """Return whether a path was meant, so that its name is not sent to the Hub."""
    return path.suffix.lower() in files.SUFFIXES or path.parent.is_dir()


def _texts(
    raw: RawData, split: SplitName, divider: Divider, attributes: tuple[str, ...]
) -> TextRows:
    """Return a split's rows whose texts are not blank."""
    kept, firsts, seconds = filled_rows(raw, split, divider.columns)

    def column(name: str | None) -> Values | None:
        return None if name is None else take(raw.column(split, name), kept)

    return TextRows(
        texts=firsts,
        pairs=seconds,
        columns={name: take(raw.column(split, name), kept) for name in attributes},
        groups=column(divider.group_column),
        parts=column(divider.split_column),
    )


# -------------------------------------------------------------------------------------- labels


def _target(opened: _Opened) -> Target:
    attributes: dict[str, Task] = {}
    skipped: dict[str, str] = {}
    for name in opened.chosen:
        try:
            attributes[name] = _task(opened, name)
        except TaskError as error:
            if opened.named or len(opened.chosen) == 1:
                raise
            skipped[name] = str(error)
            _LOGGER.warning(f"{opened.raw.id}: attribute {name} is left out: {error}")
    if not attributes:
        name, reason = next(iter(skipped.items()))
        raise TaskError(
            f"none of the {len(skipped)} attributes of {opened.raw.id} can be used;"
            f" {name}: {reason}"
        )
    _refuse_same_ids(attributes)
    return Target(
        id=opened.raw.id,
        attributes=attributes,
        skipped=skipped,
        origin=opened.divider.origin(opened.splits),
    )


def _refuse_same_ids(attributes: Mapping[str, Task]) -> None:
    """Refuse columns such as ``is true`` and ``is-true``: results would be mixed up."""
    columns = {task.id: name for name, task in attributes.items()}
    for name, task in attributes.items():
        if columns[task.id] != name:
            raise TaskError(
                f"columns {name!r} and {columns[task.id]!r} would both be called {task.id}",
                expected="names that differ in letters or digits",
                hint="rename one, or name the attributes with --attribute",
            )


def _task(opened: _Opened, name: str) -> Task:
    raw, splits, spec = opened.raw, opened.splits, opened.spec
    known = raw.known.get(name, LabelColumn())
    columns = {split: rows.columns[name] for split, rows in splits.items()}
    how = spec.columns.get(name, ColumnSpec())
    texts = {split: rows.texts for split, rows in splits.items()}
    labels = read_labels(
        name, columns, known, kind=spec.kind, reading=spec.reading, how=how, texts=texts
    )
    examples = {}
    for split, rows in splits.items():
        kept = labels.rows[split]
        if len(kept):
            part = rows.take(kept)
            examples[split] = Examples(part.texts, part.pairs, labels.values[split])
    task = Task(
        id=attribute_id(raw.id, name),
        problem=labels.problem,
        metric=_metric(name, labels, known.metric, how.metric),
        label_names=labels.names,
        splits=examples,
        metadata=raw.metadata,
        dropped={**({EMPTY_TEXT: opened.num_empty} if opened.num_empty else {}), **labels.dropped},
        rare=labels.rare,
        spellings=labels.spellings,
        unknown=labels.unknown,
        unanswered=labels.unanswered,
        text_columns=opened.divider.columns,
        unlabelled=_unlabelled(splits[SplitName.TRAIN], labels.rows[SplitName.TRAIN]),
    )
    return task if name not in opened.votes else _with_votes(task, opened.votes[name], spec)


def _with_votes(task: Task, votes: ColumnVotes, spec: TaskSpec) -> Task:
    """Return a task with the agreement of its annotators, and their votes where they are wanted."""
    agreement = measure_agreement(
        list(votes.of_text.values()),
        task.problem,
        task.label_names,
        annotators=len(votes.annotators),
        ties=votes.ties,
        repeated=votes.repeated,
    )
    dropped = dict(task.dropped)
    if ties := min(votes.ties, dropped.get(NO_LABEL, 0)):
        dropped |= {NO_LABEL: dropped[NO_LABEL] - ties, TIED: ties}
    return dataclasses.replace(
        task,
        agreement=agreement,
        votes=vote_codes(votes, task) if spec.voting is Voting.SOFT else {},
        dropped={reason: count for reason, count in dropped.items() if count},
    )


def _unlabelled(rows: TextRows, labelled: npt.NDArray[np.int64]) -> Texts:
    """Return the texts of the rows that have no label."""
    part = rows.take(np.setdiff1d(np.arange(len(rows)), labelled))
    return Texts(part.texts, part.pairs)


def _metric(column: str, labels: Labels, described: Metric | None, asked: str | None) -> Metric:
    """Return the metric asked for, else the described one where it fits, else the default."""
    problem = labels.problem
    metrics = _METRICS[problem]
    if problem is Problem.TAGGING and not is_iob2(labels.names):
        metrics = tuple(metric for metric in metrics if metric is not Metric.SPAN_F1)
    if asked is None:
        return described if described in metrics else metrics[0]
    if asked not in metrics:
        raise TaskError(
            f"metric {asked!r} for the {problem} column {column!r}",
            expected=f"one of {', '.join(metrics)}",
            hint=f"correct metric under [columns.{column}]",
        )
    return Metric(asked)
