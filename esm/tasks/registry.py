"""Public source tasks that are known to be useful, where they lie and how to read them.

The registry is a file, ``data/registry.toml``; it holds no data. Every entry says where its
columns were checked. ``registry:NAME`` stands for an entry wherever a source task is named.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from pathlib import Path

from esm.common.errors import TaskError
from esm.common.records import Record, parse
from esm.tasks.licences import Terms, terms
from esm.tasks.spec import TaskSpec

PREFIX = "registry:"

_FILE = "registry.toml"
_PACKAGE = "esm.data"


class RegistryEntry(Record):
    """One source task on the Hub.

    Attributes:
        name: Its name here; the id of the source in a pool.
        hub: Hub dataset id.
        config: Hub configuration.
        revision: Hub revision that was checked; None reads the newest.
        text: Text column.
        text_pair: Second text column of a pair task.
        attribute: Label column.
        kind: What the labels are, a :class:`~esm.tasks.task.Problem`.
        train_split: Hub split to train on, where it is not ``train``.
        test_split: Hub split to test on, where it is not ``test`` (or that one has no labels).
        language: ISO 639-1 code.
        licence: As the dataset's card or the original states it.
        good_for: What it teaches.
        checked: Address of the documentation or code in which the columns were seen.
    """

    name: str
    hub: str
    config: str | None = None
    revision: str | None = None
    text: str
    text_pair: str | None = None
    attribute: str
    kind: str
    train_split: str | None = None
    test_split: str | None = None
    language: str
    licence: str
    good_for: str
    checked: str

    @property
    def terms(self) -> Terms:
        """What the licence says of commercial use."""
        return terms(self.licence)

    def spec(self) -> TaskSpec:
        """Return how to read it."""
        return TaskSpec(
            location=self.hub,
            id=self.name,
            registry=self.name,
            text=self.text,
            text_pair=self.text_pair,
            attributes=(self.attribute,),
            kind=self.kind,
            language=self.language,
            licence=self.licence,
            config=self.config,
            revision=self.revision,
            train_split=self.train_split,
            test_split=self.test_split,
        )


@functools.cache
def registry() -> tuple[RegistryEntry, ...]:
    """Return all entries, in the file's order: by what they are good for.

    Raises:
        TaskError: The file is damaged.
    """
    try:
        content = tomllib.loads(_read())
    except tomllib.TOMLDecodeError as error:
        raise TaskError(
            f"{_FILE} is no TOML ({error})", expected="the file as it was installed"
        ) from error
    return tuple(
        parse(
            RegistryEntry,
            {"name": name, **entry},
            where=Path(_FILE),
            refusal=TaskError,
            expected="the fields of an entry, no more and no fewer",
        )
        for name, entry in content.items()
    )


def find(name: str) -> RegistryEntry:
    """Return one entry, with or without ``registry:`` before its name.

    Raises:
        TaskError: There is none of this name.
    """
    wanted = name.removeprefix(PREFIX)
    entries = {entry.name: entry for entry in registry()}
    if wanted not in entries:
        near = difflib.get_close_matches(wanted, entries, n=3)
        raise TaskError(
            f"no entry {wanted!r} in the registry",
            expected=f"one of its {len(entries)} names"
            + (f", such as {', '.join(near)}" if near else ""),
            hint="esm tasks ls --registry",
        )
    return entries[wanted]


def _read() -> str:
    """Return the file's text: from the checkout this module lies in, else as installed."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return (checkout / "data" / _FILE).read_text(encoding="utf-8")
    from importlib.resources import files

    return files(_PACKAGE).joinpath(_FILE).read_text(encoding="utf-8")
