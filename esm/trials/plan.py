"""What a validation will run: trials over sources with one strategy, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from esm.common.errors import EsmError, TaskError, ValidationError
from esm.common.storage import content_hash, hash_texts
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.pool import Pool, PoolEntry, Skipped
from esm.ranking.leaks.derived import DerivedSources
from esm.ranking.result import Ranking
from esm.strategies.registry import check_own, reads_unlabelled, strategy
from esm.tasks.raw import attribute_id
from esm.tasks.task import SplitName, Target, Task, joint_hash
from esm.trials.encoders import source_hash, source_start
from esm.trials.ledger import RunKey
from esm.trials.settings import Arm, ValidationConfig
from esm.trials.trial import Plan, Trial, describe_rows


def plan_validation(
    ranking: Ranking,
    pool: Pool,
    targets: Sequence[Target],
    config: ValidationConfig,
    *,
    strict: bool = False,
) -> Plan:
    """Plan the runs that show what a ranking is worth. No model is loaded.

    The picks are the best of the aggregate where the ranking has one, the same for every attribute;
    else those of each attribute's diverse set, where it has one, or its best.

    Args:
        ranking: The ranking to prove.
        pool: The pool it was made from, or another one with the same sources.
        targets: The target it was made for, in all its folds.
        config: Settings.
        strict: Raise for an attribute without test rows or a source that the pool cannot give
            instead of leaving it out.

    Raises:
        ValidationError: The target has changed since it was ranked, an attribute is not in the
            ranking, the strategy can learn none of them, or not one that was asked for by name,
            or there is nothing to run.
        SettingError: The strategy has no such setting.
        TaskError: No attribute has test rows, or one that was asked for by name has none.
    """
    target, found = targets[0], joint_hash(targets)
    if found != ranking.target_hash:
        raise ValidationError(
            f"the rows of {ranking.target} have changed since it was ranked",
            expected=f"content hash {ranking.target_hash[:12]}, got {found[:12]}",
            hint="esm rank again",
        )
    check_own(config.transfer.own, (config.strategy,))
    names, untested = _attributes(ranking, target, config, strict=strict)
    names, unlearnable = _learnable(names, target, config, strict=strict)
    ranked = {source for name in names for source in ranking.attributes[name].order}
    if unranked := [source for source in config.sources if source not in ranked]:
        raise ValidationError(
            f"source {', '.join(unranked)} is not in the ranking",
            expected="ids of ranked sources",
            hint="esm show RANKING --top 0",
        )
    entries, skipped = _entries(ranked, pool, strict=strict)
    if not strategy(config.strategy).uses_source:
        entries, skipped = {}, [_no_source(config.strategy)]
        config = config.model_copy(update={"controls": (Arm.NONE,)})
    siblings = DerivedSources(ranking.target_spec, targets, pool.fingerprint_key())
    trials: list[Trial] = []
    for name in names:
        plain = _plain_keys(targets, name, ranking, pool, config)
        places = ranking.places(name)
        usable, refused = siblings.usable(name, {s: e for s, e in entries.items() if s in places})
        skipped += refused
        picks = ranking.picks(name, config.top)
        for arm, source in _arms(name, picks, places, usable, config):
            trials += [
                Trial((key,), size=key.max_train, arm=arm)
                for key in _keys(plain, usable.get(source), config)
            ]
    return Plan(
        target=target.id,
        config=config,
        base=pool.manifest.base,
        trials=tuple(trials),
        skipped=(*untested, *unlearnable, *skipped, *_unfit_picks(ranking, names, config)),
        pool=str(pool.folder),
        entries=entries,
        source_seconds={
            source: entry.record.seconds.get("fine_tune", 0.0) for source, entry in entries.items()
        },
        **describe_rows(targets, names, config.sizes[-1]),
    )


def _attributes(
    ranking: Ranking, target: Target, config: ValidationConfig, *, strict: bool
) -> tuple[list[str], list[Skipped]]:
    """Return the attributes to validate, and those that cannot be, with the reason."""
    names = config.attributes or tuple(ranking.attributes)
    if unknown := [name for name in names if name not in ranking.attributes]:
        raise ValidationError(
            f"attribute {', '.join(unknown)} is not in the ranking",
            expected=f"some of {', '.join(ranking.attributes)}",
        )
    untested = [name for name in names if SplitName.TEST not in target.attributes[name].splits]
    if untested and (strict or config.attributes or len(untested) == len(names)):
        raise _no_test_rows(untested)
    return (
        [name for name in names if name not in untested],
        [Skipped(f"{target.id}/{name}", str(_no_test_rows([name]))) for name in untested],
    )


def _learnable(
    names: Sequence[str], target: Target, config: ValidationConfig, *, strict: bool
) -> tuple[list[str], list[Skipped]]:
    """Return the attributes that the strategy can learn, and the others with the reason."""
    chosen = strategy(config.strategy)
    learnable: list[str] = []
    skipped: list[Skipped] = []
    for name in names:
        try:
            chosen.check_tasks([target.attributes[name]])
        except ValidationError as error:
            if strict or config.attributes or len(skipped) == len(names) - 1:
                raise
            skipped.append(Skipped(attribute_id(target.id, name), str(error)))
        else:
            learnable.append(name)
    return learnable, skipped


def _no_source(name: str) -> Skipped:
    return Skipped("every source", f"{name} starts from no weights that a source could have tuned")


def _no_test_rows(names: Sequence[str]) -> TaskError:
    return TaskError(
        f"attribute {', '.join(names)} has no test rows",
        expected="rows to judge by",
        hint="esm rank again with --test FILE, --test-split NAME for Hub data, or --split k-fold",
    )


def _entries(
    ranked: Iterable[str], pool: Pool, *, strict: bool
) -> tuple[dict[str, PoolEntry], list[Skipped]]:
    """Read the entries of all ranked sources."""
    entries: dict[str, PoolEntry] = {}
    skipped: list[Skipped] = []
    for source in sorted(ranked):
        try:
            entries[source] = pool.entry(source)
        except EsmError as error:
            if strict:
                raise
            skipped.append(Skipped(source, str(error)))
    return entries, skipped


def _unfit_picks(ranking: Ranking, names: Iterable[str], config: ValidationConfig) -> list[Skipped]:
    """Return the best of the aggregate that are missing for an attribute, with the reason."""
    return [
        Skipped(
            attribute_id(ranking.target, name),
            f"{line.source}, place {line.rank} over all attributes, is not ranked for this one",
        )
        for name in names
        for line in ranking.aggregate[: config.top]
        if name in line.missing
    ]


def _arms(
    name: str,
    picks: Sequence[str],
    ranked: Iterable[str],
    entries: Mapping[str, PoolEntry],
    config: ValidationConfig,
) -> list[tuple[Arm, str]]:
    """Return the arms of an attribute in the order of execution; no source comes twice."""
    rest = [source for source in ranked if source not in picks]
    named = [source for source in rest if source in config.sources]
    others = [source for source in rest if source not in named]
    arms = [(Arm.NONE, NO_TRANSFER)] if Arm.NONE in config.controls else []
    arms += [(Arm.PICK, source) for source in picks]
    arms += [(Arm.NAMED, source) for source in named]
    drawn: list[str] = []
    if Arm.RANDOM in config.controls:
        generator = np.random.default_rng([config.control_seed, int(content_hash(name)[:8], 16)])
        # Drawn from the sorted ids, so that the draw does not depend on the ranking's order.
        candidates = sorted(source for source in others if source in entries)
        count = min(config.random_sources, len(candidates))
        drawn = [candidates[i] for i in generator.choice(len(candidates), count, replace=False)]
        arms += [(Arm.RANDOM, source) for source in others if source in drawn]
    if Arm.ALL in config.controls:
        arms += [(Arm.ALL, source) for source in others if source not in drawn]
    return [(arm, source) for arm, source in arms if arm is Arm.NONE or source in entries]


def _plain_keys(
    targets: Sequence[Target], name: str, ranking: Ranking, pool: Pool, config: ValidationConfig
) -> list[RunKey]:
    """Return the keys of an attribute's runs without transfer: every fold with every seed."""
    first = RunKey(
        target=targets[0].id,
        attribute=name,
        target_hash=joint_hash([fold.attributes[name] for fold in targets]),
        base=_base_hash(pool, ranking),
        max_chunks=ranking.config.max_chunks or pool.manifest.base.max_chunks,
        source=NO_TRANSFER,
        source_hash=None,
        source_seed=None,
        strategy=config.strategy,
        transfer=_transfer([fold.attributes[name] for fold in targets], config),
        max_train=None,
        seed=0,
    )
    return [
        first.model_copy(update={"seed": seed, "fold": fold.fold, "max_train": size})
        for size in reversed(config.sizes)
        for seed in range(config.seeds)
        for fold in targets
    ]


