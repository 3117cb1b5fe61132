"""Strategies by name; a strategy's libraries are imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esm.errors import ValidationError

if TYPE_CHECKING:
    from esm.transfer.strategy import Strategy

STRATEGIES = ("houlsby", "full", "features")
"""Names of the strategies, the default first."""


def strategy(name: str) -> Strategy:
    """Return the strategy of this name.

    Raises:
        ValidationError: There is none.
    """
    match name:
        case "houlsby":
            from esm.transfer.houlsby import Houlsby

            return Houlsby()
        case "full":
            from esm.transfer.full import Full

            return Full()
        case "features":
            from esm.transfer.features import Features

            return Features()
        case _:
            raise ValidationError(
                f"no strategy {name!r}", expected=f"one of {', '.join(STRATEGIES)}"
            )
