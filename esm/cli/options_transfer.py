"""Options of training on a target, which validate and compare share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from esm.cli.options import commas, parse_assignments

Examples = Annotated[
    list[str] | None,
    typer.Option(
        help="Training rows per attribute, such as 50,100,all: a learning curve; what is told apart"
        " is so at the largest. Default: all."
    ),
]
PredictionFiles = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=FILE: labels that another system predicts for the test rows, beside ours; the"
        " file has the texts and a column per attribute.",
        metavar="NAME=FILE",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Time for this command, such as 2h, 90m or 1h30m: first what matters most (no transfer"
        " and the best picks, the strategies named first); what does not fit is named.",
        metavar="TIME",
    ),
]


def row_counts(words: list[str] | None) -> tuple[int | None, ...]:
    """Return numbers of rows, None for all; all alone where nothing is said.

    Raises:
        BadParameter: One is neither a number nor ``all``.
    """
    found = commas(words)
    if wrong := [word for word in found if word != "all" and not word.isdigit()]:
        raise typer.BadParameter(
            f"{wrong[0]!r}; expected numbers of rows, or all", param_hint="--examples"
        )
    return tuple(None if word == "all" else int(word) for word in found) or (None,)


def named_files(words: list[str] | None) -> dict[str, Path]:
    """Return files by the name of the system that predicted them.

    Raises:
        BadParameter: A name or a file is missing, or a name comes twice.
    """
    found: dict[str, Path] = {}
    for word in commas(words):
        name, _, path = word.partition("=")
        if not name or not path or name in found:
            raise typer.BadParameter(
                f"{word!r}; expected NAME=FILE, each name once", param_hint="--predictions"
            )
        found[name] = Path(path)
    return found


@dataclass(frozen=True)
class TransferOptions:
    """How to train on an attribute; see :class:`esm.strategies.settings.TransferConfig`.

    None for what the strategy's paper says.
    """

    num_epochs: Annotated[int | None, typer.Option("--epochs", help="Default: the strategy's.")] = (
        None
    )
    batch_size: Annotated[int | None, typer.Option(help="Default: the strategy's.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Default: the strategy's.")] = None
    adapter_size: Annotated[
        int | None, typer.Option(help="Width of the bottlenecks. Default: the strategy's.")
    ] = None
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="What a strategy alone can be told, such as lora.rank=16; by commas.",
            metavar="NAME=VALUE",
        ),
    ] = None
    class_weights: Annotated[
        str,
        typer.Option(help="balanced, none, or auto: balanced where macro-F1 is the metric."),
    ] = "auto"
    bf16: Annotated[
        bool, typer.Option("--bf16/--no-bf16", help="Train in bfloat16 on hardware that has it.")
    ] = True

    def settings(self) -> dict[str, Any]:
        """Return the settings by name, as the record ``TransferConfig`` takes them.

        Raises:
            SettingError: A value of ``--set`` has no name.
        """
        return {
            "num_epochs": self.num_epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "adapter_size": self.adapter_size,
            "class_weights": self.class_weights,
            "bf16": self.bf16,
            "own": parse_assignments(self.own),
        }
