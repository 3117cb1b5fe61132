"""Hub datasets to columns of raw values, through ``datasets`` and never by a script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from esm.common.errors import HubError, TaskError
from esm.tasks.raw import LabelColumn, RawData, Table, Values, to_id
from esm.tasks.spec import TaskSpec
from esm.tasks.task import SplitName, TaskMetadata

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

# Else None, NA, null and the like are no classes in CSV.
_WORDS: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(location: str) -> bool:
    """Return whether a location has the form ``owner/name``."""
    return _HUB_ID.fullmatch(location) is not None


def read_hub(spec: TaskSpec) -> RawData:
    """Read a Hub dataset: its train split, its test split and, where there is one, validation.

    Labels that the dataset stores as class indices become their names; -1, the Hub's mark of a
    hidden label, becomes null.

    Raises:
        HubError: The Hub cannot be reached, is switched off, or has no such dataset.
        TaskError: No such configuration or split; or a column that the registry names is gone.
    """
    data = _download(spec)
    chosen = {name: data[split] for name, split in _choose_splits(spec, data).items()}
    train = chosen[SplitName.TRAIN]
    splits = {name: _table(rows) for name, rows in chosen.items()}
    known = {
        column: LabelColumn(names=_names(train, column))
        for column in splits[SplitName.TRAIN]
        if _names(train, column)
    }
    identifier = spec.location if spec.config is None else f"{spec.location}/{spec.config}"
    _check_registered(spec, splits[SplitName.TRAIN])
    metadata = TaskMetadata(origin=f"https://huggingface.co/datasets/{spec.location}")
    return RawData(id=to_id(identifier), splits=splits, known=known, metadata=metadata)


def _check_registered(spec: TaskSpec, train: Table) -> None:
    """Refuse a dataset that has lost a column since its registry entry was checked."""
    named = (spec.text, spec.text_pair, *spec.attributes)
    lost = [column for column in named if column is not None and column not in train]
    if spec.registry is not None and lost:
        raise TaskError(
            f"registry entry {spec.registry!r} names column {lost[0]!r}, which Hub dataset"
            f" {spec.location!r} does not have (any more)",
            expected=f"one of {', '.join(map(repr, train))}",
            hint="name the columns with --text, --text-pair and --attribute, or an earlier version"
            " with --revision",
        )


def _download(spec: TaskSpec) -> DatasetDict:
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    try:
        data = _load(spec)
    except DatasetNotFoundError as error:
        raise HubError(
            f"no dataset {spec.location!r} on the Hub, or no access to it",
            expected="the id of a public dataset, or one that your token may read",
            hint="check the id, the revision and `hf auth whoami`",
        ) from error
    except (ConnectionError, FileNotFoundError) as error:
        off = datasets.config.HF_HUB_OFFLINE
        raise HubError(
            f"dataset {spec.location!r} is not on this machine and the Hub "
            + ("is switched off by HF_HUB_OFFLINE" if off else "cannot be reached"),
            expected="a downloaded dataset, or a connection",
            hint=("unset HF_HUB_OFFLINE" if off else "check the network")
            + f", or give a file or folder (there is none at {spec.location!r} here)",
        ) from error
    except (ValueError, RuntimeError, DatasetsError) as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise TaskError(
            f"Hub dataset {spec.location!r} cannot be loaded: {reason}",
            expected="data files that need no script, and a configuration that exists",
            hint=(
                "--revision refs/convert/parquet, where the Hub has converted it"
                if "script" in reason
                else "name the configuration with --config and the version with --revision"
            ),
        ) from error
    return data


def _load(spec: TaskSpec) -> DatasetDict:
    """Load the data; of CSV files, only empty cells are null, as in files on this machine."""
    import datasets

    place = {"name": spec.config, "revision": spec.revision}
    data: DatasetDict
    try:
        data = datasets.load_dataset(spec.location, **place, **_WORDS)
    except ValueError:  # other formats do not know these options, and lose no word
        data = datasets.load_dataset(spec.location, **place)
    return data


def _choose_splits(spec: TaskSpec, data: Mapping[str, Any]) -> dict[SplitName, str]:
    """Return which Hub split plays which part."""
    wanted = {
        SplitName.TRAIN: spec.train_split or ("train" if len(data) > 1 else next(iter(data))),
        SplitName.TEST: spec.test_split or "test",
    }
    named = (wanted[SplitName.TRAIN], *((spec.test_split,) if spec.test_split else ()))
    for split in named:
        if split not in data:
            raise TaskError(
                f"Hub dataset {spec.location!r} has no split {split!r}",
                expected=f"one of {', '.join(data)}",
                hint="--train-split and --test-split choose them",
            )
    if "validation" not in wanted.values():
        wanted[SplitName.VALIDATION] = "validation"
    return {
        name: split
        for name, split in wanted.items()
        if split in data and (name is SplitName.TRAIN or split != wanted[SplitName.TRAIN])
    }


def _table(rows: Dataset) -> Table:
    """Return the columns that hold texts, numbers, classes or lists of them."""
    plain = rows.select_columns([name for name in rows.column_names if _is_plain(rows, name)])
    return {name: _values(column, _names(rows, name)) for name, column in plain.to_dict().items()}


def _is_plain(rows: Dataset, column: str) -> bool:
    from datasets import ClassLabel, List, Value

    feature = rows.features[column]
    item = feature.feature if isinstance(feature, List) else feature
    return isinstance(item, Value | ClassLabel)


def _names(rows: Dataset, column: str) -> tuple[str, ...]:
    """Return the class names of a column of class indices, or of lists of them."""
    from datasets import ClassLabel, List

    feature = rows.features[column]
    item = feature.feature if isinstance(feature, List) else feature
    return tuple(item.names) if isinstance(item, ClassLabel) else ()


def _values(column: Values, names: tuple[str, ...]) -> Values:
    if not names:
        return column

    def name(code: int | None) -> str | None:
        return None if code is None or code < 0 else names[code]

    return [
        [name(code) for code in value] if isinstance(value, list) else name(value)
        for value in column
    ]
