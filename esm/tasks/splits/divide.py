"""How the rows of data are divided: the method asked for, a column of splits, folds."""

from __future__ import annotations

import dataclasses
import logging
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esm.common.errors import TaskError
from esm.tasks.raw import RawData, Values, is_missing, num_rows
from esm.tasks.spec import SplitMethod, SplitSpec
from esm.tasks.splits.draw import Rows
from esm.tasks.splits.rows import TextRows
from esm.tasks.splits.stored import SplitDraw, split_places, stored_division
from esm.tasks.task import SplitName, SplitOrigin

_LOGGER = logging.getLogger(__name__)

SPLIT_VALUES: Mapping[SplitName, frozenset[str]] = {
    SplitName.TRAIN: frozenset(
        {"train", "training", "trening", "trenovaci", "trenovacia", "trenovacie", "trenink"}
    ),
    SplitName.VALIDATION: frozenset(
        {"dev", "devel", "development", "val", "valid", "validation"}
        | {"validacia", "validacna", "validacne", "validacni", "validace", "vyvojova", "vyvojove"}
    ),
    SplitName.TEST: frozenset(
        {"test", "testing", "testovacia", "testovacie", "testovaci", "heldout", "held-out"}
    ),
}
"""What a split column may say, without case and accents."""

_MOST_NAMED = 5
_LONGEST_NAMED = 20


def method_of(raw: RawData, split: SplitSpec) -> SplitMethod:
    """Return how to divide these rows: AUTO for the splits that they come with, else the method.

    A group column is always respected where rows are drawn, so that STRATIFIED becomes GROUPED.

    Raises:
        TaskError: The method needs a column that is not named.
    """
    method = split.method
    if method is SplitMethod.AUTO:
        if split.column is not None:
            return SplitMethod.COLUMN
        if len(raw.splits) > 1:
            return method
        method = SplitMethod.STRATIFIED
    if method is SplitMethod.COLUMN and split.column is None:
        raise TaskError(
            "a split by column without the column's name",
            expected="the column that says train, validation or test",
            hint="--split-column NAME",
        )
    if method is SplitMethod.GROUPED and split.group is None:
        raise TaskError(
            "a grouped split without a group column",
            expected="the column whose equal values stay on one side",
            hint="--group NAME",
        )
    return (
        SplitMethod.GROUPED
        if method is SplitMethod.STRATIFIED and split.group is not None
        else method
    )


def join_splits(raw: RawData, method: SplitMethod) -> RawData:
    """Return the data with the rows of all given splits as training rows, to be divided anew.

    A column that one of the splits lacks is empty there.
    """
    if len(raw.splits) == 1:
        return raw
    given = " and ".join(name for name in SplitName if name in raw.splits)
    _LOGGER.info(
        f"{raw.id}: the given splits ({given}) are put together and divided anew: {method}"
    )
    tables = [raw.splits[name] for name in SplitName if name in raw.splits]
    table = {
        column: [
            value
            for rows in tables
            for value in (rows[column] if column in rows else [None] * num_rows(rows))
        ]
        for column in raw.train
    }
    return dataclasses.replace(raw, splits={SplitName.TRAIN: table})


def split_of(value: object) -> SplitName | None:
    """Return the split that a cell names, in English, Slovak or Czech; None for anything else.

    Example:
        >>> split_of("Trénovacia"), split_of("dev"), split_of("first")
        (<SplitName.TRAIN: 'train'>, <SplitName.VALIDATION: 'validation'>, None)
    """
    decomposed = unicodedata.normalize("NFKD", str(value).strip().casefold())
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return next((name for name, values in SPLIT_VALUES.items() if plain in values), None)


def rows_by_column(values: Values, column: str, task: str) -> dict[SplitName, Rows]:
    """Return the positions of each split's rows, as a column names them.

    Raises:
        TaskError: A cell is empty or names no split, or there are no training rows.
    """
    names = [None if is_missing(value) else split_of(value) for value in values]
    unknown = Counter(
        "nothing" if is_missing(value) else str(value).strip()
        for value, name in zip(values, names, strict=True)
        if name is None
    )
    if unknown:
        raise TaskError(
            f"split column {column!r} of {task} has {unknown.total()} rows with {_listed(unknown)}",
            expected="train, validation (dev) or test in every row",
            hint="mend the column, or split by another method: --split stratified",
        )
    found = {
        name: np.array([row for row, value in enumerate(names) if value is name], dtype=np.int64)
        for name in SplitName
        if name in names
    }
    if SplitName.TRAIN not in found:
        raise TaskError(
            f"split column {column!r} of {task} has no training rows",
            expected="train in some rows",
        )
    return found