def unlabelled_hash(tasks: Iterable[Task]) -> str:
    """Return a hash of the texts without labels, which decide what some strategies learn."""
    texts = [task.unlabelled for task in tasks]
    return content_hash([hash_texts(one.texts, one.pairs) for one in texts])


def _transfer(folds: Sequence[Task], config: ValidationConfig) -> dict[str, Any]:
    """Return the strategy's settings, and of one that reads unlabelled texts, which they are."""
    settings = strategy(config.strategy).settings(config.transfer)
    if reads_unlabelled(config.strategy):
        settings["unlabelled"] = unlabelled_hash(folds)
    return settings


def _base_hash(pool: Pool, ranking: Ranking) -> str:
    """Return the identity of the base model; of one whose weights are not known, also its place.

    Else the runs of two folders that go by one name would be taken for each other.
    """
    identity = pool.manifest.base.content_hash()
    known = ranking.base is None or pool.manifest.base.weights is not None
    return identity if known else content_hash(identity, ranking.base)


def _keys(
    plain: Sequence[RunKey], entry: PoolEntry | None, config: ValidationConfig
) -> list[RunKey]:
    """Return the keys of one arm; no entry means no transfer."""
    if entry is None:
        return list(plain)
    first = entry.record.fine_tune.seed
    return [
        key.model_copy(
            update={
                "source": entry.id,
                "source_hash": source_hash(entry),
                "source_seed": first + key.seed % config.source_seeds,
                "delta": source_start(entry, retrain=config.trains_sources),
            }
        )
        for key in plain
    ]
