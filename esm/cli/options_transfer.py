"""Options of training on a target, which validate and compare share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from esm.cli.options import parse_assignments


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
