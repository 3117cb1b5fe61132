"""The guided run: the whole job on generated data whose right answer is known.

Six generated source tasks, a target with three attributes, the packaged encoder. For each
attribute one source teaches the same distinction in another genre; for the attribute that is
validated there are two controls of equal size, one over the same vocabulary and one with shuffled
labels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esm.cli.demo.tasks import DemoTasks, write_demo_tasks
from esm.encoder.settings import OFFLINE, EncoderConfig
from esm.pool.build import BuildReport, train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.ranking.rank import rank_sources
from esm.ranking.result import Ranking
from esm.strategies.settings import TransferConfig
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig
from esm.trials.results import Validation
from esm.trials.run import validate_ranking
from esm.trials.settings import Arm, ValidationConfig

_LOGGER = logging.getLogger(__name__)

FINE_TUNE = FineTuneConfig(learning_rate=2e-4)
TRANSFER = TransferConfig(num_epochs=4)
TRAIN_ROWS = 96
ANCHORS_PER_TASK = 100
SEEDS = 2


@dataclass(frozen=True)
class Verdict:
    """What the demo was to find, and what it found.

    Attributes:
        planted: The source that teaches the attribute's distinction, by attribute.
        ranked_first: The source that was ranked first, by attribute.
        validated: The attribute that was validated.
        performance: Its measured performance after each source and after none.
    """

    planted: Mapping[str, str]
    ranked_first: Mapping[str, str]
    validated: str
    performance: Mapping[str, float]

    @property
    def holds(self) -> bool:
        """Whether the planted source won, in the ranking and in measured performance."""
        planted = self.planted[self.validated]
        best = max(self.performance, key=lambda source: self.performance[source])
        return self.ranked_first[self.validated] == planted == best

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "planted": dict(self.planted),
            "ranked_first": dict(self.ranked_first),
            "validated": self.validated,
            "performance": dict(self.performance),
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Demo:
    """All that the guided run made; ``controls`` are the sources that must not win."""

    build: BuildReport
    ranking: Ranking
    validation: Validation
    verdict: Verdict
    controls: Mapping[str, str]


def run_demo(folder: Path, *, base: str = OFFLINE, device: str = "auto") -> Demo:
    """Run the whole job in a folder; a run that was stopped goes on where it was.

    Args:
        folder: Gets ``tasks/``, ``pool/``, ``ranking.json`` and ``run/``.
        base: Base model; the packaged encoder unless another is named.
        device: Device to compute on.

    Raises:
        EncoderError: The packaged encoder is not installed (extra ``offline``).
    """
    _LOGGER.info("1/4 writing the generated tasks")
    tasks = write_demo_tasks(folder / "tasks")
    _LOGGER.info(
        f"2/4 fine-tuning {base!r} on {len(tasks.sources)} source tasks, fitting their maps"
    )
    build = train_pool(
        [TaskSpec(location=str(source.resolve())) for source in tasks.sources],
        folder / "pool",
        TrainConfig(
            encoder=EncoderConfig(model=base),
            fine_tune=FINE_TUNE,
            anchors_per_task=ANCHORS_PER_TASK,
        ),
        device=device,
    )
    _LOGGER.info("3/4 ranking the sources for every attribute of the target")
    pool = Pool.open(folder / "pool")
    ranking = rank_sources(TaskSpec(location=str(tasks.target.resolve())), pool, device=device)
    ranking.save(folder / "ranking.json")
    _LOGGER.info(
        f"4/4 training adapters for attribute {tasks.validated!r} after each source and after none"
    )
    validation = validate_ranking(ranking, _validation_config(tasks), folder / "run", device=device)
    verdict = _verdict(tasks, ranking, validation)
    return Demo(build, ranking, validation, verdict, tasks.controls)


def _validation_config(tasks: DemoTasks) -> ValidationConfig:
    return ValidationConfig(
        attributes=(tasks.validated,),
        top=1,
        sources=tuple(tasks.controls.values()),
        controls=(Arm.NONE,),
        seeds=SEEDS,
        transfer=TRANSFER,
        max_train=TRAIN_ROWS,
    )


def _verdict(tasks: DemoTasks, ranking: Ranking, validation: Validation) -> Verdict:
    arms = validation.attributes[tasks.validated].arms
    return Verdict(
        planted=tasks.planted,
        ranked_first={name: ranked.order[0] for name, ranked in ranking.attributes.items()},
        validated=tasks.validated,
        performance={arm.source: arm.mean for arm in arms},
    )
