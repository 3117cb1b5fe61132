"""Winners of a validation to folders that plain Transformers code loads."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.common.errors import StorageError, ValidationError
from esm.common.storage import atomic_folder, make_private, save_tensors, write_atomic, write_json
from esm.encoder.settings import OFFLINE, Pooling
from esm.inference.export_readme import Code, join_names, page
from esm.metrics.rankings import NO_TRANSFER
from esm.tasks.licences import Terms, terms
from esm.tasks.raw import to_id
from esm.tasks.task import Problem
from esm.training.layers.bottlenecks import DOWN_WEIGHT
from esm.trials.results import Result, baseline, load_result
from esm.trials.winners import StartEncoders, Winner, winners

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from esm.encoder.encoder import Encoder
    from esm.training.state import State

LABELS_NAME = "labels.json"
README_NAME = "README.md"
EXPORT_FORMAT = 1


@dataclass(frozen=True)
class Exported:
    """An exported attribute.

    Attributes:
        attribute: Its name.
        source: Source of the winning arm, or ``none``.
        models: How many models vote.
        folder: Where they lie.
        bytes: How large it is.
    """

    attribute: str
    source: str
    models: int
    folder: Path
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "attribute": self.attribute,
            "source": self.source,
            "models": self.models,
            "folder": str(self.folder),
            "bytes": self.bytes,
        }


def export_run(
    run: Path, to: Path, *, attributes: Collection[str] = (), device: str = "cpu"
) -> list[Exported]:
    """Write the winning models of a run as folders that need nothing of this package.

    Each attribute gets a folder of its own: encoder and tokenizer in Transformers' format, what
    was trained of every run of the winner, labels and temperatures, and a README with the code
    that predicts what :func:`~esm.inference.predict.predict_file` predicts.

    Args:
        run: Folder of the validation or comparison.
        to: Folder to write into.
        attributes: Attributes to export; none means all that have a winner.
        device: Device to load the encoder on.

    Raises:
        ValidationError: The folder has no trained models, an attribute has no winner, it tags
            words or is of pairs that are read in chunks, for which there is no plain code, or its
            strategy makes models that Transformers cannot hold.
        EncoderError: The base model is gone or has changed.
        MapError: A model's weights are truncated.
        StorageError: A folder is there already, or cannot be written.
    """
    result = load_result(run)
    chosen = winners(run, result, attributes)
    places = {winner.attribute: to / to_id(winner.attribute) for winner in chosen}
    for place in places.values():
        if place.exists():
            raise StorageError(
                f"{place} is there already",
                expected="a folder to be made",
                hint="remove it, or name another one with --to",
            )
    for winner in chosen:
        if winner.record.is_pair and winner.record.encoder.max_chunks > 1:
            raise ValidationError(
                f"{winner.attribute} is predicted from pairs of texts that are read in chunks",
                expected="single texts, or pairs that are cut",
                hint="esm predict, or --attribute with another one",
            )
        if winner.record.problem is Problem.TAGGING:
            raise ValidationError(
                f"{winner.attribute} has a tag for each word: there is no plain code that reads"
                " words off their tokens",
                expected="an attribute of whole texts",
                hint="esm predict, or --attribute with another one",
            )
    encoders = StartEncoders(run, result, device)
    return [
        _export(winner, _achieved(winner, result), encoders, places[winner.attribute])
        for winner in chosen
    ]


@dataclass(frozen=True)
class Achieved:
    """What a README tells of how the models were found.

    Attributes:
        base_model: Name of the base model.
        metric: Primary metric.
        num_train: Training rows.
        num_test: Test rows.
        mean: Mean of the metric over the models.
        standard_error: Of the mean; None for a single model.
        without: The mean without the source task; None where that was not measured.
        chosen: Among what the models were chosen.
    """

    base_model: str
    metric: str
    num_train: int
    num_test: int
    mean: float
    standard_error: float | None
    without: float | None
    chosen: str


def _achieved(winner: Winner, result: Result) -> Achieved:
    found, best = result.found[winner.attribute], result.best(winner.attribute)
    assert best is not None  # a winner has models
    without = baseline(found)
    return Achieved(
        base_model=result.base_model,
        metric=found.metric,
        num_train=found.num_train,
        num_test=found.num_test,
        mean=best.mean,
        standard_error=best.standard_error,
        without=None if without is None else without.mean,
        chosen=result.CHOSEN,
    )


def _export(winner: Winner, achieved: Achieved, encoders: StartEncoders, place: Path) -> Exported:
    starts = list(dict.fromkeys(trained.record.tuned for trained in winner.models))
    names = {
        tuned: "encoder" if len(starts) == 1 else f"encoder-{number}"
        for number, tuned in enumerate(starts, start=1)
    }
    models = []
    with atomic_folder(place) as folder:
        for number, trained in enumerate(winner.models, start=1):
            encoder = encoders.encoder(trained.record)
            trained.restore(encoder)  # refuses what could not be loaded again
            inside = names[trained.record.tuned]
            if not (folder / inside).is_dir():
                encoder.save(folder / inside)
            file = f"model-{number}.safetensors"
            state = trained.exported(encoder)
            save_tensors(folder / file, state, private=True)
            calibration = trained.record.calibration
            temperature = 1.0 if calibration is None else calibration.temperature
            models.append({"encoder": inside, "file": file, "temperature": temperature})
        write_json(folder / LABELS_NAME, _labels(winner, encoder, models), private=True)
        text = _readme(winner, achieved, encoder, state, folders=", ".join(names.values()))
        write_atomic(folder / README_NAME, text.encode(), private=True)
        make_private(folder)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return Exported(winner.attribute, winner.source, len(winner.models), place, size)


def _labels(winner: Winner, encoder: Encoder, models: list[dict[str, Any]]) -> Mapping[str, Any]:
    record = winner.record
    return {
        "format": EXPORT_FORMAT,
        "attribute": winner.attribute,
        "problem": record.problem,
        "label_names": record.label_names,
        "source": winner.source,
        "strategy": record.key.strategy,
        "max_length": encoder.max_length,
        "max_chunks": encoder.config.max_chunks,
        "stride": encoder.reader.overlap,
        "between": encoder.reader.between,
        "licences": record.licences,
        "models": models,
    }


# ---------------------------------------------------------------------------------------- README


def _readme(
    winner: Winner, achieved: Achieved, encoder: Encoder, state: State, *, folders: str
) -> str:
    import transformers

    record = winner.record
    module, loader = _loader(encoder.model)
    base = _shown(achieved.base_model)
    tuned = winner.source != NO_TRANSFER
    return page(
        record.id,
        _about(winner, achieved),
        Code(
            module=module,
            loader=loader,
            without_pooler=_leaves_out_pooler(encoder),
            pooling=encoder.pooling,
            problem=record.problem,
            has_names=bool(record.label_names),
            has_adapters=any(name.endswith(DOWN_WEIGHT) for name in state),
            has_hidden_layer="head.hidden.weight" in state,
            is_pair=record.is_pair,
            in_chunks=encoder.config.max_chunks > 1,
        ),
        folders=folders,
        encoder=f"the encoder {base}" + (f", tuned on `{winner.source}`" if tuned else ""),
        version=transformers.__version__,
        notes=_notes(winner, achieved),
    )


def _loader(model: PreTrainedModel) -> tuple[str, str]:
    """Return module and name of the class that loads a saved encoder.

    The encoder of an encoder-decoder model is no model of its own for ``AutoModel``.
    """
    kind = type(model)
    if kind.__name__.endswith(("Encoder", "Stack")):
        return kind.__module__, kind.__name__
    return "transformers", "AutoModel"


def _leaves_out_pooler(encoder: Encoder) -> bool:
    parameters = inspect.signature(type(encoder.model).__init__).parameters
    return encoder.pooling is not Pooling.POOLER and "add_pooling_layer" in parameters


def _shown(base_model: str) -> str:
    """Return the base model's name; of a folder only the last part."""
    if base_model == OFFLINE:
        return "all-MiniLM-L6-v2"
    return Path(base_model).name if Path(base_model).is_absolute() else base_model


