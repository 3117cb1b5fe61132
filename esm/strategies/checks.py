"""What strategies refuse: kinds of labels that they cannot learn, sources that label no texts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from esm.common.errors import ValidationError
from esm.tasks.task import LABELLED, Outputs, Problem

if TYPE_CHECKING:
    from esm.strategies.protocol import Lesson, SourceTask


_LOGGER = logging.getLogger(__name__)


EVERY_PROBLEM = frozenset(LABELLED)


TEXT_PROBLEMS = EVERY_PROBLEM - {Problem.TAGGING}
"""The kinds of output of which a text has one, from its embedding."""


_LABELS = {
    Problem.CLASSIFICATION: "classes",
    Problem.ORDINAL: "ranks",
    Problem.REGRESSION: "amounts",
    Problem.MULTILABEL: "sets",
    Problem.TAGGING: "tags of words",
    Problem.CORPUS: "none, since it is a corpus",
}


def check_kind(name: str, task: Outputs, problems: Collection[Problem]) -> None:
    """Refuse a task of which the kind is not among those that a strategy can learn.

    Raises:
        ValidationError: It is not.
    """
    if task.problem not in problems:
        raise ValidationError(
            f"the strategy {name} cannot learn {task.id}, whose labels are {_LABELS[task.problem]}",
            expected=" or ".join(_LABELS[kind] for kind in Problem if kind in problems),
            hint="another --strategy, for instance head, houlsby or full",
        )


def no_plain_model(name: str, reason: str) -> ValidationError:
    """Return the refusal to export what a plain Transformers model cannot hold."""
    return ValidationError(
        f"a model of the strategy {name} cannot be exported: {reason}",
        expected="an encoder and a head",
        hint="esm predict labels texts with it",
    )


def check_texts(name: str, tasks: Iterable[Outputs]) -> None:
    """Refuse tasks that label something else than whole texts.

    Raises:
        ValidationError: One does.
    """
    for task in tasks:
        check_kind(name, task, TEXT_PROBLEMS)


def needs_sources(name: str, sources: Sequence[SourceTask]) -> None:
    """Refuse to go without sources.

    Raises:
        ValidationError: There are none.
    """
    if not sources:
        raise ValidationError(
            f"{name} makes use of source tasks and has none",
            expected="at least one",
            hint="--source auto or --source NAME[,NAME], with --pool DIR or --ranking FILE",
        )


def source_lessons(name: str, sources: Sequence[SourceTask]) -> Iterator[tuple[str, Lesson]]:
    """Return what is to be learnt of sources, under ``source ID``.

    Sources that tag words and corpora are left out and named.

    Raises:
        ValidationError: There is no source, or none whose texts have labels.
    """
    needs_sources(name, sources)
    usable = 0
    for source in sources:
        lesson = source.lesson()
        if lesson.task.problem in TEXT_PROBLEMS:
            usable += 1
            yield f"source {source.id}", lesson
        else:
            _LOGGER.warning(
                f"source {source.id} is not used by {name}: it has no labels of whole texts"
            )
    if not usable:
        raise ValidationError(
            f"none of the {len(sources)} sources of {name} labels texts",
            expected="at least one that does",
            hint="--source NAME[,NAME]",
        )
