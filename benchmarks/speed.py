"""How fast, how large and how exact: hf-dataset-selector and us on the same texts and maps.

    make bench                                # sets up the peer's environment, then the full run
    python -m benchmarks.speed --quick        # few maps, about a minute once that is there
    python -m benchmarks.speed --only job     # the whole job alone; printed, nothing is written

Everything is measured in one run, each side in processes of its own with the same number of
threads. Maps are drawn from seeds and have the same values on both sides: ``a h + U V^T h + b`` in
float16 for us (``low-rank``), the float32 matrix ``a I + U V^T`` for the peer; ``dense`` maps are
float32 on both. Reading a map from disk is part of its seconds. ``anchored`` maps, which read wide
features, are the default form of our pools; the peer cannot read them, and what they are compared
with is its time for a map of the same width.

Per map, embeddings are drawn too (there is no offline encoder of width 768); the whole job embeds
texts of the demo with the packaged encoder. Writes ``speed.json`` and ``speed.md`` into
``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs import Side, ours, peers
from benchmarks.materials import (
    identity_of_width,
    peer_encoder,
    plain_manifest,
    write_pool,
    write_published,
    write_target,
    write_text_target,
    write_texts,
)
from benchmarks.measure import machine
from benchmarks.peer.environment import DEFAULT, install
from benchmarks.speed_table import (
    COMPRESSED,
    DENSE,
    WIDE,
    case_figures,
    job_table,
    line_through,
    render,
)
from benchmarks.synthetic import draw_compressed, draw_dense, draw_low_rank, write_bundle
from esm.common.runtime import show_progress
from esm.common.storage import write_json
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig
from esm.maps.forms import EmbeddingSpaceMap, MapForm

RESULTS = Path(__file__).with_name("results")
RANK = 16
_SEED = 0


@dataclass(frozen=True)
class Case:
    """A setting in which maps are scored.

    Attributes:
        form: ``low-rank``, ``dense`` or ``anchored``.
        width: d.
        examples: n.
        classes: K.
        maps: Maps that we score.
        peer_maps: Maps that the peer scores; the first ones of ours.
        direct: Maps that are scored again from the embeddings.
    """

    form: str
    width: int
    examples: int
    classes: int
    maps: int
    peer_maps: int
    direct: int

    @property
    def name(self) -> str:
        """A name that is a file's."""
        return f"{self.form}-d{self.width}-n{self.examples}-k{self.classes}"

    def draw(self, count: int) -> Iterator[EmbeddingSpaceMap]:
        """Draw its maps; the first ones are the same whatever their number."""
        match self.form:
            case "low-rank":
                return draw_compressed(count, self.width, RANK, _SEED)
            case "dense":
                return draw_dense(count, self.width, _SEED)
        return draw_low_rank(count, self.width, self.width, RANK, _SEED)


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        goals: Settings that have a target, each in processes of its own.
        grid: The other settings, all in one process of either side.
        texts: Texts of the whole job.
        job_maps: Maps of the whole job.
        job_peer_maps: Two numbers of maps for the peer, between which it is extrapolated.
        stream: Maps of the large pool.
    """

    goals: tuple[Case, ...]
    grid: tuple[Case, ...]
    texts: int
    job_maps: int
    job_peer_maps: tuple[int, int]
    stream: int


def full() -> Plan:
    """Return the whole plan: some minutes on two cores."""
    grid = tuple(
        Case(form, width, n, k, 256 if form == COMPRESSED else 16, 3 if n < 5000 else 1, 1)
        for form in (COMPRESSED, DENSE)
        for width in (384, 768)
        for n in (1000, 10_000)
        for k in (2, 5, 77)
    )
    goals = (
        Case(COMPRESSED, 768, 1000, 4, 1500, 8, 3),
        Case(DENSE, 768, 1000, 4, 64, 8, 3),
        Case(WIDE, 768, 1000, 4, 1500, 0, 3),
    )
    return Plan(goals, grid, 1000, 1500, (10, 300), 100_000)


def quick() -> Plan:
    """Return a plan of about a minute; its figures are rough."""
    goals = (
        Case(COMPRESSED, 768, 1000, 4, 300, 2, 1),
        Case(DENSE, 768, 1000, 4, 16, 2, 1),
        Case(WIDE, 768, 1000, 4, 300, 0, 1),
    )
    grid = (Case(COMPRESSED, 384, 1000, 77, 100, 2, 1),)
    return Plan(goals, grid, 1000, 1500, (4, 24), 5000)


def measure_cases(cases: Sequence[Case], sides: tuple[Side, Side], work: Path) -> list[Any]:
    """Return the figures of some cases; each side does all of them in one process."""
    place = work / "cases"
    written = [write_case(case, place / case.name) for case in cases]
    mine = sides[0].do({"kind": "maps", "cases": [ours for ours, _ in written]}, place)
    asked = [theirs for _, theirs in written if theirs is not None]
    answer = sides[1].do({"kind": "maps", "cases": asked}, place)["result"] if asked else {}
    _remove(place)
    print(f"{', '.join(case.name for case in cases)} done", flush=True)
    return [
        {**asdict(case), **case_figures(mine["result"][case.name], answer.get(case.name))}
        for case in cases
    ]


def write_case(case: Case, place: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Write what a case needs; return it as either side is asked, None where the peer is not."""
    target = write_target(place, case.examples, case.width, case.classes)
    write_bundle(case.draw(case.maps), place / "bundle")
    job = {
        "name": case.name,
        "bundle": str(place / "bundle"),
        "form": MapForm.ANCHORED if case.form == WIDE else MapForm.PUBLISHED,
        "compare": max(case.peer_maps, case.direct),
        "direct": case.direct,
        **target,
    }
    if case.form != WIDE:
        del job["lifted"]
    if not case.peer_maps:
        return job, None
    base = identity_of_width(case.width)
    folders = write_published(case.draw(case.peer_maps), place / "published", base)
    return job, {"name": case.name, "maps": folders, **target}


