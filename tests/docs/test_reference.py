"""The documents say what the code does: options, and what they point at."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from roujiamo.cli import programs
from roujiamo.cli.help_command import topics
from roujiamo.status.program import HEADINGS
from tests.docs import reference
from tests.docs.pages import DOCS, README, ROOT, pages
from tests.docs.picture import PICTURES

SVG = "http://www.w3.org/2000/svg"


def test_the_table_of_options_is_the_options_table() -> None:
    """Each option with its variable and default; a new row there is written here by one command."""
    assert reference.PAGE.read_text() == reference.page(), "run `python -m tests.docs.reference`"


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_what_a_page_points_at_is_there(page: Path) -> None:
    """Links to files and to headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, heading = target.partition("#")
        if name.startswith(("http://", "https://")):
            continue
        path = (page.parent / name) if name else page
        assert path.exists(), target
        if heading:
            anchors = {anchor(line) for line in path.read_text().splitlines() if line.startswith("#")}
            assert heading in anchors, target


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_tests_and_files_that_a_page_names_are_there(page: Path) -> None:
    """`tests/…`, `roujiamo/…`, `bin/…`: a guarantee whose test is gone is none."""
    for name in re.findall(r"`((?:tests|roujiamo|bin|docker|\.ci)/[\w./-]+)(?:::(\w+))?`", page.read_text()):
        path, test = name
        assert (ROOT / path).exists(), path
        if test:
            assert f"def {test}(" in (ROOT / path).read_text(), name


def test_readme_leads_to_every_page() -> None:
    """A page that nothing leads to is not read."""
    text = README.read_text()
    assert all(f"(roujiamo/docs/{name}.md)" in text for name in topics())


def anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_words_of_ours_that_the_remedies_quote_are_said_somewhere() -> None:
    """Who searches for a sentence that is never printed finds nothing."""
    sources = " ".join(path.read_text() for path in (ROOT / "roujiamo").rglob("*.py"))
    # A sentence may go on in the next line of the source.
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)
    rows = re.findall(r"^\| (.*?) \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 8
    assert [words for words in quoted if words not in sources] == []


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_options_that_a_page_names_are_known(page: Path) -> None:
    """In a line of ours: an option that was renamed is renamed everywhere."""
    known = {
        name: {flag for command in program.with_all_below() for each in command.flags for flag in each.names}
        for program in programs()
        for name in [program.name]
    }
    for line in re.findall(r"`((?:roujiamo|ompirun\.sh) [^`]*)`", page.read_text()):
        words = line.split()
        for word in words[1:]:
            if not word.startswith("-"):
                continue
            assert word.partition("=")[0] in known[words[0]] | {"--"}, line


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_commands_that_a_page_names_are_there(page: Path) -> None:
    """`roujiamo WORD`: one of its commands, and for `help` one of its topics."""
    main = programs()[0]
    words = {command.word for command in main.commands}
    for line in re.findall(r"`roujiamo ([a-z][^`]*)`", page.read_text()):
        first, *rest = line.split()
        assert first in words or first == "NAME", line
        if first == "help" and rest and rest[0].islower():
            assert rest[0] in {*topics(), *words, "--man"}, line


@pytest.mark.parametrize("picture", sorted(DOCS.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_shows_what_is_typed_today(picture: Path) -> None:
    """It was captured once: its commands are still those of the script that captures, and status has these columns.

    One that is no capture of a terminal shows none.
    """
    lines = ["".join(text.itertext()) for text in ElementTree.parse(picture).iter(f"{{{SVG}}}text")]
    typed = [line.removeprefix("$").strip() for line in lines if line.startswith("$")]
    assert [*filter(None, typed)] == [
        line for line in PICTURES.get(picture.stem, ()) if not line.startswith("…")
    ]
    assert not [line for line in lines if line.startswith("SESSION") and line.split() != list(HEADINGS)]
