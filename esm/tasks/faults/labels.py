"""What is wrong with labels: too few, too rare, contradictory, or no labels at all."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from esm.tasks.faults.findings import Finding, FindingKind, counts_in_words
from esm.tasks.guess.rare import FEWEST_PER_CLASS
from esm.tasks.identity import row_forms
from esm.tasks.labels.names import look
from esm.tasks.labels.spellings import look_alikes
from esm.tasks.tagging import present, tags_of
from esm.tasks.task import Examples, Problem, SplitName, Target, Task

_FEWEST_ROWS = 50
_MOST_NAMED = 6
_LARGEST_CLASS = 0.95
_NEARLY_ALL_DIFFER = 0.95


def label_findings(name: str, task: Task) -> list[Finding]:
    """Return what is wrong with one attribute's labels."""
    found: list[Finding | None] = [_few_rows(name, task), _conflicts(name, task)]
    if task.problem is Problem.REGRESSION:
        found.append(_id_as_amount(name, task))
    else:
        found += [_rare(name, task), _not_in_test(name, task), _one_class(name, task)]
        found.append(_look_alikes(name, task))
    found += [_not_in_train(name, task), _no_answer(name, task), _spellings(name, task)]
    return [finding for finding in found if finding is not None]


_OF_ROWS = frozenset(
    {
        FindingKind.NOT_IN_TEST,
        FindingKind.NOT_IN_TRAIN,
        FindingKind.NO_ANSWER,
        FindingKind.SPELLINGS,
        FindingKind.LOOK_ALIKES,
    }
)


def data_notes(targets: Sequence[Target]) -> dict[str, tuple[str, ...]]:
    """Return, by attribute, what results have to say of the rows that they rest on.

    These are labels that were left out or read as another one, classes that no test row has, and
    classes that look alike; nothing where all is well.

    Args:
        targets: The target, in all its folds.
    """
    # Every row is a test row in one of the folds.
    kinds = _OF_ROWS - ({FindingKind.NOT_IN_TEST} if len(targets) > 1 else set())
    return {
        name: tuple(said.message for said in label_findings(name, task) if said.kind in kinds)
        for name, task in targets[0].attributes.items()
    }


def source_notes(task: Task) -> tuple[str, ...]:
    """Return what has to be said of the labels of a source task, as :func:`data_notes` does."""
    kinds = _OF_ROWS - {FindingKind.NOT_IN_TEST}
    return tuple(said.message for said in label_findings(task.id, task) if said.kind in kinds)


def untested_classes(targets: Sequence[Target]) -> dict[str, tuple[str, ...]]:
    """Return, by attribute, the classes that no test row has: no score says anything of them.

    Args:
        targets: The target, in all its folds.
    """
    found = {}
    for name, task in targets[0].attributes.items():
        tests = [target.attributes[name] for target in targets if name in target.attributes]
        counts = Counter[str]()
        for one in tests:
            if one.problem is not Problem.REGRESSION and SplitName.TEST in one.splits:
                counts.update(_class_counts(one.test, one))
        found[name] = tuple(label for label in task.label_names if counts and not counts[label])
    return found


def _not_in_train(name: str, task: Task) -> Finding | None:
    counts = Counter[str]()
    for of_split in task.unknown.values():
        counts.update(of_split)
    if not counts:
        return None
    classes = {look(label): label for label in reversed(task.label_names)}
    parts = []
    for split, of_split in task.unknown.items():
        left_out = sum(of_split.values())
        rows = len(task.splits.get(split, ())) + left_out
        named = ", ".join(
            counts_in_words({label: count})
            + (f" (looks like {classes[look(label)]!r})" if look(label) in classes else "")
            for label, count in list(of_split.items())[:_MOST_NAMED]
        )
        more = len(of_split) - _MOST_NAMED
        named += f" and {more} others" if more > 0 else ""
        if task.problem is Problem.MULTILABEL:
            parts.append(f"{split} rows with {named}")
        else:
            parts.append(f"{left_out:,} of {rows:,} {split} rows: {named}")
    return Finding(
        FindingKind.NOT_IN_TRAIN,
        name,
        counts.total(),
        f"rows left out because no training row has their label: {'; '.join(parts)}",
        f"mend the spelling, or say what it is under [columns.{name}.merge]; label rows of it"
        " for training",
    )


def _no_answer(name: str, task: Task) -> Finding | None:
    if not task.unanswered:
        return None
    rows = sum(task.unanswered.values())
    return Finding(
        FindingKind.NO_ANSWER,
        name,
        rows,
        f"rows left out because their label stands for no answer: {rows:,}, namely"
        f" {counts_in_words(task.unanswered)}",
        f"where one of them is a class, take it out of missing under [columns.{name}]",
    )


def _spellings(name: str, task: Task) -> Finding | None:
    if not task.spellings:
        return None
    rows = sum(spelling.rows for spelling in task.spellings)
    read = {
        f"{_seen(spelling.written, spelling.label)} as {spelling.label}": spelling.rows
        for spelling in task.spellings
    }
    return Finding(
        FindingKind.SPELLINGS,
        name,
        rows,
        f"rows whose label is another spelling of a class: {rows:,}; read {counts_in_words(read)}",
        "write each class in one way",
    )


def _seen(written: str, label: str) -> str:
    """Return a spelling for people; of one that looks the same, its code points."""
    if " ".join(unicodedata.normalize("NFC", written).split()) != label:
        hidden = any(unicodedata.category(char) == "Cf" for char in written)
        return ascii(written) if hidden else written
    return ascii(written)


