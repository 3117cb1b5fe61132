"""Where a task lies and how to read it: everything a run must remember to read it again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from esm.common.records import Record


class SplitMethod(StrEnum):
    """How rows become training and test rows.

    AUTO takes the split that a column names where one is given, else the splits that the data come
    with, else a stratified hold-out. STRATIFIED and GROUPED make a hold-out, the latter with all
    rows of a group on one side; K_FOLD makes every row a test row once per repetition; COLUMN
    reads the split of each row from a column. All but AUTO divide all rows together, also those
    of data that come with splits. Rows of equal texts are never parted, except by given splits
    and a column.
    """

    AUTO = "auto"
    STRATIFIED = "stratified"
    GROUPED = "grouped"
    K_FOLD = "k-fold"
    COLUMN = "column"


class RareClasses(StrEnum):
    """What becomes of classes with fewer training rows than the minimum.

    KEEP uses them as they are; LEAVE_OUT leaves their rows out (of a set of labels, the label
    alone); MERGE puts them together into one class (an ordered scale: into the neighbour towards
    the middle); REFUSE refuses the attribute.
    """

    KEEP = "keep"
    LEAVE_OUT = "leave-out"
    MERGE = "merge"
    REFUSE = "refuse"


class Voting(StrEnum):
    """What becomes of a text that several people annotated.

    MAJORITY gives it the label of most; SOFT does so for test rows, and trains on every vote;
    SEPARATE leaves each annotation a row of its own.
    """

    MAJORITY = "majority"
    SOFT = "soft"
    SEPARATE = "separate"


class SplitSpec(Record):
    """How to split rows.

    Attributes:
        method: See :class:`SplitMethod`.
        column: Column with the split of each row (train, validation or test), for ``column``.
        group: Column whose equal values stay on one side wherever rows are drawn: author, claim,
            source.
        test_share: Share of the rows held out as test.
        folds: Number of folds, for ``k-fold``.
        repeats: How often the folds are drawn anew, for ``k-fold``.
        seed: Seed of the split.
    """

    method: SplitMethod = SplitMethod.AUTO
    column: str | None = None
    group: str | None = None
    test_share: float = Field(default=0.2, gt=0, lt=1)
    folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)


class ColumnSpec(Record):
    """How to read one label column; empty where nothing is said.

    Attributes:
        kind: ``"auto"``, or a :class:`~esm.tasks.task.Problem`.
        metric: Primary metric, a :class:`~esm.tasks.task.Metric`; None for the kind's default.
        order: Classes from lowest to highest, for ``ordinal``; for the others the order in which
            they are listed.
        separator: What separates the labels in a cell that holds several, for ``multi-label``.
        options: Labels in which the separator stands as well.
        indicators: Of how many labels each cell says 0 or 1, for ``multi-label``; 0 where cells
            list their labels.
        missing: Labels that stand for "no answer": their rows have no label.
        merge: Labels that are read as another one, by their name.
        empty: Class of the rows whose cell is empty; None where such rows are not annotated.
        min_per_class: Training rows that a class needs.
        rare: What becomes of classes that have fewer.
    """

    kind: str = "auto"
    metric: str | None = None
    order: tuple[str, ...] = ()
    separator: str | None = None
    options: tuple[str, ...] = ()
    indicators: int = Field(default=0, ge=0)
    missing: tuple[str, ...] = ()
    merge: dict[str, str] = Field(default_factory=dict)
    empty: str | None = None
    min_per_class: int = Field(default=1, ge=1)
    rare: RareClasses = RareClasses.KEEP

    def of_kind(self, kind: str) -> ColumnSpec:
        """Return how to read it as another kind, without what fits the old one alone."""
        if kind == self.kind:
            return self
        fitting: dict[str, object] = {"kind": kind, "metric": None}
        if kind != "multi-label":
            fitting |= {"separator": None, "options": (), "indicators": 0}
        return self.model_copy(update=fitting)


class TaskSpec(Record):
    """Location and reading of a task or a multi-attribute target.

    Attributes:
        location: A task folder, a multi-attribute target folder, a file (.csv, .tsv, .txt, .xlsx,
            .json, .jsonl, .parquet, .arrow, .feather, .conll), or a Hub dataset id such as
            ``owner/name``.
        id: Name to give it; by default the one in the folder's description, the file's stem or the
            Hub id with its configuration, ``/`` written ``--``.
        text: Text column.
        text_pair: Second text column of a pair task.
        attributes: Label columns; empty means all that the data offer.
        columns: How to read single label columns, by name.
        reading: ``"as-is"``, or the name of a label reading in ``target.json`` (``"binary"``).
        kind: ``"auto"``, or a :class:`~esm.tasks.task.Problem` that overrides the guess for all
            columns of which ``columns`` says nothing; ``"corpus"`` takes the texts alone.
        test: File with the test rows, read with the same columns.
        encoding: Text encoding of a file; None finds it out.
        delimiter: What separates the cells of a text table; None finds it out.
        sheet: Sheet of a workbook; None takes the first.
        attribute_column: Column that names the attribute, in a long file (a row per text and
            attribute); None for a wide one (a column per attribute).
        value_column: Column with the value, in a long file.
        annotator: Column that names who annotated a row; None finds it out.
        voting: What becomes of texts with several annotators.
        language: Language of the texts (ISO 639-1); None for what the data declare.
        licence: Licence of the data; None for what the data declare.
        registry: Name of the registry entry that this was made from, where it was.
        config: Hub configuration name.
        revision: Hub revision; a commit hash pins the data.
        train_split: Hub split to use for training.
        test_split: Hub split to use as test.
        split: How to split rows.
    """

    location: str
    id: str | None = None
    text: str | None = None
    text_pair: str | None = None
    attributes: tuple[str, ...] = ()
    columns: dict[str, ColumnSpec] = Field(default_factory=dict)
    reading: str = "as-is"
    kind: str = "auto"
    test: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    attribute_column: str | None = None
    value_column: str | None = None
    annotator: str | None = None
    voting: Voting = Voting.MAJORITY
    language: str | None = None
    licence: str | None = None
    registry: str | None = None
    config: str | None = None
    revision: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    split: SplitSpec = Field(default_factory=SplitSpec)

    @property
    def path(self) -> Path:
        """The location as a path."""
        return Path(self.location)
