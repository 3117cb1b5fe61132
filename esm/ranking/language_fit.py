"""Which sources may be used, and whether they and the base model fit the target's language."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esm.encoder.settings import OFFLINE
from esm.tasks.faults.describe import target_language
from esm.tasks.languages import MULTILINGUAL, UNDETERMINED, Language, language_codes
from esm.tasks.licences import fits, licence_label

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder
    from esm.pool.pool import PoolEntry, Skipped
    from esm.tasks.task import Target

_LOGGER = logging.getLogger(__name__)

# English words are about 1.3 tokens of an English model; beyond these, a tokenizer spells.
MOST_TOKENS_PER_WORD = 3.0
MOST_UNKNOWN = 0.02

_TEXTS = 400
_SECONDS_FOR_HUB = 3.0


@dataclass(frozen=True)
class TokenFit:
    """How a tokenizer reads texts.

    Attributes:
        per_word: Tokens per word, words being what blanks separate ("fertility").
        unknown: Share of the tokens that stand for what the vocabulary lacks.
    """

    per_word: float
    unknown: float

    @property
    def fits(self) -> bool:
        """Whether the tokenizer knows the words of these texts."""
        return self.per_word <= MOST_TOKENS_PER_WORD and self.unknown <= MOST_UNKNOWN


def token_fit(tokenizer: Any, texts: Sequence[str]) -> TokenFit:
    """Return how a tokenizer reads texts; web addresses and @handles are left out.

    Args:
        tokenizer: A tokenizer of Transformers.
        texts: The texts; the first 400 are read.
    """
    words = [
        word
        for text in texts[:_TEXTS]
        for word in text.split()
        if not word.startswith(("http", "www.", "@"))
    ]
    if not words:
        return TokenFit(per_word=0.0, unknown=0.0)
    ids = tokenizer(" ".join(words), add_special_tokens=False, verbose=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    count = sum(token == unknown for token in ids) if unknown is not None else 0
    return TokenFit(per_word=len(ids) / len(words), unknown=count / max(len(ids), 1))


def encoder_languages(model: str, revision: str | None = None) -> tuple[str, ...]:
    """Return the languages that a base model's card declares; empty where it declares none.

    Args:
        model: ``"offline"``, a folder or a Hub id.
        revision: Hub revision.
    """
    if model == OFFLINE:
        return ("en",)
    declared = _declared_by_card(model, revision)
    listed = [declared] if isinstance(declared, str) else list(declared or ())
    return language_codes(", ".join(map(str, listed)))


def _declared_by_card(model: str, revision: str | None) -> Any:
    """Return the entry ``language`` of a model card; None where there is none to be read."""
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError

    folder = Path(model).expanduser()
    if not folder.is_dir():
        return _declared_on_hub(model, revision)
    card = folder / "README.md"
    try:
        metadata = metadata_load(card) if card.is_file() else None
    except (YAMLError, ValueError):
        # A card that cannot be read declares nothing; the tokenizer is looked at anyway.
        return None
    return (metadata or {}).get("language")


def _declared_on_hub(model: str, revision: str | None) -> Any:
    from huggingface_hub import HfApi

    try:
        card = HfApi().model_info(model, revision=revision, timeout=_SECONDS_FOR_HUB).card_data
    except Exception as error:  # the class hangs on the HTTP client that this version uses
        _LOGGER.warning(
            f"the card of {model} cannot be read ({type(error).__name__}): languages not known"
        )
        return None
    return None if card is None else card.get("language")


def allowed_sources(
    entries: Sequence[PoolEntry], licences: Sequence[str]
) -> tuple[list[PoolEntry], list[Skipped]]:
    """Return the sources whose licences meet the terms, and the others with the reason.

    Args:
        entries: The pool's sources.
        licences: Terms, see :func:`esm.tasks.licences.fits`; empty takes all.
    """
    from esm.pool.pool import Skipped

    allowed: list[PoolEntry] = []
    refused: list[Skipped] = []
    for entry in entries:
        licence = entry.record.metadata.license
        if fits(licence, licences):
            allowed.append(entry)
            continue
        reason = (
            f"its licence, {licence_label(licence)}, does not meet --licence {','.join(licences)}"
        )
        refused.append(Skipped(entry.id, reason))
    return allowed, refused


def language_warnings(
    target: Target, entries: Sequence[PoolEntry], encoder: Encoder, *, part: bool = False
) -> tuple[str, ...]:
    """Return what does not fit the target's language, a sentence each; empty where all fits.

    Args:
        target: The target; its training texts are looked at.
        entries: The pool's sources; those that declare no language are not judged.
        encoder: The base model.
        part: Whether the sources are not all that the pool has.
    """
    language = target_language(target)
    task = next(iter(target.attributes.values()))
    found = [
        _about_declaration(language),
        _about_pool(language, [entry.record.metadata.language for entry in entries], part),
        _about_encoder(language, encoder.config.model, encoder.config.revision),
        _about_tokens(token_fit(encoder.tokenizer, task.train.texts), encoder.config.model),
    ]
    return tuple(warning for warning in found if warning)


def language_in_words(language: Language) -> str:
    """Return a language and how it is known, for a sentence.

    Example:
        >>> said(Language("sk", False, "sk", 0.97, 0.01, 400, "cs"))
        'sk (detected: 97 ± 1 % of 400 texts)'
    """
    if language.declared:
        return f"{language.code} (declared)"
    if language.code == UNDETERMINED:
        return f"unknown (the detector is not sure; {language.texts} texts)"
    share, error = 100 * language.share, 100 * language.error
    return f"{language.code} (detected: {share:.0f} ± {error:.0f} % of {language.texts} texts)"


def _about_declaration(language: Language) -> str | None:
    if not (language.declared and language.contradicted):
        return None
    return (
        f"the target is declared to be in {language.code}, but its texts look like"
        f" {language.detected} ({100 * language.share:.0f} % of {language.texts}): check the"
        " declaration"
    )


def _about_pool(language: Language, declared: Sequence[str], part: bool) -> str | None:
    judged = [codes for codes in map(language_codes, declared) if codes]
    if not judged or not _comparable(language):
        return None
    if any({language.code, MULTILINGUAL} & set(codes) for codes in judged):
        return None
    theirs = sorted({code for codes in judged for code in codes})
    which = "sources of the shortlist" if part else "sources"
    advice = "" if part else f", and add sources in {language.code} where you can"
    return (
        f"none of the {len(judged)} {which} that declare a language is in the target's,"
        f" {language_in_words(language)}; they are in {', '.join(theirs)}: expect less of their"
        f" maps{advice}"
    )


def _about_encoder(language: Language, model: str, revision: str | None) -> str | None:
    if not _comparable(language):
        return None
    codes = encoder_languages(model, revision)
    if not codes or {language.code, MULTILINGUAL} & set(codes):
        return None
    return (
        f"base model {Path(model).name} is made for {', '.join(codes[:8])}; the target is in"
        f" {language_in_words(language)}: train a pool with a multilingual --base"
    )


def _about_tokens(fit: TokenFit, model: str) -> str | None:
    if fit.fits:
        return None
    return (
        f"base model {Path(model).name} cuts the target's words into {fit.per_word:.1f} tokens on"
        f" average, {100 * fit.unknown:.1f} % of them unknown to it (at most"
        f" {MOST_TOKENS_PER_WORD:.0f} and {100 * MOST_UNKNOWN:.0f} % are usual for a language that"
        " it was made for): train a pool with a multilingual --base"
    )


def _comparable(language: Language) -> bool:
    return language.code not in (UNDETERMINED, MULTILINGUAL)
