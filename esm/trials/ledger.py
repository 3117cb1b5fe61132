"""The ledger: every measured training run as one durable row of an SQLite file.

A row is keyed by a hash of everything that determines the run, so a command that is repeated
after a kill knows what is done. SQLite's write-ahead log needs a local disk; network file
systems do not lock reliably enough for it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import ConfigDict, Field
from pydantic import ValidationError as PydanticError

from esm.common.errors import StorageError
from esm.common.records import Record
from esm.common.storage import content_hash, to_json, write_atomic
from esm.tasks.raw import attribute_id

if TYPE_CHECKING:
    import pandas as pd

LEDGER_NAME = "ledger.sqlite"
LEDGER_FORMAT = 3

_SCHEMA = """
CREATE TABLE runs (
    key TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    attribute TEXT NOT NULL,
    source TEXT NOT NULL,
    strategy TEXT NOT NULL,
    seed INTEGER NOT NULL,
    source_seed INTEGER,
    fold INTEGER,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    metrics TEXT NOT NULL,
    confusion TEXT NOT NULL,
    trained_parameters INTEGER NOT NULL,
    total_parameters INTEGER NOT NULL,
    stored_parameters INTEGER NOT NULL,
    num_train INTEGER NOT NULL,
    num_test INTEGER NOT NULL,
    seconds REAL NOT NULL,
    peak_memory INTEGER,
    remarks TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    created TEXT NOT NULL,
    versions TEXT NOT NULL
) WITHOUT ROWID
"""


_AS_JSON = ("metrics", "confusion", "remarks", "versions")
_FURTHER_COLUMNS = (
    "seed",
    "source_seed",
    "fold",
    "strategy",
    "metric",
    "trained_parameters",
    "total_parameters",
    "stored_parameters",
    "num_train",
    "num_test",
    "seconds",
    "peak_memory",
    "config_hash",
    "created",
)


# (c, c) counts of rows by true and predicted class, or (c, 2, 2) for the c labels of a multi-label
# task; see :func:`esm.metrics.confusion.confusion_matrix`.
Confusion = list[list[int]] | list[list[list[int]]]


class RunKey(Record):
    """Everything that determines the outcome of a run on one kind of machine.

    Attributes:
        target: Id of the target.
        attribute: Name of the attribute.
        target_hash: Hash of the attribute's texts, labels and splits, in all folds.
        base: Hash of the base model's identity.
        max_chunks: Most windows in which a long text of the target is read.
        source: Id of the source task, or ``none``.
        source_hash: Hash of the source's rows and fine-tuning settings; None for ``none``.
        source_seed: Seed of the source's fine-tuning; None for ``none``.
        strategy: Name of the transfer strategy.
        transfer: Its settings, with every default filled in.
        max_train: Most training rows of the attribute that are used; None for all.
        seed: Seed of the head, the adapter and the order of the data.
        fold: The fold whose rows are the test rows; None for a fixed split.
        format: Version of what a run means; another one never resumes.
        delta: Hash of the source's delta, where the run starts from the base model with it; None
            where it starts from the whole tuned encoder, and for ``none``.
    """

    target: str
    attribute: str
    target_hash: str
    base: str
    max_chunks: int = 1
    source: str
    source_hash: str | None
    source_seed: int | None
    strategy: str
    transfer: Mapping[str, Any]
    max_train: int | None
    seed: int
    fold: int | None = None
    format: int = LEDGER_FORMAT
    delta: str | None = None

    def content_hash(self) -> str:
        """Return the key of the run's row; without a delta it is what it was before there were."""
        return content_hash(
            self.model_dump(mode="json", exclude={"delta"} if self.delta is None else None)
        )

    def config_hash(self) -> str:
        """Return a hash of what runs must share to be compared: all but source, seeds, fold."""
        left_out = {"source", "source_hash", "source_seed", "seed", "fold", "delta"}
        return content_hash(self.model_dump(mode="json", exclude=left_out))


