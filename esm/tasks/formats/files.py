"""Files of labelled rows to columns of raw values: text tables, XLSX, JSON, Parquet, CoNLL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from esm.common.errors import TaskError
from esm.tasks.formats.arrow import read_arrow, read_parquet
from esm.tasks.formats.conll import read_conll
from esm.tasks.formats.delimited import find_delimiter, read_delimited
from esm.tasks.formats.encodings import read_text
from esm.tasks.formats.fasttext import is_fasttext, read_fasttext
from esm.tasks.formats.json_rows import read_json_rows
from esm.tasks.formats.sentences import TEXT
from esm.tasks.formats.tools import columns_of_rows, columns_of_table
from esm.tasks.formats.xlsx import read_workbook
from esm.tasks.raw import RawData, Table, to_id
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Problem, SplitName

_USUAL_NAMES = frozenset({"train", "training"})


def read_data(path: Path, spec: TaskSpec | None = None) -> RawData:
    """Read a file of labelled rows; all of them are training rows until they are split."""
    table = read_table(path, spec)
    return RawData(id=to_id(_name(path)), splits={SplitName.TRAIN: table}, file=path)


def _name(path: Path) -> str:
    """Return the file's name, or its folder's where many files are called that."""
    usual = path.stem.lower() in _USUAL_NAMES
    return path.resolve().parent.name if usual else path.stem


def read_table(path: Path, spec: TaskSpec | None = None) -> Table:
    """Read a file's columns: strings, whole numbers, numbers, truth values or lists of them.

    The columns are as in the file; :func:`esm.tasks.arrange.arrange` makes columns of attributes
    of the rows of a long file, and lists of cells that hold several labels.

    Args:
        path: A .csv, .tsv, .txt, .xlsx, .json, .jsonl, .parquet or .conll file.
        spec: What is known of its encoding, delimiter and sheet, which columns hold texts where
            they look like numbers, and whether a .txt file is a corpus of one text a line, no
            table; None finds everything out.

    Raises:
        TaskError: The file is empty, malformed, in another encoding or of another kind.
    """
    suffix = path.suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        raise TaskError(
            f"{path} is a {path.suffix or 'suffixless'} file",
            expected=f"one of {', '.join(_READERS)}",
            hint=_OTHER_KINDS.get(suffix, "convert the file"),
        )
    if not path.is_file():
        raise TaskError(f"no file {path}", expected="an existing file")
    if path.stat().st_size == 0:
        raise _empty(path, "is empty")
    spec = spec or TaskSpec(location=str(path))
    table = _read_lines(path, spec) if _is_lines(path, spec) else reader(path, spec)
    if not table or not any(table.values()):
        raise _empty(path, "has no rows")
    return table


def _empty(path: Path, what: str) -> TaskError:
    return TaskError(f"{path} {what}", expected="a header or keys, and at least one row")


def _as_strings(spec: TaskSpec) -> frozenset[str]:
    """Return columns in which ``1,2`` is no number: lists of labels, and values of any kind."""
    lists = {name for name, column in spec.columns.items() if column.separator is not None}
    return frozenset(lists | ({spec.value_column} if spec.value_column else set()))


def _text_of(path: Path, spec: TaskSpec) -> str:
    text = read_text(path, spec.encoding)
    if not text.strip():
        raise _empty(path, "is empty")
    return text


def _is_lines(path: Path, spec: TaskSpec) -> bool:
    """Return whether a file holds a text a line: a corpus, of which no column was named."""
    plain = spec.text is None and spec.delimiter is None
    return spec.kind == Problem.CORPUS and plain and path.suffix.lower() == ".txt"


def _read_lines(path: Path, spec: TaskSpec) -> Table:
    # Not splitlines: texts may hold other characters that count as ends of lines.
    lines = _text_of(path, spec).removesuffix("\n").split("\n")
    return {TEXT: [line.removesuffix("\r") for line in lines]}


def _read_text_table(path: Path, spec: TaskSpec) -> Table:
    text = _text_of(path, spec)
    if spec.delimiter is None and is_fasttext(text):
        return read_fasttext(text).told(path)
    usual = "\t" if path.suffix.lower() == ".tsv" else None
    delimiter = spec.delimiter or usual or find_delimiter(text)
    table = read_delimited(path, text, delimiter, as_strings=_as_strings(spec))
    return columns_of_table(path, table)


def _read_workbook(path: Path, spec: TaskSpec) -> Table:
    table = read_workbook(path, spec.sheet, as_strings=_as_strings(spec))
    return columns_of_table(path, table)


def _read_json(path: Path, spec: TaskSpec) -> Table:
    return columns_of_rows(path, read_json_rows(path, _text_of(path, spec)))


def _read_conll(path: Path, spec: TaskSpec) -> Table:
    return read_conll(path, _text_of(path, spec))


def _read_parquet(path: Path, _: TaskSpec) -> Table:
    return read_parquet(path)


def _read_arrow(path: Path, _: TaskSpec) -> Table:
    return read_arrow(path)


_READERS: dict[str, Callable[[Path, TaskSpec], Table]] = {
    ".csv": _read_text_table,
    ".tsv": _read_text_table,
    ".txt": _read_text_table,
    ".xlsx": _read_workbook,
    ".jsonl": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    ".conll": _read_conll,
}
_OTHER_KINDS = {
    ".xls": "save it as .xlsx",
    ".ods": "save it as .xlsx",
    ".conllu": "write each word, a tab and its tag in a line, as .conll",
    ".spacy": "write JSON lines with text and cats, by a loop over the DocBin's docs",
    ".zip": "unzip it; annotation tools put one file per annotator or split into it",
    ".gz": "unpack it",
    ".toml": "read it with esm.tasks.specfile.read_spec",
}
SUFFIXES = tuple(_READERS)
