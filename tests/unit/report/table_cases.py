"""Results with long names, for every function that makes tables of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from esm.common.caches import Cache
from esm.inference.export import Exported
from esm.maps.forms import MapForm
from esm.metrics.evaluate import Evaluation, LeftOut
from esm.pool.build import BuildReport
from esm.pool.hub.hub import Listing
from esm.pool.hub.pull import PullReport
from esm.pool.hub.push import PushedMap, PushReport
from esm.pool.pack import PackReport
from esm.pool.pool import Skipped
from esm.pool.records import DeltaRecord, MapRecord
from esm.pool.verify import Fault, VerifyReport
from esm.ranking.aggregate import aggregate_rankings
from esm.ranking.diverse import DiverseSet, PassedOver, Pick
from esm.ranking.leaks.overlap import Overlap
from esm.ranking.result import AttributeRanking, Ranking
from esm.report import (
    classes,
    comparison,
    evaluation,
    inference,
    pool,
    splits,
    table,
    tasks,
    trials,
    validation,
    why,
)
from esm.report import ranking as rankings
from esm.report.table import Table
from esm.scorers.forecast import Expected
from esm.tasks.faults.findings import Finding, FindingKind
from esm.tasks.guess.propose import Proposal
from esm.tasks.guess.roles import Guess, Role
from esm.tasks.registry import registry
from esm.tasks.spec import ColumnSpec, TaskSpec
from esm.trials.results import Comparison, Validation
from tests.unit.report import test_classes, test_comparison, test_results

SOURCES = tuple(
    f"{owner}-{data}-{label}"
    for owner, data, label in (
        ("stanfordnlp", "imdb-movie-reviews", "sentiment"),
        ("cardiffnlp", "tweet-eval-offensive", "is-offensive"),
        ("ESM_hub-user", "climate-fever-claims", "label-of-claim"),
    )
)
ATTRIBUTES = ("mentions_first_hand_experience", "endorses_the_home_remedy", "severity")
STRATEGIES = ("multitask:square-root:sources:then-alone", "sequential:sources:searched", "houlsby")
FOLDER = "/data/projects/remedies/pools/all-minilm-l6-v2-maps-of-autumn.packed"
LICENCE = "CC BY-NC-SA 4.0 (texts: rights of their authors)"
SKIPPED = (Skipped(SOURCES[2], f"its map {FOLDER}/maps/anchored.safetensors is truncated"),)
ERROR = "over seeds (order of the rows, dropout, head, adapters); the source's seed is fixed"


def ranking() -> Ranking:
    """Return a ranking with all that one can have: forecasts, intervals, leaks, a set, truth."""
    base = test_results.ranking()
    overlap = Overlap(texts=0.125, tests=0.1, num_texts=80, num_tests=40, other=0, flagged=True)
    lines = [
        line.model_copy(
            update={
                "source": source,
                "licence": LICENCE,
                "expected": Expected(gain=-0.4, low=-5.3, high=4.5),
                "adds": {"logme": 0.2},
                "gain_low": -0.1,
                "gain_high": 0.3,
                "top_probability": 0.9,
                "group": 1,
                "overlap": overlap,
            }
        )
        for line, source in zip(base.attributes["harmful"].ranking, SOURCES, strict=True)
    ]
    picks = (
        Pick(source=SOURCES[0], adds=0.5),
        Pick(source=SOURCES[1], adds=0.2, likest=SOURCES[0], likeness=0.4),
    )
    passed = (PassedOver(source=SOURCES[2], likest=SOURCES[1], likeness=0.95),)
    changes = {
        "ranking": tuple(lines),
        "skipped": SKIPPED,
        "diverse": DiverseSet(picks=picks, passed_over=passed),
    }
    ranked: dict[str, AttributeRanking] = {
        name: base.attributes["harmful"].model_copy(update=changes) for name in ATTRIBUTES
    }
    config = base.config.model_copy(update={"bootstrap": 200})
    more = {
        "attributes": ranked,
        "aggregate": aggregate_rankings(ranked),
        "config": config,
        "warnings": ("a sentence about the language of the sources, " * 3,),
        "unusable": {"identifier_of_the_original_post": "every value occurs once"},
        "target": "remedy-posts-in-slovak-and-czech",
    }
    return base.model_copy(update=more)


def renamed_validation() -> Validation:
    """Return a validation of long names with confusions."""
    found = test_classes.with_confusions(
        tuple(f"does-not-{verb}-anything-at-all" for verb in ("claim", "deny", "ask", "mention")),
        {name: [[100 * i + j for j in range(4)] for i in range(4)] for name in ("none", "a")},
        {"none": 0.5, "a": 0.6},
    )
    text = found.model_dump_json().replace('"a"', f'"{SOURCES[0]}"')
    text = text.replace('"harmful"', f'"{ATTRIBUTES[0]}"').replace('"over seeds"', f'"{ERROR}"')
    return Validation.model_validate_json(text)


def renamed_comparison() -> Comparison:
    """Return a comparison of long names."""
    text = test_comparison.comparison().model_dump_json()
    names = {"full": STRATEGIES[0], "multitask": STRATEGIES[1], "gpt": "a-language-model-prompted"}
    names |= {"harmful": ATTRIBUTES[0], "a": ATTRIBUTES[1], "b": ATTRIBUTES[2]}
    names |= {"source reviews": f"source {SOURCES[0]}", "over seeds": ERROR}
    for old, new in names.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    return Comparison.model_validate_json(text)


def pool_with(forms: int) -> list[Table]:
    """Return the tables of a pool."""
    fit = MapRecord(rank=32, penalty=0.1, r2_source=0.27, r2_anchors=0.31, bytes=58_400)
    delta = DeltaRecord(
        hash="d",
        budget=437_760,
        bytes=435_000,
        r2_source=0.99,
        r2_anchors=0.98,
        left_out=("embeddings.word_embeddings.weight",),
    )
    maps = dict.fromkeys(list(MapForm)[:forms], fit)
    entries = [
        SimpleNamespace(
            id=source,
            record=SimpleNamespace(
                metadata=SimpleNamespace(language="en", license=LICENCE),
                num_used=10_000,
                metric="macro_f1",
                quality={"macro_f1": 0.96},
                seconds={"fine_tune": 4000.0},
                maps=maps,
                delta=delta,
                fits=lambda: [*maps.items(), ("delta", delta)],
            ),
        )
        for source in SOURCES
    ]
    base = SimpleNamespace(model=FOLDER, pooling="mean", reading="256 tokens", width=384)
    sizes = {"anchors": SimpleNamespace(count=600), "lift": SimpleNamespace(width=512)}
    manifest = SimpleNamespace(base=base, **sizes)
    opened = SimpleNamespace(folder=FOLDER, manifest=manifest)
    return pool.pool_tables(opened, entries, SKIPPED, of=9)


COST = SimpleNamespace(
    done=1,
    pending=3,
    fine_tunings=3,
    basis="a guess",
    seconds=4000.0,
    by_strategy=dict.fromkeys(STRATEGIES, 4000.0),
    bytes=9e8,
    kept_bytes=9e8,
    free_bytes=5e8,
    missing_bytes=4e8,
)


def plan() -> list[Table]:
    """Return the plan of a validation."""
    runs = [
        SimpleNamespace(attribute=name, arm="random", source=source)
        for name in ATTRIBUTES
        for source in SOURCES
    ]
    left = SimpleNamespace(
        attribute=ATTRIBUTES[0],
        arm="random",
        source=SOURCES[2],
        runs=2,
        seconds=720.0,
        reason="does not fit into the budget of 2h",
    )
    planned = SimpleNamespace(
        trials=runs,
        num_train=dict.fromkeys(ATTRIBUTES, 1000),
        target="posts",
        left_out=[left],
        skipped=SKIPPED,
    )
    return validation.plan_tables(planned, COST)


def comparison_plan() -> list[Table]:
    """Return the plan of a comparison."""
    runs = [
        SimpleNamespace(strategy=name, sources=SOURCES, source="several") for name in STRATEGIES
    ]
    planned = SimpleNamespace(
        strategies=STRATEGIES,
        trials=runs,
        attributes=ATTRIBUTES,
        target="posts",
        left_out=[
            SimpleNamespace(
                attribute=", ".join(ATTRIBUTES),
                arm=None,
                strategy=STRATEGIES[0],
                runs=2,
                seconds=720.0,
                reason="does not fit into the budget of 2h",
            )
        ],
        skipped=SKIPPED,
    )
    return comparison.comparison_plan_tables(planned, COST)


AGREEMENT = {
    "alpha": 0.4321,
    "level": "nominal",
    "annotators": 3,
    "texts": 1_200,
    "ties": 17,
    "repeated": 4,
    "why_none": "",
}


def described() -> dict[str, object]:
    """Return a description of a target."""
    split = {
        "rows": 12_000,
        "duplicates": 3,
        "words": {"median": 31, "max": 600},
        "labels": {f"a-label-of-{name}": {"rows": 40, "share": 0.2} for name in ATTRIBUTES},
    }
    attribute = {
        "problem": "classification",
        "metric": "macro_f1",
        "is_pair": True,
        "label_names": list(ATTRIBUTES),
        "splits": dict.fromkeys(("train", "validation", "test"), split),
        "metadata": {"language": "sk", "license": LICENCE},
        "dropped": {"no label": 3},
        "agreement": AGREEMENT,
        "rare": [{"name": "a-rare-class", "rows": 2, "into": None}],
        "shared_train_test": 2,
    }
    return {
        "id": "remedy-posts-in-slovak",
        "attributes": {n: attribute | {"id": f"remedy-posts-in-slovak/{n}"} for n in ATTRIBUTES},
        "skipped": {"identifier_of_the_original_post": "every value occurs once"},
        "split": {
            "method": "column",
            "group": "author_of_the_original_post",
            "column": "the_part_that_a_row_is_in",
            "groups": {"train": 900, "test": 300},
            "folds": 5,
            "repeats": 2,
        },
        "language": {
            "code": "sk",
            "declared": True,
            "detected": "cs",
            "share": 0.6,
            "error": 0.02,
            "texts": 400,
            "runner_up": "sk",
            "contradicted": True,
        },
    }


def evaluated() -> list[Table]:
    """Return the tables of an evaluation."""
    measures = {f"regret@{k}": 37.5 for k in (1, 3, 5, 10)} | {"ndcg": 0.5, "spearman": 0.1}
    targets = {f"remedy-posts-in-slovak/{name}": measures for name in ATTRIBUTES}
    left = LeftOut(
        targets={"another-target/severity": "no results"}, sources={"posts": 3}, no_transfer=1
    )
    values = dict.fromkeys(("mean", "standard_error", "random", "static"), measures)
    return evaluation.evaluation_tables(Evaluation(targets=targets, left_out=left, **values))


def predictions() -> list[Table]:
    """Return the tables of predictions."""
    found = {
        "source": SOURCES[0],
        "models": 3,
        "labelled": 1000,
        "abstained": 20,
        "values": None,
        "labels": {f"a-label-of-{name}": 300 for name in ATTRIBUTES},
        "calibration": {
            "coverage": 0.98,
            "accuracy": 0.8,
            "calibration_error": 0.03,
            "rows": 400,
            "calibrated_on": "validation rows",
        },
        "licences": {SOURCES[0]: LICENCE},
    }
    summary = {"attributes": dict.fromkeys(ATTRIBUTES, found), "rows": 1020, "empty": 2}
    return inference.prediction_tables(summary, f"{FOLDER}/labels.csv")


def verdict() -> list[Table]:
    """Return the verdict of the demo."""
    from esm.cli.demo.run import Verdict
    from esm.cli.demo.tables import verdict_tables

    planted = dict(zip(ATTRIBUTES, SOURCES, strict=True))
    performance = {SOURCES[0]: 0.9, "none": 0.5}
    return verdict_tables(Verdict(planted, planted, ATTRIBUTES[0], performance))


def proposal() -> list[Table]:
    """Return a proposal."""
    guesses = (
        Guess("text_of_the_original_post", Role.TEXT, "9 distinct values"),
        Guess(ATTRIBUTES[0], Role.ATTRIBUTE, "degrees", ColumnSpec(kind="ordinal"), "few rows"),
    )
    made = Proposal(TaskSpec(location=f"{FOLDER}/p.csv"), guesses, {"split": "few rows"}, 1200)
    return tasks.proposal_tables(made, Path(FOLDER) / "p.toml")


FINDING = Finding(
    FindingKind.DUPLICATE_TEXTS,
    ATTRIBUTES[0],
    1200,
    "many texts occur several times, some with different labels",
    "keep one row of each text, or group them",
)
CACHES = [Cache("splits", (Path("a"),), 12)]
CASES: dict[str, Callable[[], list[Table]]] = {
    "classes.class_tables": lambda: classes.class_tables(renamed_validation()),
    "comparison.comparison_plan_tables": comparison_plan,
    "comparison.comparison_tables": lambda: comparison.comparison_tables(renamed_comparison()),
    "comparison.curve_table": lambda: [
        comparison.curve_table(name, found)
        for name, found in renamed_comparison().attributes.items()
    ],
    "demo.tables.verdict_tables": verdict,
    "evaluation.evaluation_tables": evaluated,
    "inference.export_tables": lambda: inference.export_tables(
        [Exported(ATTRIBUTES[0], SOURCES[0], 3, Path(FOLDER), 9_000_000)]
    ),
    "inference.prediction_tables": predictions,
    "pool.build_report": lambda: pool.build_report(
        BuildReport(FOLDER, SOURCES[:1], SOURCES[1:2], SOURCES[2:], SKIPPED, 90.0)
    ),
    "pool.index_report": lambda: pool.index_report(FOLDER, dict.fromkeys(MapForm, 1500)),
    "pool.listing_table": lambda: pool.listing_table(
        FOLDER, [Listing(f"hub-user/{name}", "c" * 40, ("license:mit",)) for name in SOURCES]
    ),
    "pool.pack_report": lambda: pool.pack_report(
        PackReport(
            pool=FOLDER,
            folder=FOLDER,
            sources=3,
            maps=6,
            bytes_before=9_000_000,
            bytes_after=3_000_000,
            losses={SOURCES[0]: 0.1},
            left_out={"model": 3},
            skipped=SKIPPED,
            seconds=3.0,
        )
    ),
    "pool.pool_tables": lambda: [*pool_with(1), *pool_with(2)],
    "pool.pull_report": lambda: pool.pull_report(
        PullReport(FOLDER, "sentence/model", 9, SOURCES, (), {"rows=1000": 3}, SKIPPED, 9.0)
    ),
    "pool.push_report": lambda: pool.push_report(
        PushReport(
            tuple(
                PushedMap(name, f"hub-user/ESM_{name}", f"https://hf.co/hub-user/{name}", None)
                for name in SOURCES
            ),
            SKIPPED,
            False,
        )
    ),
    "pool.verify_report": lambda: pool.verify_report(
        VerifyReport(FOLDER, 2, 2, (Fault(SOURCES[0], SKIPPED[0].reason), Fault("", "gone")), 3.0)
    ),
    "ranking.aggregate_tables": lambda: rankings.aggregate_tables(ranking()),
    "ranking.diverse_table": lambda: rankings.diverse_table(ranking().attributes[ATTRIBUTES[0]]),
    "ranking.ranking_tables": lambda: rankings.ranking_tables(ranking()),
    "ranking.unusable_table": lambda: rankings.unusable_table(ranking().unusable),
    "splits.split_tables": lambda: splits.split_tables(described()),
    "table.notes_table": lambda: table.notes_table([f"{FOLDER} is " + "a note " * 30]),
    "tasks.cache_tables": lambda: tasks.cache_tables(Path(FOLDER), CACHES, CACHES, removed=False),
    "tasks.finding_tables": lambda: tasks.finding_tables([FINDING, FINDING]),
    "tasks.language_tables": lambda: tasks.language_tables(described()["language"]),
    "tasks.proposal_tables": proposal,
    "tasks.registry_tables": lambda: tasks.registry_tables(registry()),
    "tasks.task_details": lambda: tasks.task_details(described()),
    "tasks.task_list": lambda: tasks.task_list(
        [described()], [{"source": SOURCES[0], "reason": SKIPPED[0].reason}]
    ),
    "trials.result_tables": lambda: [
        *trials.result_tables(renamed_validation(), classes=True),
        *trials.result_tables(renamed_comparison(), classes=True),
    ],
    "validation.plan_tables": plan,
    "validation.validation_tables": lambda: validation.validation_tables(renamed_validation()),
    "why.why_tables": lambda: why.why_tables(ranking(), SOURCES[0]),
}