def measure_job(plan: Plan, sides: tuple[Side, Side], work: Path) -> dict[str, Any]:
    """Return the figures of the whole job: embedding, ranking, memory, differences."""
    place = work / "job"
    place.mkdir(parents=True)
    content = write_texts(place / "texts.json", plan.texts)
    write_text_target(place / "target", content)
    encoder = Encoder.load(EncoderConfig(), "cpu")
    base, width = encoder.identity, encoder.width
    maps = draw_compressed(plan.job_maps, width, RANK, _SEED)
    write_pool(maps, place / "pool", plain_manifest(base))
    largest = max(plan.job_peer_maps)
    folders = write_published(
        draw_compressed(largest, width, RANK, _SEED), place / "published", base
    )
    texts = {"texts": str(place / "texts.json"), "model": peer_encoder(place)}
    embedding = [side.do({"kind": "embed", **texts}, place)["result"] for side in sides]
    print("embedding done", flush=True)
    question = {"kind": "rank", "target": str(place / "target"), "pool": str(place / "pool")}
    mine = sides[0].do(question, place)
    runs = [
        sides[1].do({"kind": "rank", "maps": folders[:count], **texts}, place)
        for count in plan.job_peer_maps
    ]
    scores, theirs = mine["result"]["scores"], runs[-1]["result"]["scores"]
    counts = [run["result"]["maps"] for run in runs]
    seconds = line_through(counts, [run["process"] for run in runs])
    # The peer holds every map and every mapped embedding in float32 until all are scored.
    held = 4 * width * (width + 1 + plan.texts)
    memory = runs[-1]["memory"]["anonymous"] + held * (plan.job_maps - counts[-1])
    print("whole job done", flush=True)
    return {
        "texts": plan.texts,
        "maps": plan.job_maps,
        "embed": {"ours": embedding[0], "peer": embedding[1]},
        "ours": {"seconds": mine["process"], "memory": mine["memory"]["anonymous"]},
        "peer": {
            "maps": counts,
            "measured_seconds": [run["process"] for run in runs],
            "measured_memory": [run["memory"]["anonymous"] for run in runs],
            "seconds": seconds(plan.job_maps),
            "memory": memory,
        },
        "difference_to_peer": max(abs(scores[name] - theirs[name]) for name in theirs),
        "bytes": {"ours": _bytes(place / "pool") / plan.job_maps, "peer": _bytes(folders[0])},
        "versions": {"ours": mine["versions"], "peer": runs[-1]["versions"]},
    }


def measure_stream(plan: Plan, side: Side, work: Path) -> dict[str, Any]:
    """Return seconds and peak memory of scoring a large pool of anchored maps."""
    place = work / "stream"
    case = Case(WIDE, 384, 1000, 4, plan.stream, 0, 0)
    target = write_target(place, case.examples, case.width, case.classes)
    write_bundle(case.draw(case.maps), place / "bundle")
    job = {"kind": "stream", "bundle": str(place / "bundle"), "form": MapForm.ANCHORED, **target}
    answer = side.do(job, place)
    print("large pool done", flush=True)
    size = _bytes(place / "bundle")
    _remove(place)
    return {
        "maps": plan.stream,
        "seconds": answer["result"]["total"]["wall"],
        "memory": answer["memory"],
        "bytes": size,
    }


def _bytes(folder: Path | str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few maps, about a minute")
    parser.add_argument("--only", choices=["job"], help="measure and print this part alone")
    parser.add_argument("--threads", type=int, default=2, help="threads of either side")
    parser.add_argument("--environment", type=Path, default=DEFAULT, help="the peer's")
    parser.add_argument("--folder", type=Path, default=None, help="where the maps are written")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are written")
    options = parser.parse_args(arguments)
    show_progress(False)
    sides = (ours(options.threads), peers(install(options.environment), options.threads))
    plan = quick() if options.quick else full()
    if options.only == "job":
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            print(job_table(measure_job(plan, sides, Path(name)), RANK))
        return
    facts = machine()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        work = Path(name)
        found = {
            "machine": facts,
            "threads": options.threads,
            "quick": options.quick,
            "rank": RANK,
            "cases": [
                figures
                for cases in (*((case,) for case in plan.goals), plan.grid)
                for figures in measure_cases(cases, sides, work)
            ],
            "job": measure_job(plan, sides, work),
            "stream": measure_stream(plan, sides[0], work),
            "load_after": machine()["load"],
        }
    text = render(found)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "speed.json", found)
    (options.out / "speed.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
