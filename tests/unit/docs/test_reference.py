"""The page of all verbs and options is what the command line says of itself."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from docs.make_reference import TARGET, reference, verbs
from esm.cli.app import app

NAMES = [name for name, _ in verbs(app, "esm")]


@pytest.fixture(scope="module")
def sections():
    parts = re.split(r"^## (.+)$", TARGET.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def help_of(name):
    arguments = [*name.split()[1:], "--help"]
    return CliRunner().invoke(app, arguments).stdout


def without_spaces(text):
    """The help breaks lines, and words at their hyphens."""
    return "".join(text.split())


def test_the_page_is_up_to_date():
    written = TARGET.read_text(encoding="utf-8")
    assert written == reference(), "run: python -m docs.make_reference"


def test_every_verb_of_the_help_has_its_section(sections):
    listed = re.findall(r"^  (\w+)  ", help_of("esm").split("Commands:")[1], re.MULTILINE)
    groups = {name.split()[1] for name in NAMES}
    assert groups == set(listed)
    assert list(sections) == ["esm", *NAMES]


@pytest.mark.parametrize("name", ["esm", *NAMES])
def test_every_option_of_the_help_is_on_the_page_with_the_same_words(sections, name):
    printed = help_of(name)
    shown = re.findall(r"^  (--[a-z][a-z-]*)", printed, re.MULTILINE)
    written = re.findall(r"^\| `(--[a-z][a-z-]*)", sections[name], re.MULTILINE)
    assert set(shown) - {"--help"} == set(written)
    together = without_spaces(printed)
    for text in re.findall(r"^\| `[^`]+` \| (.+) \|$", sections[name], re.MULTILINE):
        words = re.sub(r" ?(Required\.|Default: `[^`]*`\.)$", "", text).replace(r"\|", "|")
        assert without_spaces(words) in together


def test_required_options_and_defaults_are_marked(sections):
    assert "| `--out DIR` | Folder of the run. Required. |" in sections["esm validate"]
    assert (
        "| `--top N` | Best-ranked sources to train with. Default: `3`. |"
        in (sections["esm validate"])
    )
    assert "esm rank TARGETS... --pool DIR [options]" in sections["esm rank"]
    assert "--cache / --no-cache" in sections["esm rank"]
