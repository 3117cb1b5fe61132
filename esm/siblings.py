"""Sources that were made of the target's own data, and sources that saw its test texts.

Another attribute of the same posts may be the best source there is. But an encoder that was tuned
on a text has seen it, whatever the label: a source whose training texts include test texts of the
target would flatter every result. So the texts of every source are compared with them, by the
numbers that its entry keeps; a sibling whose entry keeps none is read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esm.errors import EsmError, MapError
from esm.pool import PoolEntry, Skipped
from esm.seen import numbers
from esm.tasks.read import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.split import text_keys
from esm.tasks.task import SplitName, Target


class Siblings:
    """Tells which sources of a pool are siblings of a target, and which sources may be used.

    Args:
        spec: The target's specification.
        targets: The target; all of its folds, where it is split into folds.
    """

    def __init__(self, spec: TaskSpec, targets: Sequence[Target]) -> None:
        self._places = {spec.location, spec.test} - {None}
        self._prefix = f"{targets[0].id}/"
        self._tested = {
            name: frozenset[int]().union(
                *(
                    numbers(text_keys(rows))
                    for target in targets
                    if (rows := target.attributes[name].splits.get(SplitName.TEST)) is not None
                )
            )
            for name in targets[0].attributes
        }
        self._trained: dict[str, frozenset[int] | str] = {}

    def includes(self, entry: PoolEntry) -> bool:
        """Whether a source comes from the target's files, or bears the name of its attribute."""
        task = entry.record.task
        places = set() if task is None else {task.location, task.test}
        return bool(places & self._places) or entry.id.startswith(self._prefix)

    def refusal(self, entry: PoolEntry, attribute: str) -> str | None:
        """Return why a source must not be used for an attribute; None where it may be.

        Cost: the first call for a source reads its numbers; for a sibling without any, its data.
        """
        if entry.id not in self._trained:
            self._trained[entry.id] = self._training_texts(entry)
        trained = self._trained[entry.id]
        if isinstance(trained, str):
            return trained
        seen = len(trained & self._tested[attribute])
        return f"its training rows hold {seen} test texts of the target" if seen else None

    def sift(
        self, attribute: str, entries: Mapping[str, PoolEntry]
    ) -> tuple[dict[str, PoolEntry], list[Skipped]]:
        """Return the entries that may be used for an attribute, and the others with the reason."""
        reasons = {source: self.refusal(entry, attribute) for source, entry in entries.items()}
        return (
            {source: entry for source, entry in entries.items() if reasons[source] is None},
            [Skipped(source, f"{attribute}: {why}") for source, why in reasons.items() if why],
        )

    def _training_texts(self, entry: PoolEntry) -> frozenset[int] | str:
        """Return the numbers of a source's training texts, or why a sibling cannot tell them."""
        try:
            seen = entry.seen_texts()
        except MapError as error:
            return f"whether it saw test texts of the target cannot be told: {error}"
        if seen is not None:
            return seen
        return _read_again(entry) if self.includes(entry) else frozenset()


def _read_again(entry: PoolEntry) -> frozenset[int] | str:
    if entry.record.published is not None or entry.record.task is None:
        return "it was published by others, who may have trained it on test texts of the target"
    try:
        task = load_task(entry.record.task)
    except EsmError as error:
        return f"whether it saw test texts of the target cannot be told: {error}"
    if task.content_hash() != entry.record.task_hash:
        return (
            "whether it saw test texts of the target cannot be told: its rows have changed since"
            " it was trained; esm train --replace"
        )
    return numbers(text_keys(task.train))