def _about(winner: Winner, achieved: Achieved) -> str:
    record = winner.record
    what = f"Predicts `{winner.attribute}`"
    if record.label_names:
        what += f": {join_names(record.label_names)}"
    made = (
        f"{what}. Trained on {achieved.num_train} rows by the strategy `{record.key.strategy}`"
        f" ({len(winner.models)} runs, which vote), {_result(achieved)} on {achieved.num_test} test"
        " rows"
    )
    if winner.source == NO_TRANSFER or achieved.without is None:
        return f"{made}."
    return f"{made}; without the source task `{winner.source}`: {achieved.without:.3f}."


def _result(achieved: Achieved) -> str:
    error = achieved.standard_error
    spread = "" if error is None else f" ± {error:.3f}"
    return f"{achieved.metric} {achieved.mean:.3f}{spread}"


def _notes(winner: Winner, achieved: Achieved) -> str:
    record = winner.record
    lines = [
        f"The {achieved.chosen} was chosen by the test rows named above, so that figure flatters it"
        " a little.",
        f"{_reading(record.encoder.max_chunks, record.start.max_length)}; the code computes in"
        " float32.",
    ]
    if record.calibration is not None:
        lines.append(
            "Probabilities are calibrated by temperature scaling (Guo et al. 2017) on"
            f" {record.calibration.rows} {record.calibration.calibrated_on}."
        )
    return "\n".join([*lines, "", "## Terms", "", _terms(winner, achieved)])


def _terms(winner: Winner, achieved: Achieved) -> str:
    """Return on whose terms the model may be used: those of all the data it was made from."""
    record = winner.record
    data = [f"`{name}`: {licence}" for name, licence in record.licences.items()]
    if len(data) == 1:
        data.append("no source task")
    text = (
        f"Licences of the data that the model was trained on: {'; '.join(data)}. The encoder"
        f" {_shown(achieved.base_model)} has a licence of its own."
    )
    stated = (
        record.licence,
        record.source_licence or "",
        *record.further_licences.values(),
    )
    if any(terms(licence) is Terms.NON_COMMERCIAL for licence in stated):
        text += (
            " Some of the data are for **non-commercial use only**: use the model, and the labels"
            " that it gives, on the same terms."
        )
    return text


def _reading(max_chunks: int, max_length: int) -> str:
    if max_chunks == 1:
        return f"Texts are cut to {max_length} tokens"
    return f"Longer texts are read in up to {max_chunks} chunks of {max_length} tokens"
