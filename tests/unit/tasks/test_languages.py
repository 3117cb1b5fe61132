import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esm.tasks.faults.describe import target_language
from esm.tasks.languages import (
    MULTILINGUAL,
    UNDETERMINED,
    Language,
    detect,
    language_codes,
    with_language,
)
from esm.tasks.load import load_target
from esm.tasks.spec import TaskSpec
from esm.tasks.task import TaskMetadata

TEXTS = {
    "sk": (
        "Očkovanie spôsobuje autizmus, tvrdí príspevok, ktorý sa šíri po sociálnych sieťach.",
        "Lekári vyvrátili, že by ľudia mali piť roztok s chlórom, lebo poškodzuje žalúdok.",
        "Ministerstvo zdravotníctva včera zverejnilo údaje o účinnosti liekov u starších ľudí.",
        "Nikto nám nepovie pravdu, kým sa sami nezačneme pýtať, čo nám vlastne pichajú.",
        "Dnes ráno ma bolela hlava, tak som si uvarila čaj a ľahla si späť do postele.",
    ),
    "cs": (
        "Očkování způsobuje autismus, tvrdí příspěvek, který se šíří po sociálních sítích.",
        "Lékaři vyvrátili, že by lidé měli pít roztok s chlórem, protože poškozuje žaludek.",
        "Ministerstvo zdravotnictví včera zveřejnilo údaje o účinnosti léků u starších lidí.",
        "Nikdo nám neřekne pravdu, dokud se sami nezačneme ptát, co nám vlastně píchají.",
        "Dnes ráno mě bolela hlava, tak jsem si uvařila čaj a lehla si zpátky do postele.",
    ),
    "bg": (
        "Ваксините причиняват аутизъм, твърди публикация, която се разпространява в мрежата.",
        "Лекарите опровергаха, че хората трябва да пият разтвор с хлор, защото е опасно.",
        "Министерството на здравеопазването публикува вчера данни за лекарствата.",
        "Никой няма да ни каже истината, докато сами не започнем да питаме какво ни слагат.",
        "Тази сутрин ме болеше глава, затова си направих чай и се върнах в леглото.",
    ),
    "en": (
        "Vaccination causes autism, claims a post that is spreading on social networks.",
        "Doctors have refuted that people should drink a chlorine solution for their stomach.",
        "The ministry of health published data yesterday on how well the medicines work.",
        "Nobody will tell us the truth until we start asking what they are injecting into us.",
        "This morning I had a headache, so I made myself some tea and went back to bed.",
    ),
}


@pytest.mark.parametrize("code", TEXTS)
def test_a_language_is_detected(code):
    found = detect(TEXTS[code] * 4)
    assert (found.code, found.detected, found.declared) == (code, code, False)
    assert 0.9 < found.share <= 1
    assert found.texts == 20


def test_what_is_declared_wins_and_what_contradicts_it_is_said():
    found = detect(TEXTS["sk"], "cs")
    assert (found.code, found.detected, found.declared) == ("cs", "sk", True)
    assert found.contradicted
    assert not detect(TEXTS["sk"], "Slovak").contradicted
    assert not detect(TEXTS["sk"]).contradicted


def test_several_declared_languages_are_multilingual():
    found = detect(TEXTS["sk"] + TEXTS["cs"], "sk, cs")
    assert found.code == MULTILINGUAL
    assert not found.contradicted


@pytest.mark.parametrize("texts", [(), ("ahoj",), ("12 345", "https://example.org/slovensko @ty")])
def test_texts_that_do_not_tell_are_undetermined(texts):
    assert detect(texts).code == UNDETERMINED


def test_a_mixture_has_a_lower_share_and_no_language():
    found = detect(TEXTS["sk"] + TEXTS["bg"])
    assert found.share == pytest.approx(0.5, abs=0.1)
    assert found.code == UNDETERMINED
    assert {found.runner_up} <= {"sk", "bg"}
    # The deviation of a beta distribution with 5 + 1 and 5 + 1: sqrt(0.5 * 0.5 / 13).
    assert found.error == pytest.approx(0.139, abs=0.002)


def test_short_texts_count_less_than_long_ones():
    short = ("no", "do", "to", "on", "a", "me")
    assert detect(TEXTS["sk"] + short).code == "sk"


@pytest.mark.parametrize(
    "texts",
    [
        ["ok"] * 400,
        [f"ok {row}" for row in range(400)],
        [f"{row} tbl." for row in range(400)],
        [f"{row % 7 + 1} mg {row % 3 + 1}x denne" for row in range(400)],
        [f"{name} {row} ml" for row in range(100) for name in ("Paralen", "Brufen", "Zyrtec")],
        ["haha", "lol", "wtf", "super"] * 100,
    ],
)
def test_votes_without_evidence_do_not_add_up(texts):
    found = detect(texts)
    assert (found.code, found.detected) == (UNDETERMINED, UNDETERMINED)
    assert found.texts == len(texts)
    assert found.error > 0.15
    assert not detect(texts, "Slovak").contradicted


