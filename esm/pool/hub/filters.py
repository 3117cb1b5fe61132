"""Which published maps are worth fetching: the pool on the Hub holds copies and tiny tasks.

A filter is a word or ``name=value``; values with ``|`` between them are alternatives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from esm.common.errors import SettingError
from esm.common.records import Record
from esm.maps.published_config import PublishedConfig
from esm.pool.hub.base_models import source_task
from esm.pool.hub.hub import DatasetFacts, FileFacts, Listing
from esm.tasks.licences import fits

_EXPECTED = "rows=N, task, meaningful, unique, language=CODE or licence=TERM"

# Words in the name of a column that is no class to predict.
_IDENTIFIERS = frozenset({"id", "ids", "idx", "index", "uid", "uuid", "guid", "key", "hash", "md5"})
_PLACES = frozenset({"url", "urls", "uri", "link", "href", "path", "file", "filename", "page"})
_TIMES = frozenset({"date", "time", "timestamp", "datetime", "created", "updated", "modified"})
_TEXTS = frozenset(
    {
        "text",
        "title",
        "name",
        "summary",
        "content",
        "body",
        "description",
        "translation",
        "document",
    }
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")


@dataclass(frozen=True)
class Candidate:
    """A published map before its weights are fetched.

    Attributes:
        listing: As the Hub lists it.
        config: What it states of itself.
        generation: Generation of its ``config.json``.
        dataset: What the Hub states of its dataset.
        weights: What the Hub states of its weights file.
        document: Its ``config.json``, whole.
    """

    listing: Listing
    config: PublishedConfig
    generation: int
    dataset: DatasetFacts
    weights: FileFacts
    document: Mapping[str, Any]

    @property
    def repo(self) -> str:
        """Hub id of the map."""
        return self.listing.repo

    @property
    def dataset_name(self) -> str:
        """The dataset that the map, or else its tags, name; empty where none is named."""
        return self.config.task_id or next(iter(self.listing.datasets), "")

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the texts, as the map or else its dataset states them."""
        return (self.config.language,) if self.config.language else self.dataset.languages


class Filters(Record):
    """Which maps to keep.

    Attributes:
        rows: Training rows at least; a map that does not state them is left out. 0: any.
        task: Whether dataset, text columns and label column must be stated.
        meaningful: Whether the label must be something to predict, judged by its name.
        unique: Whether only one of several copies is kept: same weights, or same dataset (whoever
            uploaded it), configuration and columns.
        languages: Languages of which the dataset must have one; empty for any.
        licences: Terms of which the dataset's licence must meet one, see
            :func:`esm.tasks.licences.fits`; empty for any.
    """

    rows: int = Field(default=0, ge=0)
    task: bool = False
    meaningful: bool = False
    unique: bool = False
    languages: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Filters:
        """Read filters as a user writes them.

        Raises:
            SettingError: There is no such filter.

        Example:
            >>> Filters.parse(["rows=500", "unique", "language=sk|cs"]).languages
            ('sk', 'cs')
        """
        values: dict[str, object] = {}
        for word in words:
            name, equals, value = (part.strip() for part in word.partition("="))
            terms = tuple(term.strip().lower() for term in value.split("|") if term.strip())
            if name == "rows" and value.isdigit():
                values["rows"] = int(value)
            elif name in ("language", "licence") and terms:
                values[f"{name}s"] = terms
            elif name in ("task", "meaningful", "unique") and not equals:
                values[name] = True
            else:
                raise SettingError(f"filter {word[:60]!r}", expected=_EXPECTED)
        return cls.model_validate(values)

    def apply(
        self, candidates: Sequence[Candidate], settled: Sequence[Candidate] = ()
    ) -> tuple[list[Candidate], dict[str, int]]:
        """Return the candidates to fetch, and how many each filter left out.

        Args:
            candidates: What may be fetched.
            settled: What the pool holds already: never left out, and no copy of it is fetched.
        """
        kept = []
        left_out: Counter[str] = Counter()
        for candidate in candidates:
            name = self._reason(candidate)
            if name is None:
                kept.append(candidate)
            else:
                left_out[name] += 1
        if self.unique:
            single = _without_copies(kept, settled)
            left_out["unique"] = len(kept) - len(single)
            kept = single
        return kept, {name: count for name, count in left_out.items() if count}

    def _reason(self, candidate: Candidate) -> str | None:
        """Return the first filter that leaves a candidate out."""
        if (candidate.config.num_examples or 0) < self.rows:
            return "rows"
        if self.task and source_task(candidate.config) is None:
            return "task"
        if self.meaningful and not is_meaningful(candidate.config):
            return "meaningful"
        if self.languages and not set(self.languages).intersection(
            language.lower() for language in candidate.languages
        ):
            return "language"
        if not fits(candidate.dataset.licence, self.licences):
            return "licence"
        return None


def is_meaningful(config: PublishedConfig) -> bool:
    """Return whether the columns' names speak for a label that can be predicted from a text.

    A label called ``id``, ``created_at``, ``url`` or ``title`` is none, nor is one that is its own
    text; a text column called ``id`` or ``date`` holds no texts. Where no columns are stated,
    nothing speaks against it.
    """
    label = set(_words(config.label_column or ""))
    texts = [set(_words(name)) for name in config.text_columns]
    if config.label_column is not None and config.label_column in config.text_columns:
        return False
    if label & (_IDENTIFIERS | _PLACES | _TIMES) or (label and label <= _TEXTS):
        return False
    return not any(words and words <= _IDENTIFIERS | _PLACES | _TIMES for words in texts)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _without_copies(
    candidates: Sequence[Candidate], settled: Sequence[Candidate]
) -> list[Candidate]:
    """Keep the first of each set of copies: the one trained on most rows, then by name."""
    weights = {candidate.weights.hash for candidate in settled}
    tasks = {_task_key(candidate) for candidate in settled}
    kept = []
    for candidate in sorted(candidates, key=lambda each: (-_rows(each), each.repo)):
        if candidate.weights.hash not in weights and _task_key(candidate) not in tasks:
            kept.append(candidate)
            weights.add(candidate.weights.hash)
            tasks.add(_task_key(candidate))
    return sorted(kept, key=lambda each: each.repo)


def _rows(candidate: Candidate) -> int:
    return candidate.config.num_examples or 0


def _task_key(candidate: Candidate) -> tuple[str, ...]:
    """Return what copies have in common; a map that names no dataset is nobody's copy."""
    config = candidate.config
    if not candidate.dataset_name or config.label_column is None:
        return (candidate.repo,)
    name = candidate.dataset_name.rpartition("/")[2].lower()
    return (name, config.task_subset or "", *config.text_columns, config.label_column)
