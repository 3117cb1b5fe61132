"""``esm train``: from source tasks to a pool of maps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from esm.cli.help import Heading, grouped, option
from esm.cli.options import (
    MachineOptions,
    OutFile,
    OutputOptions,
    PoolFolder,
    Strict,
    absolute,
    base_model,
    commas,
    write_out,
)
from esm.cli.reading import ReadingOptions

if TYPE_CHECKING:
    from esm.encoder.settings import EncoderConfig
    from esm.training.settings import FineTuneConfig


@dataclass(frozen=True)
class EncoderOptions:
    """The base model; see :class:`esm.encoder.settings.EncoderConfig`."""

    HEADING: ClassVar = Heading.MODEL

    base: Annotated[
        str | None,
        typer.Option(help="'offline', a Hub id or a folder. Default: the pool's, else 'offline'."),
    ] = None
    base_revision: Annotated[str | None, typer.Option(help="Hub revision of the base model.")] = (
        None
    )
    pooling: Annotated[
        str | None, typer.Option(help="mean, cls, pooler or last. Default: the model's own.")
    ] = None
    max_length: Annotated[
        int | None, typer.Option(help="Tokens that the model reads at once. Default: 256.")
    ] = None
    max_chunks: Annotated[
        int | None,
        typer.Option(help="Windows in which longer texts are read; 1 (default) cuts them."),
    ] = None
    stride: Annotated[
        int | None, typer.Option(help="Tokens that neighbouring windows share. Default: 32.")
    ] = None
    precision: Annotated[
        str | None, typer.Option(help="Of embeddings: float32 or bfloat16. Default: float32.")
    ] = None

    def config(self) -> EncoderConfig | None:
        """Return the library's settings, or None where nothing was given."""
        from esm.common.records import build_settings
        from esm.encoder.settings import EncoderConfig

        named = {
            "model": None if self.base is None else base_model(self.base),
            "revision": self.base_revision,
            "pooling": self.pooling,
            "max_length": self.max_length,
            "max_chunks": self.max_chunks,
            "stride": self.stride,
            "precision": self.precision,
        }
        given = {name: value for name, value in named.items() if value is not None}
        return build_settings(EncoderConfig, given) if given else None


@dataclass(frozen=True)
class FineTuneOptions:
    """Fine-tuning of the sources; see :class:`esm.training.settings.FineTuneConfig`."""

    HEADING: ClassVar = Heading.TRAINING

    preset: Annotated[str, typer.Option(help="Settings to start from: default or paper.")] = (
        "default"
    )
    num_epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the rows.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Examples per step.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None
    class_weights: Annotated[
        str | None, typer.Option(help="none (default), balanced or auto (for macro-F1).")
    ] = None
    bf16: Annotated[
        bool | None,
        typer.Option(
            "--bf16/--no-bf16", help="Train in bfloat16 on hardware that has it (default)."
        ),
    ] = None
    max_examples: Annotated[int | None, typer.Option(help="Training rows used per source.")] = None
    seed: Annotated[int | None, typer.Option(help="Seed of fine-tuning and anchors.")] = None

    def config(self) -> FineTuneConfig:
        """Return the library's settings: the preset with what was given on top."""
        from esm.common.records import build_settings
        from esm.training.settings import FineTuneConfig

        given = {name: value for name, value in asdict(self).items() if value is not None}
        preset = FineTuneConfig.preset(given.pop("preset"))
        return build_settings(FineTuneConfig, preset.model_dump() | given)


@dataclass(frozen=True)
class MapOptions:
    """The maps and what they are fitted on; see :class:`esm.pool.entry.TrainConfig`."""

    HEADING: ClassVar = Heading.MAPS

    forms: Annotated[
        list[str] | None,
        typer.Option("--map", help="anchored (default), published, or both with a comma."),
    ] = None
    published_method: Annotated[
        str, typer.Option("--published-fit", help="Fit of published maps: closed or adamw.")
    ] = "closed"
    anchors: Annotated[
        str | None,
        typer.Option(help="Unlabelled corpus as anchors (new pools only).", metavar="FILE"),
    ] = None
    anchors_per_task: Annotated[
        int, typer.Option(help="Anchor texts drawn from each task (new pools only).")
    ] = 200
    lift_width: Annotated[
        int, typer.Option(help="Width of the PCA that all maps share (new pools only).")
    ] = 512
    rank: Annotated[str, typer.Option(help="Rank of anchored maps, or 'auto'.")] = "32"
    dtype: Annotated[str, typer.Option(help="Of maps on disk: float16 or float32.")] = "float16"
    delta: Annotated[
        str,
        typer.Option(
            help="Size of what is kept of a tuned encoder's weights, such as 0.5MB; full keeps all"
            " that changed, none nothing. Default: 190 bytes per layer and dimension, 0.44 MB for"
            " the packaged encoder.",
            metavar="SIZE",
        ),
    ] = "auto"


KeepEncoders = Annotated[
    bool,
    option(Heading.MAPS, "--keep-models", help="Keep the tuned encoders in the pool."),
]


@grouped
def train(
    tasks: Annotated[
        list[str],
        typer.Argument(
            help="Source tasks: folders, folders of them, files, Hub ids, registry:NAME."
        ),
    ],
    pool: PoolFolder,
    encoder: EncoderOptions,
    fine_tune: FineTuneOptions,
    maps: MapOptions,
    reading: ReadingOptions,
    machine: MachineOptions,
    output: OutputOptions,
    out: OutFile = None,
    strict: Strict = False,
    identifier: Annotated[
        str | None,
        option(Heading.DATA, "--id", help="Name of the source (with one task only)."),
    ] = None,
    keep_models: KeepEncoders = False,
    replace: Annotated[
        bool,
        option(Heading.SOURCES, "--replace", help="Train again what is there with other settings."),
    ] = False,
) -> None:
    """Fine-tune on source tasks, fit and store their maps and deltas.

    Tasks that are in the pool already are left; a stopped run goes on where it was.
    """
    from esm.common.records import build_settings
    from esm.pool.build import train_pool
    from esm.pool.entry import TrainConfig
    from esm.report.pool import build_report

    specs = reading.specs(tasks, identifier=identifier)
    settings = fine_tune.config()
    config = build_settings(
        TrainConfig,
        {
            "encoder": encoder.config(),
            "fine_tune": settings,
            "forms": commas(maps.forms) or ("anchored",),
            "anchors_per_task": maps.anchors_per_task,
            "anchors_file": None if maps.anchors is None else absolute(maps.anchors),
            "lift_width": maps.lift_width,
            "rank": None if maps.rank == "auto" else maps.rank,
            "published_method": maps.published_method,
            "dtype": maps.dtype,
            "seed": settings.seed,
            "keep_models": keep_models,
            "delta": maps.delta,
        },
    )
    report = train_pool(
        specs,
        pool,
        config,
        cache=machine.open_cache(),
        device=machine.device,
        strict=strict,
        replace=replace,
    )
    write_out(out, report.as_dict(), report.records())
    output.show(report.as_dict(), build_report(report))
    if not (report.trained or report.completed or report.present):
        raise typer.Exit(1)
