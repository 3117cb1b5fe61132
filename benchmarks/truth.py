"""Measure the transfer matrix: what every source really gives every target.

Everything is done by the tool itself: sampled targets are written as folders, ``train_pool`` makes
the sources, ``validate_ranking`` trains on the target after each source and after none. Each
finished run is a row of a ledger, so the same command goes on where a killed one stopped, several
processes may run it side by side, and it measures what the pool holds while the pool still grows::

    python -m benchmarks.truth prepare --data DATA --work WORK
    python -m benchmarks.truth pool --data DATA --work WORK
    python -m benchmarks.truth pilot --work WORK
    python -m benchmarks.truth grid --strategy full --work WORK
    python -m benchmarks.truth grid --strategy houlsby --work WORK
    python -m benchmarks.truth features --work WORK
    python -m benchmarks.truth export --work WORK

The plan is ``benchmarks/truth.toml``. The order in which sources are run is that of their ids: no
selector is asked.
"""

from __future__ import annotations

import argparse
import hashlib
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from esm.common.errors import BusyError
from esm.common.runtime import show_progress
from esm.common.storage import read_json, write_json
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import MapForm
from esm.pool.build import train_pool
from esm.pool.entry import TrainConfig
from esm.pool.pool import Pool
from esm.ranking.result import AttributeRanking, RankConfig, RankedSource, Ranking
from esm.strategies.settings import TransferConfig
from esm.tasks.load import load_target, load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import sample
from esm.tasks.task import Examples, Metric, Problem, Task, joint_hash
from esm.training.settings import FineTuneConfig
from esm.trials.ledger import LEDGER_NAME, Ledger
from esm.trials.run import validate_ranking
from esm.trials.settings import Arm, ValidationConfig

PLAN = Path(__file__).with_name("truth.toml")
RESULTS = Path(__file__).with_name("results")
_SEED = 0


@dataclass(frozen=True)
class Lab:
    """The plan, the folder of datasets and the folder that the work goes into."""

    plan: dict[str, Any]
    data: Path
    work: Path

    @property
    def pool_folder(self) -> Path:
        """The folder of the pool."""
        return self.work / "pool"

    @property
    def sources(self) -> list[str]:
        """Ids of all sources, sorted."""
        return sorted([*self.plan["sources"]["grid"], *self.plan["sources"]["features"]])

    def target_spec(self, target: str) -> TaskSpec:
        """Return the specification of a sampled target."""
        return TaskSpec(location=str((self.work / "targets" / _file_name(target)).resolve()))


def _file_name(target: str) -> str:
    return target.replace("/", "@")


# ------------------------------------------------------------------------------------ preparation


def prepare(lab: Lab) -> None:
    """Write the sampled targets as folders, stratified by class."""
    for target in lab.plan["targets"]["all"]:
        folder = lab.work / "targets" / _file_name(target)
        folder.mkdir(parents=True, exist_ok=True)
        dataset, _, attribute = target.partition("/")
        if attribute:
            spec = TaskSpec(
                location=str(lab.data / "targets" / dataset),
                attributes=(attribute,),
                reading="binary",
            )
        else:
            spec = TaskSpec(location=str(lab.data / "tasks" / dataset))
        ((name, task),) = load_target(spec).attributes.items()
        kept = {
            "train": sample(task.train, task.problem, lab.plan["train_rows"], _SEED),
            "test": sample(task.test, task.problem, lab.plan["test_rows"], _SEED),
        }
        for split, rows in kept.items():
            _table(name, task, rows).to_parquet(folder / f"{split}.parquet")
        _describe(folder, dataset, name, task, lab.plan["metric"])
        print(target, {split: len(rows) for split, rows in kept.items()}, task.label_names)


def _table(name: str, task: Task, rows: Examples) -> pd.DataFrame:
    columns: dict[str, Any] = {"text": rows.texts}
    if rows.pairs is not None:
        columns["text_pair"] = rows.pairs
    is_class = task.problem is Problem.CLASSIFICATION
    columns[name] = [task.label_names[row] for row in rows.labels] if is_class else rows.labels
    return pd.DataFrame(columns)


def _describe(folder: Path, dataset: str, name: str, task: Task, metric: str) -> None:
    metric = metric if task.problem is Problem.CLASSIFICATION else Metric.SPEARMAN
    described = {
        "id": dataset,
        "language": task.metadata.language,
        "license": task.metadata.license,
    }
    attribute = {"labels": list(task.label_names), "metric": str(metric)}
    write_json(folder / "target.json", {**described, "attributes": {name: attribute}})


def build_pool(lab: Lab) -> None:
    """Fine-tune on every source and fit both forms of map; goes on where it was stopped."""
    source = lab.plan["source"]
    config = TrainConfig(
        encoder=EncoderConfig(max_length=lab.plan["encoder"]["max_length"]),
        fine_tune=FineTuneConfig(
            max_examples=source["max_examples"],
            batch_size=source["batch_size"],
            num_epochs=source["num_epochs"],
        ),
        forms=(MapForm.ANCHORED, MapForm.PUBLISHED),
        anchors_per_task=source["anchors_per_task"],
        keep_models=True,
    )
    specs = [TaskSpec(location=str(lab.data / "tasks" / name)) for name in lab.sources]
    report = train_pool(specs, lab.pool_folder, config)
    print(f"{len(report.trained)} trained, {len(report.present)} present, {report.seconds:.0f} s")
    for skip in report.skipped:
        print(f"skipped {skip.source}: {skip.reason}")


# ---------------------------------------------------------------------------------------- measuring


