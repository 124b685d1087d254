"""The fenced blocks of the documents. Imported by their test.

A block of commands is fenced as `sh`, with a situation behind it where one is needed (```sh while a run goes on). Other
blocks are `text` (pictures, what a program prints) or `toml` (a configuration).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import pages

_FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block: its page, the line that it begins in, its language, its situation ("" for none), and its text."""

    page: Path
    line: int
    language: str
    situation: str
    text: str

    @property
    def name(self) -> str:
        """Where it is, for a test's name."""
        return f"{self.page.name}:{self.line}"


def blocks() -> list[Block]:
    """Every fenced block of every page."""
    found = []
    for page in pages():
        text = page.read_text()
        for match in _FENCED.finditer(text):
            language, _, situation = match[1].partition(" ")
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, language, situation, match[2]))
    return found
