"""What a task is: texts, labels, splits and the metric it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from esm.common.errors import TaskError
from esm.common.storage import content_hash, hash_texts

if TYPE_CHECKING:
    from esm.tasks.agreement import Agreement


class Problem(StrEnum):
    """What a model has to output.

    CLASSIFICATION: one of c classes. ORDINAL: one of c classes on an ordered scale, learnt as a
    regression on their ranks and rounded to the nearest one. REGRESSION: an amount. MULTILABEL:
    which of c labels hold. TAGGING: one of c tags for each word of the text. CORPUS: no labels, the
    model guesses tokens that are hidden; only a source task can be one.
    """

    CLASSIFICATION = "classification"
    ORDINAL = "ordinal"
    REGRESSION = "regression"
    MULTILABEL = "multi-label"
    TAGGING = "tagging"
    CORPUS = "corpus"


LABELLED = tuple(problem for problem in Problem if problem is not Problem.CORPUS)
"""The kinds of output that are learnt from labels: those that a target can have."""


class Metric(StrEnum):
    """The primary metric; higher is better for all of them."""

    MACRO_F1 = "macro_f1"
    ACCURACY = "accuracy"
    MATTHEWS = "matthews"
    SPEARMAN = "spearman"
    KAPPA = "kappa"
    SPAN_F1 = "span_f1"
    LOG_LIKELIHOOD = "log_likelihood"


class SplitName(StrEnum):
    """The three parts of a task's rows."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Examples:
    """Rows of one split.

    Attributes:
        texts: n texts, in the file's order.
        pairs: The n second texts of a pair task, else None.
        labels: (n,) int64 in [0, c) for classification and ordinal, (n,) float64 for regression,
            (n, c) float64 of 0 and 1 for multi-label, (n, w) int64 in [0, c) for tagging, -1
            behind the last of a text's words (see :mod:`esm.tasks.tagging`); (n,) int64 zeros for
            a corpus, which has none.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: npt.NDArray[Any]

    def __post_init__(self) -> None:
        rows = (len(self.texts), len(self.pairs or self.texts), len(self.labels))
        if len(set(rows)) != 1:
            raise TaskError(
                f"{rows[0]} texts, {rows[1]} second texts, {rows[2]} labels",
                expected="as many of each",
            )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: npt.NDArray[np.integer[Any]] | list[int]) -> Examples:
        """Return the rows of these positions, in the order given."""
        positions = np.asarray(rows, dtype=np.int64)
        return Examples(
            texts=tuple(self.texts[i] for i in positions),
            pairs=None if self.pairs is None else tuple(self.pairs[i] for i in positions),
            labels=self.labels[positions],
        )

    def content_hash(self) -> str:
        """Return a hash of texts and labels."""
        labels = np.ascontiguousarray(self.labels)
        return content_hash(hash_texts(self.texts, self.pairs), labels.dtype.str, labels.tolist())


@dataclass(frozen=True)
class Texts:
    """Texts, or pairs of texts, without labels.

    Attributes:
        texts: n texts.
        pairs: Their n second texts; None where each is a single text.
    """

    texts: tuple[str, ...] = ()
    pairs: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TaskMetadata:
    """What is known of a task beside its rows; empty where nothing is stated."""

    name: str = ""
    language: str = ""
    domain: str = ""
    license: str = ""
    origin: str = ""
    citation: str = ""


class Outputs(Protocol):
    """What a model needs to know of a task: a :class:`Task`, or what is kept of one."""

    @property
    def id(self) -> str:
        """Id of the task."""
        ...

    @property
    def problem(self) -> Problem:
        """Kind of output."""
        ...

    @property
    def num_outputs(self) -> int:
        """Width of the output."""
        ...


@dataclass(frozen=True)
class RareClass:
    """A class with fewer training rows than the minimum.

    Attributes:
        name: Its name in the data.
        rows: Its training rows.
        into: The class that it became part of; None where it is left out.
    """

    name: str
    rows: int
    into: str | None


@dataclass(frozen=True)
class Spelling:
    """A label that is read as a class which is written in another way.

    Attributes:
        written: The label as it stands in the data.
        label: The class.
        rows: Rows of all splits that have it.
    """

    written: str
    label: str
    rows: int


@dataclass(frozen=True)
class Task:
    """One attribute to predict: the unit that is trained on, ranked for and validated.

    Attributes:
        id: For instance ``tweeteval-emotion``; an attribute of a target is ``target/attribute``.
        problem: Kind of output.
        metric: Primary metric.
        label_names: Names of the c classes, of an ordinal task from lowest to highest (or of the
            c labels of a multi-label task, the c tags of a tagging task); empty for regression and
            for a corpus.
        splits: Train is always there; validation and test where the data have them.
        metadata: Language, licence and so on.
        dropped: How many rows were left out, by reason.
        rare: Classes that were merged or left out because they have too few training rows.
        spellings: Labels that are read as a class which is written in another way.
        unknown: Rows left out because their label is no class of the training rows, by split and
            label; of a set of labels, each label that is none counts.
        unanswered: Rows left out because their label stands for no answer, by label.
        text_columns: Name of the column with the texts and, of a pair task, of the second texts;
            empty where they are not known.
        agreement: How far several annotators agree; None where each text has one.
        votes: The labels of all annotators by the key of the text, where training is on all of them
            (see :mod:`esm.tasks.annotators`); they are no part of :meth:`content_hash`.
        unlabelled: Texts of the training part that have no label for this attribute. Only what is
            trained on texts alone reads them, and says so in its settings: they are no part of
            :meth:`content_hash`.
    """

    id: str
    problem: Problem
    metric: Metric
    label_names: tuple[str, ...]
    splits: Mapping[SplitName, Examples]
    metadata: TaskMetadata = field(default_factory=TaskMetadata)
    dropped: Mapping[str, int] = field(default_factory=dict)
    rare: tuple[RareClass, ...] = ()
    spellings: tuple[Spelling, ...] = ()
    unknown: Mapping[SplitName, Mapping[str, int]] = field(default_factory=dict)
    unanswered: Mapping[str, int] = field(default_factory=dict)
    text_columns: tuple[str, ...] = ()
    agreement: Agreement | None = None
    votes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unlabelled: Texts = field(default_factory=Texts)

    def __post_init__(self) -> None:
        if SplitName.TRAIN not in self.splits or len(self.train) == 0:
            raise TaskError(f"task {self.id} has no training rows", expected="at least one")

    @property
    def train(self) -> Examples:
        """The training rows."""
        return self.splits[SplitName.TRAIN]

    @property
    def test(self) -> Examples:
        """The test rows.

        Raises:
            TaskError: The task has none.
        """
        if SplitName.TEST not in self.splits:
            lost = self.unknown.get(SplitName.TEST, {})
            why = f": no training row has the label of any ({', '.join(list(lost)[:3])})"
            raise TaskError(
                f"task {self.id} has no test rows{why if lost else ''}",
                expected="a test split, with the classes of the training rows",
                hint="--test FILE",
            )
        return self.splits[SplitName.TEST]

    @property
    def is_pair(self) -> bool:
        """Whether each example is two texts."""
        return self.train.pairs is not None

    @property
    def num_outputs(self) -> int:
        """Width of a model's output: c classes, labels or tags, 1 for regression and ordinal."""
        return 1 if self.problem is Problem.ORDINAL else max(len(self.label_names), 1)

    def content_hash(self) -> str:
        """Return a hash of everything that training and evaluation depend on."""
        splits = {name: rows.content_hash() for name, rows in sorted(self.splits.items())}
        return content_hash(self.problem, self.metric, list(self.label_names), splits)