class RunRow(Record):
    """One finished run.

    Attributes:
        key: Hash of the :class:`RunKey`.
        target: Id of the target.
        attribute: Name of the attribute.
        source: Id of the source task, or ``none``.
        strategy: Name of the transfer strategy.
        seed: Seed of the run.
        source_seed: Seed of the source's fine-tuning; None for ``none``.
        fold: The fold whose rows are the test rows; None for a fixed split.
        metric: Primary metric.
        value: Its value on the test rows.
        metrics: All metrics by name.
        confusion: Test rows by true and predicted class, as
            :func:`~esm.metrics.confusion.confusion_matrix` counts them; None for regression.
        trained_parameters: Weights that were trained on the attribute.
        total_parameters: Weights of the whole model.
        stored_parameters: Numbers kept of it beside the encoder that training started from.
        num_train: Training rows used.
        num_test: Test rows.
        seconds: Training and evaluation on the attribute, without the source's fine-tuning.
        peak_memory: Bytes in use at most while training, see :func:`esm.common.memory.peak_memory`;
            None where the system does not tell.
        remarks: What has to be known of this training to judge its result.
        config_hash: See :meth:`RunKey.config_hash`.
        created: UTC time at which the run ended, ISO 8601.
        versions: Versions of the libraries, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    key: str
    target: str
    attribute: str
    source: str
    strategy: str
    seed: int
    source_seed: int | None
    fold: int | None = None
    metric: str
    value: float
    metrics: dict[str, float]
    confusion: Confusion | None = None
    trained_parameters: int
    total_parameters: int
    stored_parameters: int
    num_train: int
    num_test: int
    seconds: float
    peak_memory: int | None = None
    remarks: tuple[str, ...] = ()
    config_hash: str
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = Field(default_factory=dict)


class Ledger:
    """A ledger on disk; one writer at a time, which the caller's folder lock ensures.

    Every :meth:`record` is one synchronous transaction: after it returns, neither ``kill -9`` nor
    a power cut loses the row. The file is readable by its owner only. Use it in a ``with`` block;
    closing folds the write-ahead log into the file.

    Args:
        path: The file; made, with its folder, where it is missing.

    Raises:
        StorageError: It cannot be opened, is damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None)
        try:
            with self._errors():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        (problem,) = run("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            self._create()
        elif version != LEDGER_FORMAT:
            raise StorageError(
                f"{self.path} has format {version}",
                expected=f"format {LEDGER_FORMAT}",
                hint="another version of esm, or another --out folder",
            )

    def _create(self) -> None:
        """Make the table and mark the file in one transaction, so that a kill leaves neither."""
        with self._transaction() as run:
            if run("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
                raise StorageError(
                    f"{self.path} is an SQLite file of something else", expected="a ledger of esm"
                )
            run(_SCHEMA)
            run(f"PRAGMA user_version = {LEDGER_FORMAT}")

    def record(self, row: RunRow) -> None:
        """Store a finished run; a run that is already there stays as it is.

        Raises:
            StorageError: The disk is full and the like; the ledger is as before.
        """
        values = _to_columns(row)
        names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        with self._errors(), self._transaction() as run:
            run(f"INSERT INTO runs ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING", values)

    def get(self, key: str) -> RunRow | None:
        """Return the run with this key, or None."""
        found = self._select("WHERE key = ?", (key,))
        return found[0] if found else None

    def rows(self, *, strategy: str | None = None) -> list[RunRow]:
        """Return all runs, or those of one strategy, in an order that does not depend on time."""
        order = "ORDER BY target, attribute, source, strategy, source_seed, seed, fold, key"
        if strategy is None:
            return self._select(order, ())
        return self._select(f"WHERE strategy = ? {order}", (strategy,))

    def to_truth(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the runs, or those with the given keys, as a table that ``evaluate`` reads."""
        rows = self.rows()
        if keys is not None:
            wanted = set(keys)
            rows = [row for row in rows if row.key in wanted]
        return truth_table(rows)

    def export(self, path: Path) -> None:
        """Write all runs to a .csv, .parquet or .json file, readable by its owner only.

        Raises:
            StorageError: Another suffix, or the file cannot be written.
        """
        if path.suffix == ".json":
            content = to_json([row.model_dump(mode="json") for row in self.rows()]).encode()
        elif path.suffix == ".csv":
            content = self.to_truth().to_csv(index=False).encode()
        elif path.suffix == ".parquet":
            buffer = io.BytesIO()
            self.to_truth().to_parquet(buffer, index=False)
            content = buffer.getvalue()
        else:
            raise StorageError(
                f"{path} ends in {path.suffix!r}", expected=".csv, .parquet or .json"
            )
        write_atomic(path, content, private=True)

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with self._errors(), contextlib.closing(self._connection):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _select(self, condition: str, values: tuple[str, ...]) -> list[RunRow]:
        names = list(RunRow.model_fields)
        with self._errors():
            found = self._connection.execute(
                f"SELECT {', '.join(names)} FROM runs {condition}", values
            ).fetchall()
        return [self._from_columns(dict(zip(names, row, strict=True))) for row in found]

    def _from_columns(self, values: dict[str, Any]) -> RunRow:
        try:
            values |= {name: json.loads(values[name]) for name in _AS_JSON}
            return RunRow.model_validate(values)
        except (ValueError, TypeError, PydanticError) as error:
            raise self._damaged(f"row {str(values['key'])[:12]}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            yield run
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate SQLite's errors: what is the machine's fault, and what is the file's."""
        try:
            yield
        except StorageError:
            raise
        except (sqlite3.OperationalError, OSError) as error:
            raise StorageError(
                f"cannot use ledger {self.path}: {error}",
                expected="a writable local folder with free space",
                hint="free space or choose another --out; finished runs are kept",
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, problem: str) -> StorageError:
        return StorageError(
            f"ledger {self.path} is damaged ({problem})",
            expected="an SQLite file written by esm",
            hint="restore a copy, or move it away and run the command again",
        )


def truth_table(rows: Iterable[RunRow]) -> pd.DataFrame:
    """Return runs as a results table: target (``target/attribute``), source, performance, seed.

    Further columns tell what was run and what it cost; ``esm evaluate`` reads the table as it is.
    """
    import pandas as pd

    records = [
        {
            "target": attribute_id(row.target, row.attribute),
            "source": row.source,
            "performance": row.value,
        }
        | row.model_dump(include=set(_FURTHER_COLUMNS))
        for row in rows
    ]
    table = pd.DataFrame(records, columns=["target", "source", "performance", *_FURTHER_COLUMNS])
    return table.astype(dict.fromkeys(("source_seed", "fold", "peak_memory"), "Int64"))


def _to_columns(row: RunRow) -> dict[str, Any]:
    """Return the row as SQLite stores it: mappings and lists as JSON text."""
    values = row.model_dump()
    return values | {name: json.dumps(values[name], sort_keys=True) for name in _AS_JSON}
