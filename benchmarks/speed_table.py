"""From answers of both sides to figures, and from figures to tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

COMPRESSED, DENSE, WIDE = "low-rank", "dense", "anchored"

# Ratios are those of a ranking of this many maps: as many as are published.
POOL = 1500

_MEGABYTE = 1e6


def case_figures(mine: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures of a case from the answers to a ``maps`` job.

    Our first map also waits for what is computed once per target; a further map costs what all of
    them took beyond it, divided by the others.

    Args:
        mine: Our answer.
        theirs: The peer's; None where it cannot read the maps.
    """
    first, total = mine["first"]["wall"], mine["total"]["wall"]
    further = max(total - first, 0.0) / max(mine["maps"] - 1, 1)
    found: dict[str, Any] = {
        "first_seconds": first,
        "seconds_per_map": further,
        "cpu_per_map": max(mine["total"]["cpu"] - mine["first"]["cpu"], 0.0)
        / max(mine["maps"] - 1, 1),
        "bytes_per_map": mine["bytes"],
        "difference_to_reference": _largest(mine["scores"], mine["direct"]),
    }
    if theirs is not None:
        found |= {
            "peer_seconds_per_map": theirs["per_map"]["wall"],
            "peer_cpu_per_map": theirs["per_map"]["cpu"],
            "difference_to_peer": _largest(mine["scores"], theirs["scores"]),
            "difference_to_peer_50_updates": _largest(mine["scores_50_updates"], theirs["scores"]),
        }
    return found


def ratio(case: Mapping[str, Any], peer_seconds: float, maps: int = POOL) -> float:
    """Return how many times longer the peer takes for a pool than we do."""
    own: float = case["first_seconds"] + (maps - 1) * case["seconds_per_map"]
    return maps * peer_seconds / own


def line_through(counts: Sequence[int], values: Sequence[float]) -> Callable[[int], float]:
    """Return the straight line through two measurements.

    Raises:
        ValueError: There are not two different counts.
    """
    (low, high), (first, last) = counts, values
    if low == high:
        raise ValueError(f"both measurements are of {low} maps")
    slope = (last - first) / (high - low)
    return lambda count: first + slope * (count - low)


def _largest(found: Sequence[float], others: Sequence[float]) -> float | None:
    pairs = zip(found, others, strict=False)
    return max((abs(one - other) for one, other in pairs), default=None)


def render(found: Mapping[str, Any]) -> str:
    """Return everything as Markdown."""
    parts = ["# Speed, memory and exactness against hf-dataset-selector", _basis(found)]
    parts += ["## Targets", targets_table(found)]
    parts += ["## Seconds per map, loading included", cases_table(found["cases"])]
    parts += [
        f"`peer / us` is for a ranking of {POOL:,} maps, our first map (moments of the target and"
        " their decomposition) among them. The last three columns are largest differences of"
        " scores, nats per example: to the peer as it is, which iterates up to 50 times; to the"
        " peer when we iterate as often; to the reference (11 iterations), computed in float64"
        " from the embeddings under the same map.",
    ]
    parts += ["## The whole job", job_table(found["job"], found["rank"])]
    parts += ["## A large pool", stream_text(found["stream"], found["rank"])]
    return "\n\n".join(parts) + "\n"


def _basis(found: Mapping[str, Any]) -> str:
    machine, versions = found["machine"], found["job"]["versions"]
    listed = {
        side: ", ".join(f"{name} {version}" for name, version in versions[side].items())
        for side in ("ours", "peer")
    }
    load = ", ".join(f"{value:.2f}" for value in machine["load"])
    quick = " **A quick run: few maps, rough figures.**" if found["quick"] else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory'] / 1e9:.1f} GB,"
        f" {machine['system']}; {found['threads']} threads on either side; load average before"
        f" the run {load}.{quick} Ours: {listed['ours']}. Peer: {listed['peer']}. Made by"
        " `make bench`."
    )