def test_a_unanimous_vote_is_not_certain():
    found = detect(TEXTS["sk"])
    assert found.share == pytest.approx(1, abs=0.01)
    # Five texts that agree: the deviation of a beta distribution with 6 and 1, sqrt(6/49/8).
    assert found.error == pytest.approx(0.124, abs=0.005)
    assert detect(TEXTS["sk"] * 50).error == pytest.approx(found.error)


def test_the_order_of_the_rows_does_not_matter():
    texts = [f"{text} {number}" for number in range(60) for text in TEXTS["sk"] + TEXTS["cs"]]
    assert detect(texts).texts == 400
    shuffled = random.Random(0).sample(texts, len(texts))
    assert detect(texts).share == pytest.approx(detect(shuffled).share)


# Codes: the Library of Congress' table of ISO 639-1 and 639-2; macrolanguages: SIL's table of
# ISO 639-3 (cmn in zho, arb in ara, nob in nor, ekk in est); names: CLDR.
@pytest.mark.parametrize(
    ("declared", "codes"),
    [
        ("en", "en"),
        ("English", "en"),
        ("slk-Latn", "sk"),
        ("pt_BR", "pt"),
        ("sk, cs; en", "sk cs en"),
        ("sk cs", "sk cs"),
        ("Slovak and ces-Latn", "sk cs"),
        ("multilingual", MULTILINGUAL),
        ("Dutch", "nl"),
        ("nld", "nl"),
        ("dut", "nl"),
        ("DUTCH", "nl"),
        ("Flemish", "nl"),
        ("Chinese", "zh"),
        ("zho", "zh"),
        ("chi", "zh"),
        ("cmn", "zh"),
        ("zh-Hans", "zh"),
        ("Chinese (Simplified)", "zh"),
        ("Simplified Chinese", "zh"),
        ("Mandarin", "zh"),
        ("Arabic", "ar"),
        ("ara", "ar"),
        ("arb", "ar"),
        ("Swedish", "sv"),
        ("swe", "sv"),
        ("svenska", "sv"),
        ("nb", "no"),
        ("nob", "no"),
        ("Norwegian Bokmål", "no"),
        ("Norwegian", "no"),
        ("nn", "nn"),
        ("tl", "tl"),
        ("fil", "tl"),
        ("Tagalog", "tl"),
        ("Filipino", "tl"),
        ("ekk", "et"),
        ("ger", "de"),
        ("Deutsch", "de"),
        ("iw", "he"),
        ("slovenčina", "sk"),
        ("Brazilian Portuguese", "pt"),
        ("ckb", "ckb"),
        ("Klingon", "tlh"),
        ("tweets in Slovak", "sk"),
        ("mostly English, some French", "en fr"),
        ("Dutch/German", "nl de"),
        ("en-", "en"),
    ],
)
def test_declarations_are_read(declared, codes):
    assert language_codes(declared) == tuple(codes.split())


@pytest.mark.parametrize(
    "declared",
    ["", " ", ",;", "und", "zxx", "mis", "qaa", "unknown", "xx", "text", "many", "N/A", "None"],
)
def test_what_is_no_language_is_not_recognised(declared):
    assert language_codes(declared) == ()


@pytest.mark.parametrize(
    "declared", ["the posts of users", "x-private", "1", "-", "_", "\n", "a" * 999, "\0", "(", "??"]
)
def test_nor_is_what_is_no_word_of_one_and_it_is_no_error(declared):
    assert language_codes(declared) == ()


@given(st.text(max_size=30))
def test_no_declaration_is_an_error(declared):
    assert all(code and code == code.strip() for code in language_codes(declared))


def test_a_language_that_the_detector_does_not_know_is_not_contradicted():
    assert not detect(TEXTS["sk"], "Klingon").contradicted
    assert detect(TEXTS["sk"], "Dutch").contradicted
    assert not replace(detect(TEXTS["sk"], "nb"), detected="no").contradicted


def test_metadata_get_a_language_only_where_there_is_none():
    assert with_language(TaskMetadata(), TEXTS["sk"]).language == "sk"
    assert with_language(TaskMetadata(language="cs"), TEXTS["sk"]).language == "cs"
    assert with_language(TaskMetadata(), ("ahoj",)).language == ""


def test_the_language_of_a_target(tmp_path):
    rows = [f'"{text} {i}",{("áno", "nie")[i % 2]}' for i in range(4) for text in TEXTS["sk"]]
    (tmp_path / "posts.csv").write_text("\n".join(["text,škodlivé", *rows]), encoding="utf-8")
    target = load_target(TaskSpec(location=str(tmp_path / "posts.csv")))
    assert target_language(target).code == "sk"


def test_a_language_is_a_plain_record():
    found = detect(TEXTS["en"])
    assert isinstance(found, Language)
    assert replace(found, code="sk", declared=True).contradicted
