"""The pages on a terminal: nothing is wider than it, and no word is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roujiamo.cli.markdown import for_terminal
from tests.docs.pages import pages

TABLE = """\
before

| option | meaning | variable |
| --- | --- | --- |
| `-N`, `--nodes N` | hosts | `ROUJIAMO_NODES` |
| `--interface NAME\\|CIDR` | a network; [a page](launchers.md) | |

after
"""


def test_a_table_that_fits_keeps_its_columns() -> None:
    """Each as wide as its widest cell."""
    assert (
        for_terminal(TABLE, 100)
        == """\
before

option                   meaning            variable
-----------------------  -----------------  ----------------
`-N`, `--nodes N`        hosts              `ROUJIAMO_NODES`
`--interface NAME|CIDR`  a network; a page

after
"""
    )


def test_a_table_that_does_not_fit_becomes_a_list() -> None:
    """The first cell of each row, and the others below it; an empty one says nothing."""
    assert (
        for_terminal(TABLE, 40)
        == """\
before

option (meaning; variable):

`-N`, `--nodes N`
    meaning: hosts
    variable: `ROUJIAMO_NODES`

`--interface NAME|CIDR`
    meaning: a network; a page

after
"""
    )


def test_paragraphs_and_lists_are_filled_and_fenced_blocks_are_not() -> None:
    """A command that is broken in two is no command."""
    text = "a paragraph that is longer\n\nand another one\n"
    assert for_terminal(text, 20) == "a paragraph that is\nlonger\n\nand another one\n"
    text = "- an item of a list that is\n  longer\n- one more\n\n```sh\na command that is longer than the line\n```\n"
    assert for_terminal(text, 20) == (
        "- an item of a list\n  that is longer\n- one more\n\n```sh\na command that is longer than the line\n```\n"
    )


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_no_page_is_wider_than_the_terminal_and_no_word_is_lost(page: Path, columns: int) -> None:
    """But what must stay in one piece: a fenced line, a word."""
    text = re.sub(r"^<!--.*\n", "", page.read_text(), flags=re.MULTILINE)
    shown = for_terminal(text, columns)
    fences = re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    assert all(fence in shown for fence in fences)
    for fence in fences:
        shown = shown.replace(fence, "")
    for line in shown.splitlines():
        assert len(line) <= columns or " " not in line.strip(), line
    words = set(re.findall(r"\w+", re.sub(r"\]\([^)]+\)", "]", text)))
    assert words <= set(re.findall(r"\w+", for_terminal(text, columns)))
