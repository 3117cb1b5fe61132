"""Whether a column is an attribute to predict, of which kind, and how to read its labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping

from esm.tasks.formats.cells import parse_column
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.roles import (
    FEWEST_WORDS,
    MOST_CLASSES,
    Guess,
    Role,
    is_called,
)
from esm.tasks.guess.scales import is_rating, ordered_scale
from esm.tasks.guess.words import (
    AMOUNTS,
    ANNOTATORS,
    FILLERS,
    IDS,
    MACHINE_SCORES,
    ROW_NUMBERS,
    SENDERS,
    TOOL_COLUMNS,
    TOOL_FIGURES,
    plain_words,
    says,
    says_only,
)
from esm.tasks.labels.missing import missing_codes, unsure_labels
from esm.tasks.labels.names import label_name, spelling_key
from esm.tasks.labels.numbers import Amounts, is_ruined_id, read_amounts
from esm.tasks.labels.sets import as_sets, as_singles, listed, num_indicators
from esm.tasks.labels.spellings import find_spellings, look_alikes, truth
from esm.tasks.raw import is_missing, is_number
from esm.tasks.spec import ColumnSpec
from esm.tasks.task import Problem

_MOST_NUMBERED_CLASSES = 20
_ALL_DIFFER = 0.95
_NEARLY_ALL = 0.9
_ROWS_THAT_TELL = 20
_DIGITS_OF_MACHINES = 4
_LARGEST_RATING = 10
_MOST_SPELLINGS = 10
_MOST_LISTED = 6
_LONGEST_LISTED = 30
_MARKS = frozenset({"x", "✓", "✔", "☑", "☒", "✗", "✘", "+", "*", "on", "checked", "selected"})


def guess_column(facts: Facts) -> Guess:
    """Return whether a column that is neither text, group nor split is an attribute, and why."""
    reason = _why_not(facts)
    return Guess(facts.name, Role.NONE, reason) if reason else guess_attribute(facts)


def _why_not(facts: Facts) -> str | None:
    """Return why what a column holds is no label; None where it may be one."""
    rows, distinct = len(facts.filled), len(facts.counts)
    some = f"{distinct:,} distinct values in {rows:,} rows"
    if distinct == 0:
        return "empty"
    name = " ".join(plain_words(facts.name))
    if name in TOOL_COLUMNS or (name in TOOL_FIGURES and _is_figure(facts)):
        return "named like what annotation tools write beside the labels"
    if distinct <= _MOST_SPELLINGS and (
        len(set(map(spelling_key, facts.counts))) == 1 or _are_marks(facts)
    ):
        return _about_one_value(facts)
    if facts.is_dates:
        return "dates"
    if is_called(facts.name, SENDERS):
        return f"named like an origin; {some} do not make groups to split by"
    if says(facts.name, ANNOTATORS):
        return "who annotated, not what"
    if facts.is_addresses:
        return "addresses on the web; a column with their domains could be a group"
    if all(map(is_ruined_id, facts.looked_at)):
        return (
            "ids that a spreadsheet has turned into numbers such as 1.2E+18: their last digits are"
            " lost; export them as text"
        )
    if _is_row_number(facts):
        return f"an id: {some}"
    if facts.is_numbers and says(facts.name, AMOUNTS) and not is_rating(facts.name):
        return "named like an amount that comes with the texts"
    if _is_machine_score(facts):
        return "named like a model's score, with as many digits as a program writes"
    return None


def _is_figure(facts: Facts) -> bool:
    if is_rating(
        facts.name
    ):  # an agreement of 1 to 5 is what people think, one of 0 to 100 a tool's
        return facts.is_numbers and max(facts.filled) > _LARGEST_RATING
    return facts.is_numbers or all(truth(name) is not None for name in facts.counts)


def _are_marks(facts: Facts) -> bool:
    return all(name.casefold() in _MARKS for name in facts.counts)


def _about_one_value(facts: Facts) -> str:
    """Return what to say of a column with one value: beside empty cells it may be a check box."""
    rows = len(facts.filled)
    label = next(iter(facts.counts))
    said = truth(label) is True or _are_marks(facts)
    if facts.fill < 1 and (said or spelling_key(label) == spelling_key(facts.name)):
        return (
            f"a check box: {rows:,} cells say {label!r}, the other {len(facts.values) - rows:,} are"
            " empty, which may mean no; where it does, name it among the attributes and write"
            ' empty = "no" under its columns'
        )
    return f"the same value in all {rows:,} rows that have one"


def _is_row_number(facts: Facts) -> bool:
    words = plain_words(facts.name)
    if says_only(facts.name, {*ROW_NUMBERS, *FILLERS}):
        # A key that repeats, such as text_id with three annotators, is none the less no amount.
        if facts.variety > 0.5 or (IDS & set(words) and _are_keys(facts)):
            return True
    elif words[-1:] and words[-1] in IDS and len(facts.counts) > MOST_CLASSES:
        return True
    if len(facts.filled) < _ROWS_THAT_TELL or facts.variety < _ALL_DIFFER:
        return False
    whole = facts.is_whole and (facts.is_counted_on or min(map(abs, facts.filled)) >= 10_000)
    return whole or (facts.is_strings and facts.mean_words <= 2 and not _numbers_in(facts).values)


def _are_keys(facts: Facts) -> bool:
    """Return whether values are whole numbers or single words, as keys are."""
    return facts.is_whole or (facts.is_strings and facts.mean_words <= 1)


def _is_machine_score(facts: Facts) -> bool:
    if not (facts.is_numbers and says_only(facts.name, {*MACHINE_SCORES, *FILLERS})):
        return False
    long = sum(
        len(repr(float(value)).split(".")[-1]) >= _DIGITS_OF_MACHINES for value in facts.looked_at
    )
    return (
        len(facts.filled) >= _ROWS_THAT_TELL
        and long >= 0.5 * len(facts.looked_at)
        and all(0 <= value <= 1 for value in facts.looked_at)
    )


# ---------------------------------------------------------------------------------- attributes


def guess_attribute(facts: Facts) -> Guess:
    """Return of which kind an attribute is, or why its values are no labels."""
    if facts.has_lists:
        return _lists(facts)
    width = num_indicators(facts.values)
    if width:
        return _indicators(facts, width)
    left_out = missing_codes(facts.name, facts.counts)
    rest = _without(facts, left_out)
    guess = _guess_labels(rest)
    if guess.how is None:
        return guess
    scale_only = tuple(sorted(set(guess.how.missing)))
    named = (*left_out, *(name for name in scale_only if name not in left_out))
    if not named:
        return guess
    how = guess.how.model_copy(update={"missing": named})
    counts = ", ".join(f"{_short(name)} {facts.counts[name]:,}" for name in named)
    why = f"{guess.why}; left out as no answer: {counts}"
    return dataclasses.replace(guess, how=how, why=why)


def _without(facts: Facts, left_out: tuple[str, ...]) -> Facts:
    """Return a column without the labels that stand for no answer; what is left may be numbers."""
    if not left_out:
        return facts
    names = set(left_out)
    kept = [
        None if is_missing(value) or label_name(value) in names else value for value in facts.values
    ]
    return Facts(facts.name, parse_column(kept))


def _guess_labels(facts: Facts) -> Guess:
    """Return of which kind single labels, or labels between separators, are."""
    distinct, rows = len(facts.counts), len(facts.filled)
    amounts = Amounts() if not facts.is_strings else _numbers_in(facts)
    if amounts.why_not:
        why = f"{amounts.why_not}: write all of them in one way, such as 1250.5"
        return Guess(facts.name, Role.NONE, why)
    if amounts.values:
        return _numbers_for_people(facts, amounts)
    if facts.separated:
        return _labels_of_sets(facts)
    if facts.is_numbers and not (_are_codes(facts) and distinct <= rows / 2):
        return _amounts(facts)
    if 2 <= distinct <= MOST_CLASSES and distinct <= rows / 2:
        return _classes(facts)
    if rows > facts.num_numbers >= _NEARLY_ALL * rows:
        why = (
            f"{facts.num_numbers:,} of {rows:,} cells are numbers, {rows - facts.num_numbers:,} are"
            " not: empty those (not annotated), and it can be an attribute"
        )
    elif facts.mean_words >= FEWEST_WORDS:
        why = f"free text: on average {facts.mean_words:.0f} words"
    else:
        why = (
            f"{distinct:,} distinct values in {rows:,} rows: classes are at most {MOST_CLASSES},"
            " each in several rows"
        )
    return Guess(facts.name, Role.NONE, why)


def _numbers_in(facts: Facts) -> Amounts:
    return (
        read_amounts(dict.fromkeys(map(str.strip, facts.filled))) if facts.is_strings else Amounts()
    )


def _numbers_for_people(facts: Facts, amounts: Amounts) -> Guess:
    """Return the guess of strings that are numbers: JSON strings, 85 %, 1 250, 3,5."""
    if all(map(is_number, facts.filled)):
        numbers = [None if is_missing(value) else _number(float(value)) for value in facts.values]
        return _guess_labels(Facts(facts.name, numbers))
    values = [
        None if is_missing(value) else amounts.values[value.strip()] for value in facts.values
    ]
    guess = _amounts(Facts(facts.name, values))
    unit = f", in {amounts.unit}" if amounts.unit else ""
    return dataclasses.replace(guess, why=f"numbers written for people{unit}: {guess.why}")


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value


def _amounts(facts: Facts) -> Guess:
    low, high = min(facts.filled), max(facts.filled)
    distinct, rows = len(facts.counts), len(facts.filled)
    why = f"{distinct:,} different numbers from {low:g} to {high:g} in {rows:,} rows"
    return _attribute(facts, Problem.REGRESSION, why)


def _are_codes(facts: Facts) -> bool:
    """Return whether whole numbers are so few, or so regular, that they number classes."""
    if not facts.is_whole:
        return False
    low, high, distinct = min(facts.filled), max(facts.filled), len(facts.counts)
    counted_on = low in (0, 1) and high - low + 1 == distinct and not is_rating(facts.name)
    return distinct <= (MOST_CLASSES if counted_on else _MOST_NUMBERED_CLASSES)


def _classes(facts: Facts) -> Guess:
    spelled = _by_spelling(facts.counts)
    scale = ordered_scale(facts.name, spelled)
    unsure: set[str] = set()
    if scale is None and (unsure := unsure_labels(facts.counts)):
        scale = ordered_scale(facts.name, [name for name in spelled if name not in unsure])
    if scale is None:
        return _nominal(facts)
    order, reason = scale
    missing = tuple(sorted(unsure, key=lambda name: (-facts.counts[name], name)))
    how = ColumnSpec(kind=Problem.ORDINAL, order=order, missing=missing)
    levels = {name: count for name, count in facts.counts.items() if name not in unsure}
    return Guess(facts.name, Role.ATTRIBUTE, f"{reason}: {_listed(levels)}", how)


def _nominal(facts: Facts) -> Guess:
    spellings = find_spellings(facts.counts)
    classes: Counter[str] = Counter()
    other = {}
    for name, count in facts.counts.items():
        classes[spellings.find(name)] += count
        if spellings.find(name) != name:
            other[f"{_short(name)} as {_short(spellings.find(name))}"] = count
    why = f"{len(classes)} values in {len(facts.filled):,} rows: {_listed(classes)}"
    if other:
        why += f"; read {_listed(other)}"
    if alike := [name for names in look_alikes(classes) for name in names]:
        why += f"; look alike: {_listed({name: classes[name] for name in alike})}"
    return _attribute(facts, Problem.CLASSIFICATION, why)


def _by_spelling(counts: Mapping[str, int]) -> list[str]:
    """Return labels without those that are another spelling of a commoner one."""
    commonest: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        commonest.setdefault(spelling_key(name), name)
    return list(commonest.values())


# ------------------------------------------------------------------------------- sets of labels


def _lists(facts: Facts) -> Guess:
    """Return the guess of a column with lists, beside which there may be single labels."""
    if width := num_indicators(facts.values):
        return _indicators(facts, width)
    lists = [None if is_missing(value) else listed(value) for value in facts.values]
    # Beside lists, a text is one label.
    lists = as_sets(
        [old if new is None else new for old, new in zip(facts.values, lists, strict=True)]
    )
    items = [item for found in lists if found for item in found]
    if not all(isinstance(item, str | bool | int | float) for item in items):
        kind = next(type(i).__name__ for i in items if not isinstance(i, str | bool | int | float))
        shown = {"dict": "records", "list": "lists"}.get(kind, f"{kind} values")
        why = f"its cells hold {shown}, which are no labels: export one label, or a list of them"
        return Guess(facts.name, Role.NONE, why)
    filled = [found for found in lists if found is not None]
    different = Counter(label_name(item) for item in items)
    if len(different) > 1 and max(map(len, filled)) == 1:
        empty = sum(not found for found in filled)
        guess = guess_attribute(Facts(facts.name, as_singles(facts.values)))
        why = "every list holds one label"
        if empty:
            why += f", and {empty:,} none, which counts as not annotated"
        return dataclasses.replace(guess, why=f"{why}: {guess.why}")
    if not different:
        return Guess(facts.name, Role.NONE, "lists without any label")
    why = "its cells are lists"
    if (single := sum(map(_is_single, facts.filled))) > 0:
        why = f"{len(filled) - single:,} of {len(filled):,} cells are lists, the others one label"
    return _of_sets(facts, why, "[]", None)


def _is_single(cell: object) -> bool:
    return listed(cell) is None


def _indicators(facts: Facts, width: int) -> Guess:
    sets = as_sets(facts.values, width=width)
    held = [found for found in sets if found is not None]
    why = f"each cell says 0 or 1 for {width} labels"
    if all(len(found) == 1 for found in held):
        return _attribute(facts, Problem.CLASSIFICATION, f"{why}, of which one holds")
    none = sum(not found for found in held)
    how = ColumnSpec(kind=Problem.MULTILABEL, indicators=width)
    why += f" (label_0 to label_{width - 1})"
    why += f"; none holds in {none:,} of {len(held):,} rows" if none else ""
    return Guess(facts.name, Role.ATTRIBUTE, why, how)


def _labels_of_sets(facts: Facts) -> Guess:
    found = facts.separated
    assert found is not None
    mark = found.separator
    why = f"{found.several:,} of {len(facts.filled):,} cells hold several labels between {mark!r}"
    if found.options:
        why += f"; with {mark!r} inside, always together: {', '.join(map(_short, found.options))}"
    return _of_sets(facts, why, f"{mark.strip() or '[]'} or []", mark, found.options)


def _of_sets(
    facts: Facts, why: str, none: str, separator: str | None, options: Iterable[str] = ()
) -> Guess:
    if empty := len(facts.values) - len(facts.filled):
        why += f"; {empty:,} empty ones count as not annotated: where no label holds, write {none}"
    how = ColumnSpec(kind=Problem.MULTILABEL, separator=separator, options=tuple(options))
    return Guess(facts.name, Role.ATTRIBUTE, why, how)


def _attribute(facts: Facts, problem: Problem, why: str) -> Guess:
    return Guess(facts.name, Role.ATTRIBUTE, why, ColumnSpec(kind=problem))


def _short(label: str) -> str:
    return " ".join(label.split())[:_LONGEST_LISTED]


def _listed(counts: Mapping[str, int]) -> str:
    shown = [
        f"{_short(label)} {count:,}" for label, count in Counter(counts).most_common(_MOST_LISTED)
    ]
    return ", ".join([*shown, "…"] if len(counts) > _MOST_LISTED else shown)
