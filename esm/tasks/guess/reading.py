"""The one reading of data that nobody has described: what every column is, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from esm.tasks.annotators import choose_annotator
from esm.tasks.guess.attributes import guess_attribute, guess_column
from esm.tasks.guess.columns import LABEL, choose_texts
from esm.tasks.guess.facts import Facts
from esm.tasks.guess.long import LongLayout, find_long
from esm.tasks.guess.roles import (
    Guess,
    Role,
    about_group,
    about_text,
    find_group,
    find_split,
    text_candidates,
)
from esm.tasks.raw import RawData
from esm.tasks.spec import ColumnSpec, SplitMethod, TaskSpec
from esm.tasks.task import Problem

# Fewer texts with several values of an attribute are slips; they are named when it is read.
_SHARE_OF_SETS = 0.05
AUTO = "auto"
_OBVIOUS = frozenset({AUTO, Problem.CLASSIFICATION, Problem.TAGGING})


@dataclass(frozen=True)
class Reading:
    """What the columns of data are.

    Attributes:
        texts: The text column, or the two of a pair.
        columns: All columns, in the file's order.
        guesses: Of every column; then of the attributes of a long file.
        long: The layout of a long file; None where each text has one row.
        split: The column that names the split of every row, if there is one.
        group: The column whose values should stay on one side of a split, if there is one.
        annotator: The column that names who annotated, where texts have several annotators.
    """

    texts: tuple[Facts, ...]
    columns: tuple[Facts, ...]
    guesses: tuple[Guess, ...]
    long: LongLayout | None
    split: Facts | None
    group: Facts | None
    annotator: str | None = None

    @property
    def attributes(self) -> dict[str, ColumnSpec]:
        """How to read each attribute."""
        return {guess.name: guess.how for guess in self.guesses if guess.how is not None}

    @property
    def is_obvious(self) -> bool:
        """Whether there is a column of texts and others of classes or tags, and nothing else."""
        return all(
            guess.role is Role.TEXT
            or (guess.how is not None and guess.how.kind in _OBVIOUS and not guess.how.missing)
            for guess in self.guesses
        )

    def fill_in(self, spec: TaskSpec) -> TaskSpec:
        """Return a specification with what it does not say itself.

        Attributes that it names are read as proposed, too; a kind that it names comes first.
        """
        how = {
            name: found if spec.kind in (AUTO, Problem.CORPUS) else found.of_kind(spec.kind)
            for name, found in self.attributes.items()
        }
        named = spec.attributes or tuple(dict.fromkeys((*how, *spec.columns)))
        long = self.long if spec.attribute_column is None else None
        split = spec.split
        if self.split is not None and spec.test is None and split.method is SplitMethod.AUTO:
            split = split.model_copy(update={"column": split.column or self.split.name})
        # Who asks for a stratified split does not ask for a grouped one.
        free = split.group is None and split.method is not SplitMethod.STRATIFIED
        if self.group is not None and free and self.group.name not in spec.attributes:
            split = split.model_copy(update={"group": self.group.name})
        return spec.model_copy(
            update={
                "text": self.texts[0].name,
                "text_pair": self.texts[1].name if len(self.texts) > 1 else None,
                "attributes": named,
                "columns": how | _overridden(how, spec),
                "attribute_column": long.names.name if long else spec.attribute_column,
                "value_column": long.values.name if long else spec.value_column,
                "annotator": spec.annotator or self.annotator,
                "split": split,
            }
        )


def _overridden(how: Mapping[str, ColumnSpec], spec: TaskSpec) -> dict[str, ColumnSpec]:
    """Return how to read the columns of which the user says something.

    Who names a kind says all of a column; who does not, corrects the proposal in what is said.
    """
    found = {}
    for name, said in spec.columns.items():
        if said.kind == AUTO and name in how:
            kind = {"kind": Problem.MULTILABEL.value} if said.separator else {}
            changes = {key: getattr(said, key) for key in said.model_fields_set}
            found[name] = how[name].model_copy(
                update=kind | changes | {"kind": kind.get("kind", how[name].kind)}
            )
        else:
            found[name] = said
    return found


def read_columns(raw: RawData, spec: TaskSpec) -> Reading:
    """Return what the columns of data seem to be.

    Cost: half a second for 100,000 rows of posts.

    Args:
        raw: The data, words and tags as :func:`~esm.tasks.formats.sentences.as_sentences` leaves
            them.
        spec: What was said of them.

    Raises:
        TaskError: A named column is absent, or no column holds texts.
    """
    columns = [Facts(name, values) for name, values in raw.train.items()]
    first, second = choose_texts(raw, spec, columns)
    by_name = {facts.name: facts for facts in columns}
    texts = [by_name[name] for name in (first, second) if name is not None]
    others = [facts for facts in columns if facts not in texts and facts.name not in raw.known]
    who = choose_annotator(raw, spec, [facts.name for facts in texts])
    people = None if who is None else by_name[who]
    long = _named_long(texts, by_name, people, spec)
    if long is None and len(texts) == 1 and not spec.attributes:
        long = find_long(texts[0], others, people)
    layout = [] if long is None else [long.names, long.values]
    others = [facts for facts in others if facts not in layout]
    split = find_split(others)
    group = find_group([facts for facts in others if facts is not split])
    if group is None and len(texts) > 1:
        group = find_group(texts[:1])
    if long is not None:
        split, group = (facts if long.is_constant(facts) else None for facts in (split, group))
    roles = _named_roles(texts, long, split, group) | _tags(raw)
    guesses = [
        roles[facts.name] if facts.name in roles else _guess_other(facts, texts, long)
        for facts in columns
    ]
    if long is not None:
        guesses += [_guess_in_long(facts, long) for facts in long.attributes]
    return Reading(tuple(texts), tuple(columns), tuple(guesses), long, split, group, who)


def _named_long(
    texts: Sequence[Facts], by_name: Mapping[str, Facts], people: Facts | None, spec: TaskSpec
) -> LongLayout | None:
    """Return the layout of a long file whose columns were named."""
    names, values = (
        None if name is None else by_name.get(name)
        for name in (spec.attribute_column, spec.value_column)
    )
    if names is None or values is None:
        return None
    return LongLayout(texts[0], names, values, people)


def _named_roles(
    texts: Sequence[Facts], long: LongLayout | None, split: Facts | None, group: Facts | None
) -> dict[str, Guess]:
    guesses = []
    if group is not None:
        guesses.append(Guess(group.name, Role.GROUP, about_group(group)))
    if split is not None:
        cells = ", ".join(f"{name} {count:,}" for name, count in split.counts.most_common())
        guesses.append(Guess(split.name, Role.SPLIT, f"every cell names a split: {cells}"))
    if long is not None:
        guesses.append(Guess(long.names.name, Role.ATTRIBUTE_NAMES, long.why))
        guesses.append(Guess(long.values.name, Role.VALUES, f"beside {long.names.name!r}"))
    # Last, because the first text of a pair may be the group as well.
    for facts, role in zip(texts, (Role.TEXT, Role.TEXT_PAIR), strict=False):
        guesses.append(Guess(facts.name, role, about_text(facts)))
    return {guess.name: guess for guess in guesses}


def _guess_other(facts: Facts, texts: Sequence[Facts], long: LongLayout | None) -> Guess:
    if long is not None:
        why = "not among the attributes that the rows of this long file name"
        return Guess(facts.name, Role.NONE, why)
    guess = guess_column(facts)
    if guess.role is Role.NONE and facts in text_candidates([facts]):
        why = f"texts as well; {texts[0].name!r} looks more like what the labels are about"
        return dataclasses.replace(guess, why=why)
    if guess.role is Role.NONE and facts.name == LABEL and not facts.has_lists:
        # Named so, it is meant to be one; whether it can be, is seen when it is loaded.
        return Guess(LABEL, Role.ATTRIBUTE, f"called {LABEL!r}; but {guess.why}", ColumnSpec())
    return guess


def _tags(raw: RawData) -> dict[str, Guess]:
    """Return the columns of which the data say what they are: a tag for each word, a class."""
    found = {}
    for name, known in raw.known.items():
        if known.problem is Problem.TAGGING:
            why = "as many tags as words in most rows"
            found[name] = Guess(name, Role.ATTRIBUTE, why, ColumnSpec(kind=Problem.TAGGING))
        else:
            why = "the data describe it"
            found[name] = Guess(name, Role.ATTRIBUTE, why, ColumnSpec())
    return found


def _guess_in_long(facts: Facts, long: LongLayout) -> Guess:
    """Return of which kind an attribute of a long file is; its values may come row by row."""
    guess = guess_attribute(facts)
    several = long.num_several(facts.name)
    if guess.role is Role.ATTRIBUTE and several >= _SHARE_OF_SETS * long.num_texts:
        why = f"{several:,} of {long.num_texts:,} texts have several values of it"
        how = (guess.how or ColumnSpec()).of_kind(Problem.MULTILABEL)
        return Guess(facts.name, Role.ATTRIBUTE, why, how.model_copy(update={"order": ()}))
    return guess


def summary(raw: RawData, reading: Reading) -> str:
    """Return in one sentence how data that nobody described are read.

    Example:
        posts: nothing says what its columns are; text 'post'; attributes 'stance'
        (classification), 'harm' (ordinal); left out 'id' (an id: 60 distinct values in 60 rows)
    """
    texts = " and ".join(repr(facts.name) for facts in reading.texts)
    taken = [
        f"{guess.name!r} ({guess.how.kind}{_missing(guess.how)})"
        for guess in reading.guesses
        if guess.how is not None
    ]
    parts = [f"text {texts}", f"attributes {_some(taken)}" if taken else "no attribute"]
    for role, what in ((Role.SPLIT, "split"), (Role.GROUP, "origin")):
        parts += [f"{what} {guess.name!r}" for guess in reading.guesses if guess.role is role]
    if reading.long is not None:
        parts.append(
            f"a long file: names in {reading.long.names.name!r}, values in"
            f" {reading.long.values.name!r}"
        )
    left_out = [f"{g.name!r} ({g.why})" for g in reading.guesses if g.role is Role.NONE]
    if left_out:
        parts.append(f"left out {_some(left_out)}")
    return f"{raw.id}: nothing says what its columns are: {'; '.join(parts)}"


_MOST_NAMED = 8


def _missing(how: ColumnSpec) -> str:
    if not how.missing:
        return ""
    return f", no answer: {', '.join(repr(name) for name in how.missing[:_MOST_NAMED])}"


def _some(parts: Sequence[str]) -> str:
    more = len(parts) - _MOST_NAMED
    return ", ".join(parts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
