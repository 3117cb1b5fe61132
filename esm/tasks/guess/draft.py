"""A proposal as a TOML file for a person to read and edit: every choice beside its reason."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.common.errors import TaskError
from esm.common.storage import write_atomic
from esm.tasks.guess.propose import Proposal
from esm.tasks.guess.roles import Guess, Role
from esm.tasks.spec import ColumnSpec, SplitSpec
from esm.tasks.specfile import FILE

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Table

ENDING = ".toml"

_WIDTH = 96
_ORDER = (
    "text",
    "text_pair",
    "attributes",
    "attribute_column",
    "value_column",
    "annotator",
    "encoding",
    "delimiter",
    "sheet",
)
_HEAD = (
    "What the columns of the file are: proposed, for you to check. Every verb takes this file in"
    " place of the data. What follows a # is for people only."
)


def write_draft(proposal: Proposal, path: Path | None = None, *, replace: bool = False) -> Path:
    """Write a proposal as a specification in TOML that only its owner can read.

    Args:
        proposal: What to write.
        path: Where; None writes beside the data file, under its name.
        replace: Whether a file that is there may be replaced.

    Returns:
        Where it was written.

    Raises:
        TaskError: The path does not end in ``.toml``, or there is a file and it may not be
            replaced.
        StorageError: It cannot be written.
    """
    path = proposal.spec.path.with_suffix(ENDING) if path is None else path
    if path.suffix.lower() != ENDING:
        raise TaskError(
            f"{path} ends in {path.suffix!r}",
            expected=f"a name that ends in {ENDING}",
            hint=f"--out {path.with_suffix(ENDING).name}",
        )
    if path.exists() and not replace:
        raise TaskError(
            f"{path} is there already",
            expected="a new file, so that nothing that was edited is lost",
            hint=f"--out another{ENDING}, or --replace",
        )
    write_atomic(path, as_toml(proposal, path.parent).encode(), private=True)
    return path


def as_toml(proposal: Proposal, folder: Path) -> str:
    """Return a proposal as a specification in TOML, with the reasons as comments.

    Args:
        proposal: What to write.
        folder: Where the specification will lie: the data file is named relative to it.
    """
    import tomlkit

    document = tomlkit.document()
    _comment(document, _HEAD)
    document.add(tomlkit.nl())
    spec = proposal.spec
    document.add(FILE, _relative(spec.path, folder))
    why = {guess.role.value: guess.why for guess in proposal.guesses}
    reasons = {
        "text": why.get(Role.TEXT, "named by you"),
        "text_pair": why.get(Role.TEXT_PAIR, ""),
        "attribute_column": why.get(Role.ATTRIBUTE_NAMES, ""),
        "value_column": why.get(Role.VALUES, ""),
        "attributes": "what to predict; the reasons stand with the single ones below",
    } | dict(proposal.reasons)
    for key in _ORDER:
        value = getattr(spec, key)
        if value:
            _comment(document, reasons.get(key, "named by you"))
            document.add(key, list(value) if isinstance(value, tuple) else value)
    _add_language(document, proposal)
    _add_left_out(document, proposal.guesses)
    document.add("split", _split(spec.split, proposal))
    for guess in proposal.guesses:
        if guess.how is not None:
            # One table header per column, so that each can have its comments.
            columns = document.setdefault("columns", tomlkit.table(is_super_table=True))
            columns.add(guess.name, _column(guess, guess.how))
    return tomlkit.dumps(document)


def _relative(file: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return str(file.resolve())


def _comment(table: TOMLDocument | Table, text: str) -> None:
    import tomlkit

    for line in textwrap.wrap(" ".join(text.split()), _WIDTH):
        table.add(tomlkit.comment(line))


def _add_language(document: TOMLDocument, proposal: Proposal) -> None:
    import tomlkit

    document.add(tomlkit.nl())
    _comment(document, "The file does not say; take the first # away and write what holds:")
    _comment(document, proposal.reasons.get("language", 'language = "sk"'))
    _comment(document, 'licence = "CC BY 4.0"')


def _add_left_out(document: TOMLDocument, guesses: Sequence[Guess]) -> None:
    import tomlkit

    left_out = [guess for guess in guesses if guess.role is Role.NONE]
    if not left_out:
        return
    document.add(tomlkit.nl())
    _comment(document, "Not taken; to predict one of them, add it to the attributes:")
    for guess in left_out:
        _comment(document, f"{guess.name!r}: {guess.why}")


def _split(split: SplitSpec, proposal: Proposal) -> Table:
    import tomlkit

    table = tomlkit.table()
    _comment(table, proposal.reasons["split"])
    _comment(table, "Others: stratified, grouped, k-fold, column, auto.")
    table.add("method", split.method.value)
    if split.column is not None:
        table.add("column", split.column)
    if split.group is not None:
        _comment(table, _about(proposal, split.group))
        table.add("group", split.group)
    return table


def _about(proposal: Proposal, column: str) -> str:
    return next(guess.why for guess in proposal.guesses if guess.name == column)


def _column(guess: Guess, how: ColumnSpec) -> Table:
    import tomlkit

    table = tomlkit.table()
    _comment(table, guess.why)
    values: dict[str, Any] = how.model_dump(mode="json", exclude_defaults=True)
    rare = {key: values.pop(key) for key in ("min_per_class", "rare") if key in values}
    for key, value in values.items():
        table.add(key, value)
    if how.order:
        _comment(table, 'Where their order does not matter: kind = "classification".')
    if rare:
        _comment(table, f"{guess.about_rare}. Or rare = keep, leave-out, merge, refuse.")
    for key, value in rare.items():
        table.add(key, value)
    return table