@dataclass(frozen=True)
class SplitOrigin:
    """Where a target's split comes from.

    Attributes:
        method: ``given`` with the data, or a :class:`~esm.tasks.spec.SplitMethod`.
        column: Column that names each row's split; empty where none does.
        group: Column whose equal values stay together; empty where only equal texts do.
        groups: Distinct groups among the rows of each split, equal texts being one group where
            there is no column. Of folds all rows are listed as training rows.
        folds: Folds per repetition; 0 for one fixed split.
        repeats: Repetitions; 0 for one fixed split.
    """

    method: str
    column: str = ""
    group: str = ""
    groups: Mapping[str, int] = field(default_factory=dict)
    folds: int = 0
    repeats: int = 0


@dataclass(frozen=True)
class Target:
    """The user's data: one or more attributes over the same texts.

    Attributes:
        id: Name of the target, for instance ``covid-infodemic-en``.
        attributes: One task per attribute, by attribute name, in the file's order.
        skipped: Attributes that were on offer but cannot be used, with the reason.
        fold: Which fold its test rows are, counted on over repetitions; None for a fixed split,
            and for all rows of data that are split into folds.
        origin: Where the split comes from; None for a target that was put together by hand.
    """

    id: str
    attributes: Mapping[str, Task]
    skipped: Mapping[str, str] = field(default_factory=dict)
    fold: int | None = None
    origin: SplitOrigin | None = None

    def __post_init__(self) -> None:
        if not self.attributes:
            raise TaskError(f"target {self.id} has no attribute", hint="--attribute NAME")

    def content_hash(self) -> str:
        """Return a hash over all attributes."""
        return content_hash({name: task.content_hash() for name, task in self.attributes.items()})


def joint_hash(parts: Sequence[Task] | Sequence[Target]) -> str:
    """Return a hash over a task or target in all its folds; of a fixed split, its own."""
    hashes = [part.content_hash() for part in parts]
    return hashes[0] if len(hashes) == 1 else content_hash(hashes)
