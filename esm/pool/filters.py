"""Which sources of a pool to list: by language, domain, licence, size, metric or fit.

A filter is ``name=value``; values with ``|`` between them are alternatives, numbers are minima.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from esm.common.errors import SettingError
from esm.common.records import Record
from esm.maps.forms import MapForm
from esm.pool.records import SourceRecord
from esm.tasks.licences import fits

_EXPECTED = (
    "language=CODE, domain=WORD, licence=TERM, rows=N, metric=NAME, quality=X, r2=X, map=FORM or"
    " kind=NAME"
)
_WORDS = {
    "language": "languages",
    "domain": "domains",
    "licence": "licences",
    "metric": "metrics",
    "map": "forms",
    "kind": "kinds",
}


class SourceFilters(Record):
    """Which sources to keep; what is not known of a source does not meet a condition on it.

    Attributes:
        rows: Training rows used, at least; 0 for any.
        quality: Held-out performance of the tuned model in its own metric, at least.
        r2: R² of a map on anchors of other tasks, at least.
        languages: Languages, of which the source must have one.
        domains: Words, of which the source's domain must hold one.
        licences: Terms of which the licence must meet one, see :func:`esm.tasks.licences.fits`.
        metrics: Primary metrics.
        forms: Kinds of maps, of which it must have one.
        kinds: Kinds of labels.
    """

    rows: int = Field(default=0, ge=0)
    quality: float | None = None
    r2: float | None = None
    languages: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> SourceFilters:
        """Read filters as a user writes them.

        Raises:
            SettingError: There is no such filter, or its value is none.

        Example:
            >>> SourceFilters.parse(["rows=500", "language=sk|cs"]).languages
            ('sk', 'cs')
        """
        values: dict[str, object] = {}
        for word in words:
            name, _, value = (part.strip() for part in word.partition("="))
            terms = tuple(term.strip().casefold() for term in value.split("|") if term.strip())
            if name == "map" and not set(terms) <= set(MapForm):
                raise SettingError(f"filter {word[:60]!r}", expected=f"map={'|'.join(MapForm)}")
            if name in _WORDS and terms:
                values[_WORDS[name]] = terms
            elif name == "rows" and value.isdigit():
                values["rows"] = int(value)
            elif name in ("quality", "r2") and _is_number(value):
                values[name] = float(value)
            else:
                raise SettingError(f"filter {word[:60]!r}", expected=_EXPECTED)
        return cls.model_validate(values)

    def keeps(self, record: SourceRecord) -> bool:
        """Return whether a source meets every condition."""
        metadata = record.metadata
        fit = [each.r2_anchors for each in record.maps.values() if each.r2_anchors is not None]
        quality = record.quality.get(record.metric) if record.metric else None
        domain = metadata.domain.casefold()
        return (
            (record.num_used or 0) >= self.rows
            and _at_least(quality, self.quality)
            and _at_least(max(fit, default=None), self.r2)
            and _one_of(metadata.language, self.languages)
            and (not self.domains or any(word in domain for word in self.domains))
            and fits(metadata.license, self.licences)
            and _one_of(record.metric, self.metrics)
            and (not self.forms or bool(set(self.forms) & set(record.maps)))
            and _one_of(record.problem, self.kinds)
        )


def _at_least(value: float | None, minimum: float | None) -> bool:
    return minimum is None or (value is not None and value >= minimum)


def _one_of(value: str | None, wanted: tuple[str, ...]) -> bool:
    return not wanted or (value or "").casefold() in wanted


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
