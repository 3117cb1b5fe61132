"""CSV, TSV, JSONL and Parquet files to columns of raw values, through ``datasets``."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from esm.errors import TaskError
from esm.tasks.raw import RawData, Table, Values, is_missing, is_number, to_id
from esm.tasks.task import SplitName

if TYPE_CHECKING:
    from datasets import Dataset

# Without leading zeros: 007 is a code, not the number seven.
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_SAMPLE_BYTES = 1 << 16
_USUAL_NAMES = frozenset({"train", "training"})


def read_data(path: Path) -> RawData:
    """Read a file of labelled rows; all of them are training rows until they are split."""
    return RawData(id=to_id(_name(path)), splits={SplitName.TRAIN: read_table(path)}, file=path)


def _name(path: Path) -> str:
    """Return the file's name, or its folder's where many files are called that."""
    usual = path.stem.lower() in _USUAL_NAMES
    return path.resolve().parent.name if usual else path.stem


def read_table(path: Path) -> Table:
    """Read a file's columns: strings, whole numbers, numbers, truth values or lists of them.

    Cells of a CSV or TSV file are texts as they stand, so ``None``, ``NA`` and ``null`` are
    words; only empty cells are null. A column in which every cell is a number holds numbers.

    Raises:
        TaskError: The file is empty, not UTF-8, malformed or of another kind.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise TaskError(
            f"{path} is a {path.suffix or 'suffixless'} file",
            expected=f"one of {', '.join(_READERS)}",
            hint="convert the file",
        )
    if not path.is_file():
        raise TaskError(f"no file {path}", expected="an existing file")
    if path.stat().st_size == 0:
        raise _empty(path, "is empty")
    table = reader(path)
    if not table or not any(table.values()):
        raise _empty(path, "has no rows")
    return table


def _empty(path: Path, what: str) -> TaskError:
    return TaskError(f"{path} {what}", expected="a header or keys, and at least one row")


def _read_csv(path: Path) -> Table:
    _check_encoding(path)
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(path)
    header = _header(path, separator)

    def load(cache: str) -> Dataset:
        from datasets import Dataset, Features, Value

        return Dataset.from_csv(
            str(path),
            features=Features({name: Value("string") for name in header}),
            cache_dir=cache,
            keep_in_memory=True,
            sep=separator,
            header=0,
            column_names=header,
            keep_default_na=False,
            encoding="utf-8-sig",
        )

    return {name: _typed(values) for name, values in _load(path, load).items()}


def _read_jsonl(path: Path) -> Table:
    _check_encoding(path)

    def load(cache: str) -> Dataset:
        from datasets import Dataset

        return Dataset.from_json(str(path), cache_dir=cache, keep_in_memory=True)

    return _load(path, load)


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if pq.read_metadata(path).num_rows == 0:
            raise _empty(path, "has no rows")
    except pa.ArrowInvalid as error:
        raise TaskError(
            f"{path} is truncated or not Parquet", expected="a whole Parquet file"
        ) from error

    def load(cache: str) -> Dataset:
        from datasets import Dataset

        return Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)

    return _load(path, load)


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
SUFFIXES = tuple(_READERS)


def _load(path: Path, load: Callable[[str], Dataset]) -> Table:
    """Load in memory: the user's texts stay out of the shared cache of ``datasets``."""
    from datasets.exceptions import DatasetGenerationError

    try:
        with _silence(), tempfile.TemporaryDirectory(prefix="esm-") as cache:
            table: Table = load(cache).to_dict()
    except (DatasetGenerationError, ValueError) as error:
        raise TaskError(
            f"{path} cannot be read: {_what_is_wrong(path, error)}",
            expected=f"a well-formed {path.suffix.lower()} file",
            hint="mend the file, or write it again with pandas",
        ) from error
    return table


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the progress bars and log lines of ``datasets`` off stderr while a file is read."""
    import datasets

    verbosity = datasets.logging.get_verbosity()
    bars = not datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def _what_is_wrong(path: Path, error: BaseException) -> str:
    """Name the place of the fault without quoting the file: its texts stay out of messages."""
    from pandas.errors import ParserError

    if path.suffix.lower() == ".jsonl":
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                fault = _json_fault(line)
                if fault:
                    return f"line {number}: {fault}"
    cause = error.__cause__ or error
    if isinstance(cause, ParserError):
        return str(cause).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
    return f"{type(cause).__name__} in the reader"


def _json_fault(line: str) -> str:
    try:
        row = json.loads(line) if line.strip() else {}
    except json.JSONDecodeError as error:
        return f"{error.msg} at character {error.colno}"
    return "" if isinstance(row, dict) else "not an object with keys"


def _check_encoding(path: Path) -> None:
    """Refuse a file that is not UTF-8: one reader fails obscurely on it, the other silently."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TaskError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} in line {line}",
            expected="UTF-8 text",
            hint="convert it from its own encoding, for instance:"
            f" iconv -f WINDOWS-1250 -t UTF-8 {path.name} > utf8-{path.name}",
        ) from error
    if not text.strip():
        raise _empty(path, "is empty")


def _separator(path: Path) -> str:
    """Return what separates the header's columns: spreadsheets also write ';' and tabs."""
    with path.open(encoding="utf-8-sig") as stream:
        header = stream.readline(_SAMPLE_BYTES)
    return max((",", ";", "\t"), key=header.count)


def _header(path: Path, separator: str) -> list[str]:
    """Return the column names, after checking that the first row has no more cells.

    Pandas would silently take the surplus first cell as an index and shift all columns.
    """
    import pandas as pd

    try:
        top = pd.read_csv(
            path,
            sep=separator,
            header=None,
            nrows=2,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except pd.errors.ParserError as error:
        raise TaskError(
            f"{path} cannot be read: {_what_is_wrong(path, error)}",
            expected="as many cells in every row as in the header",
            hint="put quotes around texts that hold the separator",
        ) from error
    if len(top) < 2:
        raise _empty(path, "has no rows")
    names = [name.strip() or f"unnamed_{i}" for i, name in enumerate(map(str, top.iloc[0]))]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TaskError(
            f"{path} has several columns called {', '.join(map(repr, repeated))}",
            expected="a name of its own for each column",
        )
    return names


def _typed(cells: Values) -> Values:
    """Return numbers where every cell that is not empty is one, truth values likewise."""
    filled = [cell for cell in cells if not is_missing(cell)]
    if filled and all(_INTEGER.fullmatch(cell.strip()) for cell in filled):
        return [None if is_missing(cell) else int(cell) for cell in cells]
    if filled and all(_is_measure(cell.strip()) for cell in filled):
        return [None if is_missing(cell) else float(cell) for cell in cells]
    return [None if is_missing(cell) else cell for cell in cells]


def _is_measure(cell: str) -> bool:
    return (is_number(cell) and not re.match(r"-?0\d", cell)) or cell.lower() == "nan"
