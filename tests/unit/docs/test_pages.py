"""README and pages: short enough, and rooms, paths, links and commands that they name exist."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from esm.cli.app import app
from tests.paths import ROOT
from tests.unit.test_imports import ORDER

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *PAGES]
RESULTS = sorted((ROOT / "benchmarks").glob("**/*.md"))

MOST_LINES = 160
MOST_WORDS = 1_500

# Pages list them from the top, where the user stands: the order of imports, turned round.
ROOMS = [room for room in reversed(ORDER) if room != "__main__"]

by_page = pytest.mark.parametrize("page", [*TEXTS, *RESULTS], ids=lambda page: page.name)


@cache
def parts(page: Path) -> tuple[str, str]:
    """Return a page's prose and its code: fenced, or indented by four after an empty line."""
    prose, code = [], []
    fenced = indented = False
    blank = True
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
            continue
        indented = line.startswith("    ") and (blank or indented)
        (code if fenced or indented else prose).append(line)
        blank = not line.strip()
    return "\n".join(prose), "\n".join(code)


def inline_code(page: Path) -> list[str]:
    return [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", parts(page)[0])]


def links(page: Path) -> list[str]:
    targets = re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", parts(page)[0])
    return [target for target in targets if not target.startswith(("https://", "http://"))]


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that a repository's browser gives the headings."""
    headings = re.findall(r"^#+ (.+)$", parts(page)[0], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


# ------------------------------------------------------------------------------------------- README


def test_the_readme_can_be_read_to_its_end():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert len(text.split()) <= MOST_WORDS


def test_the_readme_lists_the_rooms_in_the_order_of_their_imports():
    assert re.findall(r"^ {6}(\w+)/ ", README.read_text(encoding="utf-8"), re.MULTILINE) == ROOMS


def test_the_architecture_lists_the_rooms_in_the_order_of_their_imports():
    table = parts(ARCHITECTURE)[0].split("### Where a new thing goes")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROOMS


# ---------------------------------------------------------------------------------- paths and links


@by_page
def test_every_path_that_a_page_names_exists(page):
    """Of the project (``esm/...``) everywhere, of a room (``scorers/...``) in the architecture."""
    tops = ["esm", "benchmarks", "tests", "docs", "data"]
    named = [word for word in inline_code(page) if re.fullmatch(r"[\w./-]+", word)]
    found = [word for word in named if word.split("/")[0] in tops and "/" in word]
    if page == ARCHITECTURE:
        rooms = [f"esm/{word}" for word in named if word.split("/")[0] in ROOMS and "/" in word]
        begin = re.findall(r"^\| `(\w+)` \|.*\| `(\w+\.py)` \|$", parts(page)[0], re.MULTILINE)
        assert rooms
        assert len(begin) == len(ROOMS)
        found += rooms + [f"esm/{room}/{name}" for room, name in begin]
    assert [path for path in found if not (ROOT / path).exists()] == []


@by_page
def test_every_link_leads_somewhere(page):
    broken = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_broken_links_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n\n[a](#one) [b](#two) [c](none.md)\n\n    [code](x.md)\n", encoding="utf-8"
    )
    assert links(page) == ["#one", "#two", "none.md"]
    assert anchors(page) == {"one"}


# ----------------------------------------------------------------------------------------- the site


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_reads_the_same_on_the_site(page):
    """The site publishes ``docs/`` alone, and its Markdown wants an empty line before a list."""
    assert [link for link in links(page) if link.startswith("..")] == []
    lines = parts(page)[0].splitlines()
    item = re.compile(r"(?:- |\d+\. )")
    joined = [
        line
        for before, line in itertools.pairwise(lines)
        if item.match(line) and before.strip() and not item.match(before) and before[0] != " "
    ]
    assert joined == []


def test_every_page_has_its_place_on_the_site():
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(r"'([\w-]+\.md)'", str(site["nav"]))
    assert sorted(listed) == [page.name for page in PAGES]
    assert site["theme"]["font"] is False
    assert site["exclude_docs"] == "*.py"


# ----------------------------------------------------------------------------------------- commands


def shown_commands(page: Path) -> list[list[str]]:
    """Return the command lines in the page's blocks of code, as words."""
    lines = re.sub(r"\\\n\s*", " ", parts(page)[1]).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip().startswith("esm ")]


@cache
def command_line() -> Any:
    return typer.main.get_command(app)


def fault(words: list[str], *, whole: bool) -> str | None:
    """Return what the command line would refuse in ``esm ...``; values are not looked at.

    Args:
        words: The command, ``esm`` first.
        whole: Whether it is to be run as it stands: arguments that have to be given are there.
    """
    command, rest = command_line(), words[1:]
    while hasattr(command, "commands"):
        context = command.context_class(command)
        _, rest, _ = command.make_parser(context).parse_args(rest)
        if not rest:
            return "no verb" if whole else None
        if rest[0] not in command.commands:
            return f"no verb {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    parser = command.make_parser(command.context_class(command))
    try:
        given, left, _ = parser.parse_args(list(rest))
    except Exception as error:  # Typer brings its own copy of click: there is no class to name
        return str(error)
    missing = [item.name for item in command.params if item.required and not given.get(item.name)]
    if whole and missing:
        return f"without {missing}"
    return f"too many: {left}" if left else None


def mistakes(commands: Iterator[list[str]] | list[list[str]], *, whole: bool) -> list[str]:
    found = ((words, fault(words, whole=whole)) for words in commands)
    return [f"{' '.join(words)}: {wrong}" for words, wrong in found if wrong is not None]


# The reference shows forms (`esm [options] VERB`); test_reference compares it with the help.
by_shown = pytest.mark.parametrize(
    "page", [page for page in TEXTS if page.name != "reference.md"], ids=lambda page: page.name
)


@by_shown
def test_every_command_that_is_shown_would_run(page):
    assert mistakes(shown_commands(page), whole=True) == []


@by_shown
def test_every_command_in_a_sentence_has_the_verbs_and_options_it_names(page):
    commands = [words.split() for words in inline_code(page) if words.startswith("esm ")]
    assert mistakes(commands, whole=False) == []


@by_shown
def test_every_option_in_a_sentence_is_one_of_the_command_line(page):
    named = {words.split()[0] for words in inline_code(page) if words.startswith("--")}
    assert named - options() == set()


@cache
def options() -> set[str]:
    def collect(command: Any) -> Iterator[str]:
        for item in command.params:
            yield from (*item.opts, *item.secondary_opts)
        for inner in getattr(command, "commands", {}).values():
            yield from collect(inner)

    return {*collect(command_line()), "--help"}


def test_the_commands_of_the_readme_are_read():
    assert ["esm", "show", "runs/posts", "--classes"] in shown_commands(README)
    assert len(shown_commands(README)) >= 6


@pytest.mark.parametrize(
    ("command", "whole", "wrong"),
    [
        ("esm rank posts.csv --pool P --bootstrap 200", True, None),
        ("esm rank posts.csv", True, "without ['pool']"),
        ("esm rank posts.csv", False, None),
        ("esm rank posts.csv --pool P --bootstraps 200", True, "No such option: --bootstraps"),
        ("esm rank posts.csv other.csv --pool P", True, None),
        ("esm evaluate scores.csv truth.csv more.csv", True, "too many: ['more.csv']"),
        ("esm rang posts.csv", True, "no verb 'rang'"),
        ("esm pool", True, "no verb"),
    ],
)
def test_what_the_command_line_would_refuse_is_found(command, whole, wrong):
    found = fault(command.split(), whole=whole)
    assert found == wrong or (wrong and str(found).startswith(wrong))
