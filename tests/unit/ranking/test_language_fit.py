from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from esm.ranking.language_fit import (
    TokenFit,
    allowed_sources,
    encoder_languages,
    language_in_words,
    language_warnings,
    token_fit,
)
from esm.tasks.languages import Language
from esm.tasks.task import Examples, Metric, Problem, SplitName, Target, Task, TaskMetadata
from tests.unit.tasks.test_languages import TEXTS


def entry(name, language="", licence=""):
    metadata = TaskMetadata(language=language, license=licence)
    return SimpleNamespace(id=name, record=SimpleNamespace(metadata=metadata))


def target(code, declared=""):
    texts = TEXTS[code] * 4
    labels = np.arange(len(texts)) % 2
    rows = {SplitName.TRAIN: Examples(texts, None, labels)}
    metadata = TaskMetadata(language=declared)
    task = Task("posts/x", Problem.CLASSIFICATION, Metric.MACRO_F1, ("a", "b"), rows, metadata)
    return Target("posts", {"x": task})


def tokenizer(words):
    """A tokenizer that knows these words and no others."""
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *dict.fromkeys(words)])}
    plain = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]")


def encoder(model="offline", known="sk"):
    words = [word for text in TEXTS[known] for word in text.replace(",", " ,").split()]
    split = [part for word in words for part in (word, word.rstrip("."), ".")]
    config = SimpleNamespace(model=str(model), revision=None)
    return SimpleNamespace(config=config, tokenizer=tokenizer(split))


def write_card(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder


def test_an_english_pool_and_an_english_encoder_do_not_fit_a_slovak_target():
    entries = [entry("a", "en"), entry("b", "en"), entry("c")]
    pool, base = language_warnings(target("sk"), entries, encoder())
    assert pool.startswith("none of the 2 sources that declare a language is in the target's, sk (")
    assert "they are in en" in pool
    assert base.startswith("base model offline is made for en; the target is in sk (detected: ")


@pytest.mark.parametrize("language", ["sk", "Slovak", "multilingual", ""])
def test_one_source_in_the_language_or_none_declared_is_enough(tmp_path, language):
    card = write_card(tmp_path / "m", "---\nlanguage: [sk, cs]\n---\nx")
    entries = [entry("a", "en"), entry("b", language)] if language else [entry("a")]
    assert language_warnings(target("sk"), entries, encoder(card)) == ()


def test_a_declaration_that_the_texts_contradict_is_said(tmp_path):
    card = write_card(tmp_path / "m", "---\nlanguage: multilingual\n---\nx")
    (warning,) = language_warnings(target("sk", "cs"), [entry("a", "cs")], encoder(card))
    assert warning.startswith("the target is declared to be in cs, but its texts look like sk (")


def test_a_tokenizer_that_does_not_know_the_words_is_said(tmp_path):
    card = write_card(tmp_path / "m", "no front matter")
    (warning,) = language_warnings(target("bg"), [], encoder(card, known="en"))
    assert "base model m cuts the target's words into" in warning
    assert "% of them unknown to it" in warning


def test_tokens_per_word_by_hand():
    # "b," is two tokens, of which the comma is unknown; the address is not read.
    found = token_fit(tokenizer(["a", "b"]), ["a b,", "a https://example.org/x @you"])
    assert found == TokenFit(per_word=4 / 3, unknown=1 / 4)
    assert not found.fits
    assert token_fit(tokenizer(["a"]), ["@you"]).fits
    assert not TokenFit(per_word=3.1, unknown=0.0).fits


@pytest.mark.parametrize(
    ("card", "languages"),
    [
        ("---\nlanguage: en\n---\nx", ("en",)),
        ("---\nlanguage:\n- sk\n- cs\n---\nx", ("sk", "cs")),
        ("---\nlicense: mit\n---\nx", ()),
        ("---\nlanguage: [en\n---\nx", ()),
        ("plain", ()),
    ],
)
def test_a_card_declares_languages(tmp_path, card, languages):
    assert encoder_languages(str(write_card(tmp_path / "m", card))) == languages


def test_without_a_card_no_language_is_declared(tmp_path):
    assert encoder_languages(str(tmp_path)) == ()
    assert encoder_languages("offline") == ("en",)
    assert encoder_languages("owner/name") == ()  # the tests' Hub is switched off


def test_how_a_language_is_known_is_said():
    assert language_in_words(Language("sk", True, "sk", 0.9, 0.1, 5, None)) == "sk (declared)"
    unsure = Language("und", False, "und", 0.5, 0.1, 7, None)
    assert language_in_words(unsure) == "unknown (the detector is not sure; 7 texts)"


def test_sources_are_filtered_by_licence_with_the_reason():
    entries = [entry("free", licence="MIT"), entry("bound", licence="CC BY-NC 4.0"), entry("mute")]
    allowed, refused = allowed_sources(entries, ["commercial"])
    assert [source.id for source in allowed] == ["free"]
    assert [(skip.source, skip.reason) for skip in refused] == [
        (
            "bound",
            "its licence, CC BY-NC 4.0 (non-commercial), does not meet --licence commercial",
        ),
        ("mute", "its licence, not stated, does not meet --licence commercial"),
    ]
    assert allowed_sources(entries, []) == (entries, [])


@pytest.mark.parametrize(
    ("languages", "sources", "warned"),
    [
        ("[sk, cs, en]", ["en"], False),  # the base joins the target's language and the sources'
        ("multilingual", ["en", "de"], False),
        ("[sk, cs]", ["en"], True),
        ("[de, en]", ["en"], True),
    ],
)
def test_a_base_that_knows_both_languages_needs_no_source_in_the_target_s(
    tmp_path, languages, sources, warned
):
    card = write_card(tmp_path / "m", f"---\nlanguage: {languages}\n---\nx")
    entries = [entry(code, code) for code in sources]
    found = language_warnings(target("sk"), entries, encoder(card))
    assert any(text.startswith("none of the") for text in found) is warned


def test_a_language_that_a_base_of_many_does_not_know_is_said(tmp_path):
    many = "[af, am, ar, be, bg, bn, br, bs, ca, cs]"
    card = write_card(tmp_path / "m", f"---\nlanguage: {many}\n---\nx")
    (warning,) = language_warnings(target("sk"), [entry("a", "sk")], encoder(card))
    assert warning.startswith("base model m is made for 10 languages; the target is in sk (")
