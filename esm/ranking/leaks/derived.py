"""Sources that were made of the target's own data, and those among them that saw its test texts.

Another attribute of the same posts may be the best source there is. But an encoder that was tuned
on a text has seen it, whatever the label: a sibling that was trained on test texts of the target
would flatter every result and is refused. The texts are compared by the numbers that the entry
keeps (see :mod:`esm.pool.fingerprints`); a sibling whose entry keeps none is read again.

Which sources are siblings is told by where they come from and what they are called, and by their
texts: a source that holds more than half of the target's is the target's data under another name.
A source that shares fewer texts is an independent dataset with a leak in it: it is ranked, the
share stands beside it (see :mod:`esm.ranking.leaks.overlap`), and whoever ranks says from which
share on it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from esm.common.errors import EsmError, MapError
from esm.pool.fingerprints import Fingerprint, FingerprintKey
from esm.pool.pool import PoolEntry, Skipped
from esm.ranking.leaks.copies import Matches, TargetNumbers
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Target

# Above this share of the target's texts, a source is the target's own data. Independent datasets
# from one origin stay below: of sst2, subj holds 27 %.
_OWN_SHARE = 0.5


class DerivedSources:
    """Tells which sources of a pool are siblings of a target, and which sources may be used.

    Args:
        spec: The target's specification.
        targets: The target; all of its folds, where it is split into folds.
        key: The pool's fingerprint key; None where it has none.

    Attributes:
        key: The same.
    """

    def __init__(
        self, spec: TaskSpec, targets: Sequence[Target], key: FingerprintKey | None = None
    ) -> None:
        self._places = {spec.location, spec.test} - {None}
        self._prefix = f"{targets[0].id}/"
        self.key = key
        self._numbers = TargetNumbers(targets, key)
        self._found: dict[str, Matches | str | None] = {}

    def includes(self, entry: PoolEntry) -> bool:
        """Whether a source comes from the target's files, bears its name, or holds its texts."""
        matches = self._matches(entry)
        held = isinstance(matches, Matches) and matches.share > _OWN_SHARE
        return held or self._is_named(entry)

    def matches(self, entry: PoolEntry) -> Matches | None:
        """Return which of the target's texts a source holds; None where that is not known.

        Cost: the first call for a source reads its numbers; for a sibling without any, its data.
        """
        found = self._matches(entry)
        return found if isinstance(found, Matches) else None

    def refusal(self, entry: PoolEntry, attribute: str) -> str | None:
        """Return why a source must not be used for an attribute; None where it may be."""
        found = self._matches(entry)
        if isinstance(found, str):
            return found
        if found is None or not self.includes(entry):
            return None
        seen = found.seen_tests(attribute)
        return f"its training rows hold {seen} test texts of the target" if seen else None

    def usable(
        self, attribute: str, entries: Mapping[str, PoolEntry]
    ) -> tuple[dict[str, PoolEntry], list[Skipped]]:
        """Return the entries that may be used for an attribute, and the others with the reason."""
        reasons = {source: self.refusal(entry, attribute) for source, entry in entries.items()}
        return (
            {source: entry for source, entry in entries.items() if reasons[source] is None},
            [Skipped(source, f"{attribute}: {why}") for source, why in reasons.items() if why],
        )

    def _is_named(self, entry: PoolEntry) -> bool:
        task = entry.record.task
        places = set() if task is None else {task.location, task.test}
        return bool(places & self._places) or entry.id.startswith(self._prefix)

    def _matches(self, entry: PoolEntry) -> Matches | str | None:
        """Return what a source holds, why it must not be used as that is not known, or None."""
        if entry.id not in self._found:
            self._found[entry.id] = self._look_up(entry)
        return self._found[entry.id]

    def _look_up(self, entry: PoolEntry) -> Matches | str | None:
        try:
            fingerprint = entry.load_fingerprint(self.key)
        except MapError as error:
            return _of_unknown(str(error))
        if fingerprint is not None:
            return self._numbers.matches(fingerprint)
        if not self._is_named(entry):
            return None
        if entry.record.published is not None or entry.record.task is None:
            return "it was published by others, who may have trained it on test texts of the target"
        try:
            return self._numbers.matches(_read_again(entry, entry.record.task))
        except EsmError as error:
            return _of_unknown(str(error))


def _of_unknown(reason: str) -> str:
    return f"whether it saw test texts of the target cannot be told: {reason}"


def _read_again(entry: PoolEntry, spec: TaskSpec) -> Fingerprint:
    """Number a source's training texts as its data hold them today.

    Raises:
        EsmError: They cannot be read, or are not what it was trained on.
    """
    task = load_task(spec)
    if task.content_hash() != entry.record.task_hash:
        raise EsmError("its rows have changed since it was trained", hint="esm train --replace")
    return Fingerprint.unsalted(task.train)