def _look_alikes(name: str, task: Task) -> Finding | None:
    alike = look_alikes(task.label_names)
    if not alike:
        return None
    counts = _class_counts(task.train, task)
    sets = [counts_in_words({label: counts[label] for label in labels}) for labels in alike]
    return Finding(
        FindingKind.LOOK_ALIKES,
        name,
        sum(map(len, alike)),
        f"classes that look alike: {'; '.join(sets[:_MOST_NAMED])} training rows",
        f'where they are one class: "{alike[0][1]}" = "{alike[0][0]}" under [columns.{name}.merge]',
    )


def _class_counts(examples: Examples, task: Task) -> Mapping[str, int]:
    if task.problem is Problem.TAGGING:
        counts = present(examples.labels, len(task.label_names)).sum(axis=0).astype(int)
    elif task.problem is Problem.MULTILABEL:
        counts = examples.labels.sum(axis=0).astype(int)
    else:
        counts = np.bincount(examples.labels, minlength=len(task.label_names))
    return dict(zip(task.label_names, counts.tolist(), strict=True))


def _rare(name: str, task: Task) -> Finding | None:
    counts = _class_counts(task.train, task)
    rare = {label: count for label, count in counts.items() if count < FEWEST_PER_CLASS}
    if not rare:
        return None
    if len(task.label_names) > len(task.train) / 2:
        return _id_as_class(name, task)
    advice = "label more rows of them"
    if task.problem is not Problem.TAGGING:
        advice += (
            f", or set min_per_class = {FEWEST_PER_CLASS} and rare ="
            ' "leave-out" (or "merge") for the column'
        )
    return Finding(
        FindingKind.RARE_CLASSES,
        name,
        len(rare),
        f"classes with fewer than {FEWEST_PER_CLASS} training rows: {len(rare)} of {len(counts)},"
        f" namely {counts_in_words(rare)}",
        advice,
    )


def _id_as_class(name: str, task: Task) -> Finding:
    count = len(task.label_names)
    return _id_as_label(name, count, f"{count:,} classes in {len(task.train):,} training")


def _id_as_amount(name: str, task: Task) -> Finding | None:
    labels = np.concatenate([examples.labels for examples in task.splits.values()])
    distinct = len(np.unique(labels))
    whole = bool((labels == np.round(labels)).all())
    if len(labels) < 3 or not whole or distinct < _NEARLY_ALL_DIFFER * len(labels):
        return None
    return _id_as_label(name, distinct, f"{distinct:,} different whole numbers in {len(labels):,}")


def _id_as_label(name: str, count: int, what: str) -> Finding:
    return Finding(
        FindingKind.ID_AS_LABEL,
        name,
        count,
        f"{what} rows: this looks like an id",
        "take it out of the attributes: nothing can be learnt of an id",
    )


def _not_in_test(name: str, task: Task) -> Finding | None:
    if SplitName.TEST not in task.splits:
        return None
    in_test = _class_counts(task.test, task)
    absent = {label: count for label, count in in_test.items() if not count}
    if not absent:
        return None
    in_train = _class_counts(task.train, task)
    return Finding(
        FindingKind.NOT_IN_TEST,
        name,
        len(absent),
        f"classes without a test row: {len(absent)} of {len(in_test)}; in train:"
        f" {counts_in_words({label: in_train[label] for label in absent})}; scores say nothing of"
        " them",
        "they cannot be judged: split in folds, merge them, or label more rows",
    )


def _one_class(name: str, task: Task) -> Finding | None:
    if task.problem in (Problem.MULTILABEL, Problem.TAGGING):
        return None
    counts = _class_counts(task.train, task)
    label, largest = max(counts.items(), key=lambda item: item[1])
    if largest <= _LARGEST_CLASS * len(task.train):
        return None
    others = len(task.train) - largest
    return Finding(
        FindingKind.ONE_CLASS,
        name,
        others,
        f"{100 * largest / len(task.train):.1f} % of the training rows are"
        f" {counts_in_words({label: largest})}; {others:,} are anything else",
        "judge it by macro F1, not by accuracy; label more rows of the others first",
    )


def _few_rows(name: str, task: Task) -> Finding | None:
    rows = sum(map(len, task.splits.values()))
    if rows >= _FEWEST_ROWS:
        return None
    return Finding(
        FindingKind.FEW_ROWS,
        name,
        rows,
        f"labelled rows: {rows}; differences between sources will be within chance",
        "label more; with fewer than 500 rows split in folds, repeated",
    )


def _conflicts(name: str, task: Task) -> Finding | None:
    labels: dict[str, set[tuple[float, ...]]] = {}
    rows: Counter[str] = Counter()
    for examples in task.splits.values():
        for form, label in zip(
            row_forms(examples.texts, examples.pairs), examples.labels, strict=True
        ):
            found = tags_of(label) if task.problem is Problem.TAGGING else np.atleast_1d(label)
            labels.setdefault(form, set()).add(tuple(map(float, found)))
            rows[form] += 1
    torn = [form for form, several in labels.items() if len(several) > 1]
    if not torn:
        return None
    return Finding(
        FindingKind.CONFLICTING_LABELS,
        name,
        len(torn),
        f"texts with different labels in different rows: {len(torn):,}, in"
        f" {sum(rows[form] for form in torn):,} rows",
        "decide on one label per text, or leave these rows out: no model can learn both",
    )
