"""Records that are read back from disk or given by a user: frozen, and strict about their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic import ValidationError as PydanticError

from esm.common.errors import EsmError, SettingError


class Record(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


def parse(
    kind: type[AnyRecord],
    content: object,
    *,
    where: object,
    refusal: type[EsmError],
    expected: str,
    hint: str = "",
) -> AnyRecord:
    """Build a record from what was read.

    Args:
        kind: The record's class.
        content: What was read.
        where: The file it came from, for the message.
        refusal: Error to raise.
        expected: What would have been right.
        hint: What to do.

    Raises:
        EsmError: Of the kind ``refusal``, naming the first field that is wrong.
    """
    try:
        return kind.model_validate(content)
    except PydanticError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise refusal(
            f"{where}: {field}: {problem['msg']}", expected=expected, hint=hint
        ) from error


def build_settings(kind: type[AnyRecord], values: Mapping[str, Any]) -> AnyRecord:
    """Build settings from a user's values.

    Raises:
        SettingError: A value is out of range, of the wrong type or unknown.
    """
    try:
        return kind.model_validate(dict(values))
    except PydanticError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise SettingError(
            f"{name} = {str(problem['input'])[:60]!r}",
            expected=problem["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
        ) from error
