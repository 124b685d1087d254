"""A page of the documents as a terminal of some width can show it. Pure.

The pages are Markdown that is written to be read as it stands; only a table's row may be longer than a terminal's line.
Such a table becomes a list: the first cell, and below it the others. What is written for other readers is left out.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

_INDENT = "    "
_CELLS = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"!?\[([^\]]+)\]\([^)]+\)")
_ITEM = re.compile(r"(?:[-*]|\d+\.) +")
_BEGINS = re.compile(rf"$|#|{_ITEM.pattern}")
_COMMENT = "<!--"
_FENCE = "```"
_TEXT, _TABLE, _FENCED = "text", "table", "fenced"


def for_terminal(text: str, columns: int) -> str:
    """Return the page with its tables and paragraphs at most so many columns wide; fenced blocks keep their lines."""
    lines: list[str] = []
    for kind, block in _blocks(text):
        lines += (
            _table(block, columns) if kind == _TABLE else _text(block, columns) if kind == _TEXT else block
        )
    return "\n".join(lines) + "\n"


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each paragraph, table and fenced block, as its kind and its lines."""
    kind = _TEXT
    block: list[str] = []
    for line in text.splitlines():
        if kind == _FENCED:
            block.append(line)
            if line.startswith(_FENCE):
                yield kind, block
                kind, block = _TEXT, []
            continue
        if line.startswith(_COMMENT):
            continue
        next_kind = _FENCED if line.startswith(_FENCE) else _TABLE if line.startswith("|") else _TEXT
        # An empty line, an item of a list and a heading begin something new.
        if block and (next_kind != kind or (kind == _TEXT and (not block[-1] or _BEGINS.match(line)))):
            yield kind, block
            block = []
        kind = next_kind
        block.append(line)
    if block:
        yield kind, block


def _text(lines: list[str], columns: int) -> list[str]:
    """A paragraph, an item of a list, a heading, or an empty line."""
    if all(len(line) <= columns for line in lines):
        return lines
    indent = " " * len(match[0]) if (match := _ITEM.match(lines[0])) else ""
    return _filled(" ".join(line.strip() for line in lines), columns, "", indent)


def _filled(text: str, columns: int, first: str = "", others: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _table(lines: list[str], columns: int) -> Iterator[str]:
    rows = [_cells(line) for line in lines]
    # The second line of a table only draws one.
    heading, rows = rows[0], rows[2:]
    widths = [max(len(row[column]) for row in [heading, *rows]) for column in range(len(heading))]
    if sum(widths) + 2 * (len(widths) - 1) <= columns:
        for row in [heading, [width * "-" for width in widths], *rows]:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        return
    yield from _filled(f"{heading[0]} ({'; '.join(filter(None, heading[1:]))}):", columns)
    for row in rows:
        yield ""
        yield from _filled(row[0], columns)
        for name, cell in zip(heading[1:], row[1:], strict=True):
            if cell:
                # The name says something only where there is more than one to tell apart.
                said = f"{name}: {cell}" if len(heading) > 2 else cell
                yield from _filled(said, columns, _INDENT, _INDENT)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [_LINK.sub(r"\1", cell.strip().replace(r"\|", "|")) for cell in _CELLS.split(inner)]