def measure(
    lab: Lab, target: str, strategy: str, sources: Iterable[str], source_seeds: int = 1
) -> bool:
    """Train on a target after none and after each source; False where another process does."""
    spec = lab.target_spec(target)
    ranking = unranked(spec, Pool.open(lab.pool_folder), sources)
    transfer = TransferConfig(**lab.plan["transfer"].get(strategy, {}))
    config = ValidationConfig(
        top=1,
        controls=(Arm.NONE, Arm.ALL),
        seeds=lab.plan["seeds"],
        source_seeds=source_seeds,
        strategy=strategy,
        transfer=transfer,
    )
    kind = strategy if source_seeds == 1 else f"{strategy}-source-seeds"
    try:
        validate_ranking(ranking, config, lab.work / "runs" / kind / _file_name(target))
    except BusyError:
        return False
    return True


def unranked(spec: TaskSpec, pool: Pool, sources: Iterable[str]) -> Ranking:
    """Return a ranking in which all sources have the same score, in the order of their ids."""
    targets = load_targets(spec)
    entries = [pool.entry(source) for source in sorted(sources)]
    lines = tuple(
        RankedSource(
            rank=rank, source=entry.id, score=0.0, gain=0.0, r2=None, size=entry.record.num_used
        )
        for rank, entry in enumerate(entries, start=1)
    )
    attributes = {
        name: AttributeRanking(
            metric=task.metric,
            examples=len(task.train),
            balanced=False,
            base_score=0.0,
            ranking=lines,
            skipped=(),
        )
        for name, task in targets[0].attributes.items()
    }
    return Ranking(
        target=targets[0].id,
        target_spec=spec,
        target_hash=joint_hash(targets),
        pool=str(pool.folder.resolve()),
        base_model=pool.manifest.base.model,
        scorer="none",
        config=RankConfig(),
        attributes=attributes,
        unusable={},
        cut=0,
        seconds=0.0,
    )


# ------------------------------------------------------------------------------------------ results


def export(lab: Lab) -> None:
    """Write all runs as one table, and the recipe of the data beside it."""
    frames = []
    for path in sorted(lab.work.glob(f"runs/*/*/{LEDGER_NAME}")):
        with Ledger(path) as ledger:
            rows = ledger.rows()
        frames += [
            {
                "target": path.parent.name.replace("@", "/"),
                "source": row.source,
                "strategy": row.strategy,
                "seed": row.seed,
                "source_seed": row.source_seed,
                "metric": row.metric,
                "value": round(row.value, 5),
                "accuracy": round(row.metrics.get("accuracy", float("nan")), 5),
                "num_train": row.num_train,
                "num_test": row.num_test,
                "seconds": round(row.seconds, 1),
                "config_hash": row.config_hash[:16],
            }
            for row in rows
        ]
    table = pd.DataFrame(frames).drop_duplicates()
    table = table.sort_values(["strategy", "target", "source", "seed", "source_seed"])
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "truth.csv", index=False, lineterminator="\n")
    print(f"{len(table)} runs, {table.target.nunique()} targets, {table.source.nunique()} sources")
    if lab.data.is_dir():
        write_json(RESULTS / "data.json", recipes(lab))


def recipes(lab: Lab) -> dict[str, Any]:
    """Return where every dataset came from and the checksums of the files that were read."""
    found = {}
    folders = [lab.data / "tasks" / name for name in lab.sources]
    names = sorted({target.partition("/")[0] for target in lab.plan["targets"]["all"]})
    for name in names:
        kind = "tasks" if (lab.data / "tasks" / name).is_dir() else "targets"
        folders.append(lab.data / kind / name)
    for folder in folders:
        described = read_json(next(folder.glob("*.json")))
        found[folder.name] = {
            "origin": described["origin"],
            "license": described["license"],
            "sha256": {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(folder.glob("*.parquet"))
            },
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = ["prepare", "pool", "pilot", "grid", "features", "source-seeds", "export"]
    parser.add_argument("step", choices=steps)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/truth"))
    parser.add_argument("--strategy", default="full")
    parser.add_argument("--targets", default="", help="by commas; default: the plan's")
    options = parser.parse_args(arguments)
    show_progress(False)
    lab = Lab(tomllib.loads(PLAN.read_text(encoding="utf-8")), options.data, options.work)
    plan = lab.plan
    wanted = options.targets.split(",") if options.targets else None
    match options.step:
        case "prepare":
            prepare(lab)
        case "pool":
            build_pool(lab)
        case "export":
            export(lab)
        case "pilot":
            pilot = plan["pilot"]
            jobs = [(t, pilot["strategy"], pilot["sources"], 1) for t in pilot["targets"]]
            _run(lab, jobs, wanted)
        case "grid":
            grid = plan["sources"]["grid"]
            _run(lab, [(t, options.strategy, grid, 1) for t in plan["grid"]["targets"]], wanted)
        case "features":
            _run(lab, [(t, "features", lab.sources, 1) for t in plan["targets"]["all"]], wanted)
        case "source-seeds":
            again = plan["source_seeds"]
            jobs = [(t, again["strategy"], again["sources"], 2) for t in again["targets"]]
            _run(lab, jobs, wanted)


def _present(lab: Lab, sources: Iterable[str]) -> list[str]:
    """Return the sources that the pool holds by now."""
    pool = Pool.open(lab.pool_folder)
    return [source for source in sources if pool.source_folder(source).is_dir()]


def _run(lab: Lab, jobs: list[tuple[str, str, list[str], int]], wanted: list[str] | None) -> None:
    for target, strategy, sources, source_seeds in jobs:
        if wanted is None or target in wanted:
            done = measure(lab, target, strategy, _present(lab, sources), source_seeds)
            print(
                f"{strategy} {target}: {'done' if done else 'another process is at it'}", flush=True
            )


if __name__ == "__main__":
    main()