def _listed(values: Counter[str]) -> str:
    """Name values that are no split, unless they look like texts: those are only counted."""
    if len(values) > _MOST_NAMED or any(len(value) > _LONGEST_NAMED for value in values):
        return f"{len(values)} other values"
    return ", ".join(f"{value!r} ({count})" for value, count in sorted(values.items()))


@dataclass(frozen=True)
class Divider:
    """Divides the rows of one set of data, the same way whenever they are read.

    Attributes:
        task: Id of the data.
        file: File beside which drawn divisions are stored; None for data that are no local file.
        files: The splits that the rows came in.
        columns: The text columns.
        method: See :func:`method_of`.
        how: Columns, shares and seed.
    """

    task: str
    file: Path | None
    files: tuple[str, ...]
    columns: tuple[str, ...]
    method: SplitMethod
    how: SplitSpec

    @property
    def draws(self) -> bool:
        """Whether parts are drawn, and neither given with the rows nor named by a column."""
        return self.method not in (SplitMethod.AUTO, SplitMethod.COLUMN)

    @property
    def group_column(self) -> str | None:
        """The column whose equal values stay together, where rows are drawn by one."""
        return self.how.group if self.draws else None

    @property
    def split_column(self) -> str | None:
        """The column that names the split of each row, where it decides."""
        return self.how.column if self.method is SplitMethod.COLUMN else None

    def divide(self, rows: Mapping[SplitName, TextRows]) -> Mapping[SplitName, TextRows]:
        """Return the rows by split; given splits, and rows that go into folds, stay as they are.

        Args:
            rows: Rows by given split; where they are divided here, all are training rows.

        Raises:
            TaskError: The split column, or a stored division, is damaged.
            StorageError: A new division cannot be stored.
        """
        if self.method in (SplitMethod.AUTO, SplitMethod.K_FOLD):
            return rows
        whole = rows[SplitName.TRAIN]
        if self.split_column is not None:
            named = rows_by_column(whole.parts or [], self.split_column, self.task)
            return {name: whole.take(part) for name, part in named.items()}
        part = self._draw(whole, test_share=self.how.test_share)
        if self.group_column is not None and not part.any():
            raise TaskError(
                f"{len(set(whole.joined))} groups by column {self.group_column!r} in {self.task}"
                " leave no test rows",
                expected="several groups, some of them smaller than the share of test rows",
                hint="another --group, or --split k-fold",
            )
        return {
            name: whole.take(np.flatnonzero(part == number))
            for number, name in enumerate((SplitName.TRAIN, SplitName.TEST))
        }

    def folds(self, rows: TextRows) -> list[dict[str, int]]:
        """Return, for each repetition, the fold of each text by its key.

        Raises:
            TaskError: There are fewer texts or groups than folds.
            StorageError: A new division cannot be stored.
        """
        distinct = len(set(rows.joined))
        if distinct < self.how.folds:
            what = "texts" if self.how.group is None else f"groups by column {self.how.group!r}"
            raise TaskError(
                f"{distinct} distinct {what} in {self.task} for {self.how.folds} folds",
                expected=f"at least {self.how.folds}",
                hint="fewer --folds",
            )
        return [
            dict(
                zip(
                    rows.keys,
                    self._draw(rows, folds=self.how.folds, repeat=repeat).tolist(),
                    strict=True,
                )
            )
            for repeat in range(self.how.repeats)
        ]

    def origin(self, rows: Mapping[SplitName, TextRows]) -> SplitOrigin:
        """Return where the split comes from."""
        folded = self.method is SplitMethod.K_FOLD
        return SplitOrigin(
            method="given" if self.method is SplitMethod.AUTO else self.method.value,
            column=self.split_column or "",
            group=self.group_column or "",
            groups={name.value: len(set(part.joined)) for name, part in rows.items()},
            folds=self.how.folds if folded else 0,
            repeats=self.how.repeats if folded else 0,
        )

    def _draw(
        self,
        rows: TextRows,
        *,
        test_share: float | None = None,
        folds: int | None = None,
        repeat: int = 0,
    ) -> Rows:
        """Return the part of each row, as it is stored or newly drawn."""
        drawing = SplitDraw(
            columns=self.columns,
            group=self.how.group,
            files=self.files,
            test_share=test_share,
            folds=folds,
            repeat=repeat,
            seed=self.how.seed,
        )
        drawn = stored_division(
            split_places(self.file, self.task),
            rows.keys,
            rows.joined,
            rows.strata(min(drawing.shares)),
            drawing,
        )
        if drawn.new:
            where = "training rows" if folds is None else "spread over the folds"
            _LOGGER.info(
                f"{self.task}: {drawn.new} rows are new since {drawn.path} was made: they go with"
                f" others of their text or group, else they are {where}"
            )
        return drawn.part
