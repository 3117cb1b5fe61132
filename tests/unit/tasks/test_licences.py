import pytest

from esm.tasks.licences import NOT_STATED, Terms, fits, is_stated, licence_label, terms

COMMERCIAL = (
    "CC BY 4.0",
    "cc-by-sa-3.0",
    "CC-BY-ND-4.0",
    "CC0 1.0",
    "cc0-1.0",
    "MIT",
    "MIT (repository)",
    "Apache-2.0 (repository)",
    "apache_2.0",
    "GPL-3.0 (readme)",
    "AGPL-3.0 (repository)",
    "LGPL",
    "GNU General Public License v3",
    "BSD-3-Clause",
    "public domain (US government work)",
    "Creative Commons Attribution-ShareAlike 4.0",
    "odc-by",
    "CDLA-Permissive-2.0",
    "afl-3.0",
)
NON_COMMERCIAL = (
    "CC BY-NC 4.0",
    "cc-by-nc-sa-4.0",
    "CC BY-NC-SA 3.0",
    "CC_BY_NC_4.0",
    "CC BY-NC-SA 4.0 (labels); texts as published by the lab, Twitter's terms apply",
    "CC BY-NC-SA 3.0 (SICK); Apache-2.0 (translation repository)",
    "research and non-commercial use (readme)",
    "noncommercial",
    "Non Commercial",
    "free for general research use (readme)",
    "research purposes only; the original sources keep the copyright (readme)",
    "for academic use only",
    "educational use only",
    "not for commercial use",
)
UNKNOWN = (
    "",
    "not stated",
    "unknown",
    "other",
    "not stated (citation requested)",
    "not restricted by TweetEval itself; the original data sets' terms and Twitter's apply",
    "copyright of the cited publications; the corpus README points to fair use for research",
    "MIT (code); Twitter's terms apply",
    "https://example.org/terms",
    "committee of the university",
)


@pytest.mark.parametrize("licence", COMMERCIAL)
def test_what_allows_commercial_use(licence):
    assert terms(licence) is Terms.COMMERCIAL


@pytest.mark.parametrize("licence", NON_COMMERCIAL)
def test_what_forbids_commercial_use(licence):
    assert terms(licence) is Terms.NON_COMMERCIAL


@pytest.mark.parametrize("licence", UNKNOWN)
def test_what_leaves_it_open(licence):
    assert terms(licence) is Terms.UNKNOWN


@pytest.mark.parametrize(
    "licence", ["", " ", "not stated", "Unknown", "other", "not stated (citation requested)", "N/A"]
)
def test_a_licence_that_is_not_named(licence):
    assert not is_stated(licence)
    assert licence_label(licence) == NOT_STATED
    assert not fits(licence, ["stated"])


def test_a_licence_that_is_named():
    assert is_stated("mit")
    assert is_stated("Twitter's terms apply")
    assert fits("Twitter's terms apply", ["stated"])


def test_restrictions_are_marked():
    assert licence_label("MIT") == "MIT"
    assert licence_label("cc-by-nc-4.0") == "cc-by-nc-4.0 (non-commercial)"
    assert licence_label("non-commercial use") == "non-commercial use"
    assert licence_label("Twitter's terms apply") == "Twitter's terms apply (unclear)"


def test_a_filter_takes_terms_and_parts_of_names():
    assert fits("CC BY-SA 4.0", [])
    assert fits("CC BY-SA 4.0", ["commercial"])
    assert not fits("not stated", ["commercial"])
    assert fits("cc-by-sa-4.0", ["CC BY-SA"])
    assert fits("GPL-3.0", ["mit", "gpl"])
    assert not fits("GPL-3.0", ["mit", "apache"])


def test_a_long_licence_is_cut_between_words_and_still_marked():
    text = "for research purposes only, without any warranty"
    assert licence_label(text, longest=28) == "for research purposes ... (non-commercial)"
    assert licence_label("MIT", longest=28) == "MIT"