def targets_table(found: Mapping[str, Any]) -> str:
    """Return what is asked for beside what was found."""
    cases = {
        (case["form"], case["width"], case["examples"], case["classes"]): case
        for case in found["cases"]
    }
    job, large = found["job"], found["stream"]
    goal = (768, 1000, 4)
    peer = cases[COMPRESSED, *goal]["peer_seconds_per_map"]
    exact = max(case["difference_to_reference"] or 0.0 for case in found["cases"])
    whole = job["peer"]["seconds"] / job["ours"]["seconds"]
    hundred = large["seconds"] * 100_000 / large["maps"]
    rows: list[tuple[str, str, str, bool]] = []

    def add(what: str, wanted: str, value: str, met: bool) -> None:
        rows.append((what, wanted, value, met))

    setting = f"d = 768, n = 1,000, K = 4, {POOL:,} maps: peer / us"
    for form, least in ((COMPRESSED, 100), (WIDE, 100), (DENSE, 5)):
        case = cases[form, *goal]
        times = ratio(case, case.get("peer_seconds_per_map", peer))
        name = form if form == DENSE else f"{form}, rank {found['rank']}"
        add(f"{name}, {setting}", f"at least {least}", f"{times:.0f}", times >= least)
    add(
        f"whole job, {job['texts']:,} short texts, {job['maps']:,} low-rank maps, d = 384,"
        " model load included: peer / us",
        "at least 50",
        f"{whole:.0f}",
        whole >= 50,
    )
    add(
        "score against the direct computation in float64",
        "within 1e-7",
        f"{exact:.0e}",
        exact <= 1e-7,
    )
    add(
        f"peak anonymous memory, {large['maps']:,} maps of rank {found['rank']}, d = 384",
        "under 1.5 GB",
        f"{large['memory']['anonymous'] / 1e9:.2f} GB",
        large["memory"]["anonymous"] < 1.5e9,
    )
    scaled = "" if large["maps"] == 100_000 else f" (scaled from {large['maps']:,})"
    add(
        "100,000 maps scored exactly, d = 384, K = 4",
        "under 240 s",
        f"{hundred:.0f} s{scaled}",
        hundred < 240,
    )
    weights = cases[COMPRESSED, *goal]["bytes_per_map"]
    add(
        "bytes per source, d = 768, weights",
        "at most 60 kB",
        f"{weights / 1e3:.1f} kB",
        weights <= 60e3,
    )
    table = [(what, wanted, value, "yes" if met else "**no**") for what, wanted, value, met in rows]
    return _markdown(["what", "target", "measured", "met"], table)


def cases_table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Return seconds, ratios and differences by case."""
    rows = []
    for case in cases:
        peer = case.get("peer_seconds_per_map")
        rows.append(
            (
                case["form"],
                case["width"],
                f"{case['examples']:,}",
                case["classes"],
                "" if peer is None else f"{peer:.3f} ({case['peer_maps']})",
                f"{1e3 * case['seconds_per_map']:.2f} ({case['maps']:,})",
                f"{1e3 * case['first_seconds']:.0f}",
                "" if peer is None else f"{ratio(case, peer):.0f}",
                _tiny(case.get("difference_to_peer")),
                _tiny(case.get("difference_to_peer_50_updates")),
                _tiny(case["difference_to_reference"]),
            )
        )
    heads = ["maps", "d", "n", "K", "peer, s (maps)", "us, ms (maps)", "us, first map, ms"]
    heads += ["peer / us", "to peer", "50 updates both", "to reference"]
    return _markdown(heads, rows)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _tiny(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def job_table(job: Mapping[str, Any], rank: int) -> str:
    """Return embedding, ranking, memory and disk of the whole job."""
    embed, peer = job["embed"], job["peer"]
    few = " and ".join(f"{seconds:.1f} s" for seconds in peer["measured_seconds"])
    counts = " and ".join(map(str, peer["maps"]))

    def row(what: str, theirs: float, own: float, digits: int) -> tuple[str, str, str, str]:
        return what, f"{theirs:,.{digits}f}", f"{own:,.{digits}f}", f"{theirs / own:.1f}"

    theirs, own = embed["peer"], embed["ours"]
    texts = f"{job['texts']:,} texts"
    rows = [
        row("load the encoder, s", theirs["load"]["wall"], own["load"]["wall"], 2),
        row(f"embed {texts}, s", theirs["embed"]["wall"], own["embed"]["wall"], 1),
        row(f"whole job, {job['maps']:,} maps, s", peer["seconds"], job["ours"]["seconds"], 1),
        row(
            "peak anonymous memory, MB",
            peer["memory"] / _MEGABYTE,
            job["ours"]["memory"] / _MEGABYTE,
            0,
        ),
        row("on disk per source, kB", job["bytes"]["peer"] / 1e3, job["bytes"]["ours"] / 1e3, 1),
    ]
    table = _markdown(["", "peer", "us", "peer / us"], rows)
    return (
        f"{table}\n\nSeconds of the whole job are those of a process from start to end, imports"
        f" included. The peer ranked {counts} maps in {few}; the time for {job['maps']:,} lies on"
        " the line through the two. Its memory is what the larger of them took"
        f" ({peer['measured_memory'][-1] / _MEGABYTE:,.0f} MB) and what every further map adds, its"
        " matrix and all embeddings under it. Embedding with the wide features that anchored maps"
        f" read takes us {own['embed_wide']['wall']:.1f} s. Largest difference of a score, each"
        f" side with its own embeddings and iterations: {_tiny(job['difference_to_peer'])}. Maps:"
        f" rank {rank}, float16 in a bundle with their records for us, float32 matrices with"
        " their descriptions for the peer."
    )


def stream_text(large: Mapping[str, Any], rank: int) -> str:
    """Return what scoring a large pool takes."""
    memory = large["memory"]
    return (
        f"{large['maps']:,} anchored maps of rank {rank}, d = p = 384, n = 1,000, K = 4, streamed"
        f" from a bundle of {large['bytes'] / 1e9:.2f} GB: {large['seconds']:.1f} s, peak"
        f" {memory['anonymous'] / _MEGABYTE:,.0f} MB of anonymous memory; mapped pages of files,"
        f" which the system takes back when it wants, up to {memory['mapped'] / _MEGABYTE:,.0f} MB."
    )
