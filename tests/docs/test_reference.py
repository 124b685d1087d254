"""The documents say what the code does: options, and what they point at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roujiamo.cli.help_command import topics
from tests.docs import reference
from tests.docs.pages import README, ROOT, pages


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
