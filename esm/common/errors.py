"""The errors a user can meet. Each says what was got, what was expected and what to try."""

from __future__ import annotations


class EsmError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        got: What was found, with the numbers and names that identify it.
        expected: What would have been right.
        hint: What the user can do next.

    Example:
        >>> str(EsmError("labels have 90 rows, features 100", hint="pass the same split"))
        'labels have 90 rows, features 100; try: pass the same split'
    """

    def __init__(self, got: str, *, expected: str = "", hint: str = "") -> None:
        self.got = got
        self.expected = expected
        self.hint = hint
        parts = [got]
        if expected:
            parts.append(f"expected {expected}")
        if hint:
            parts.append(f"try: {hint}")
        super().__init__("; ".join(parts))


class TaskError(EsmError, ValueError):
    """A task's data cannot be used as they are."""


class ShapeError(EsmError, ValueError):
    """Arrays do not fit together."""


class EncoderError(EsmError, RuntimeError):
    """A base model cannot be loaded or cannot embed."""


class MapError(EsmError, ValueError):
    """A stored Embedding Space Map is damaged or does not fit."""


class FitError(EsmError, ValueError):
    """A map or a model cannot be fitted to what was given."""


class PoolError(EsmError, ValueError):
    """A pool of maps cannot be read, written or used for this purpose."""


class RankingError(EsmError, ValueError):
    """A ranking, or the table it is judged by, cannot be used."""


class ValidationError(EsmError, ValueError):
    """A validation run cannot be planned or carried on."""


class SettingError(EsmError, ValueError):
    """A setting has a value that it cannot have."""


class StorageError(EsmError, OSError):
    """A file cannot be read or written."""


class BusyError(EsmError, RuntimeError):
    """Another process is writing to the same place."""


class HubError(EsmError, ConnectionError):
    """The Hugging Face Hub cannot be reached or refuses."""
