"""The table of options in roujiamo/docs/options.md, made from the options' own table.

Imported by its test, and run to write it anew: `python -m tests.docs.reference`.
"""

from __future__ import annotations

from collections.abc import Iterator

from roujiamo.session import options
from roujiamo.session.options import Option
from tests.docs.pages import DOCS

PAGE = DOCS / "options.md"
START = "<!-- Made from roujiamo/session/options.py by `python -m tests.docs.reference`. -->\n"
END = "<!-- The end of what is made. -->\n"


def table() -> str:
    """The part of the page that is made: a table for each group of options."""
    return "\n".join(line for group in options.GROUPS for line in _group(group))


def page() -> str:
    """The page as it should be: what is written by hand, with the part that is made."""
    before, _, rest = PAGE.read_text().partition(START)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE} has lost the marks around its table"
    return f"{before}{START}\n{table()}\n{END}{after}"


def _group(group: str) -> Iterator[str]:
    yield from (f"**{group[:1].upper()}{group[1:]}**", "")
    yield from ("| option | meaning | variable |", "| --- | --- | --- |")
    for option in options.OPTIONS:
        if option.group == group:
            yield f"| {_names(option)} | {_meaning(option)} | `{option.variable}` |"
    yield ""


def _names(option: Option) -> str:
    value = "" if option.metavar is None or option.is_count else f" {option.metavar}"
    *others, last = (*option.flags, *option.off_flags)
    return _cell(", ".join([*(f"`{flag}`" for flag in others), f"`{last}{value}`"]))


def _meaning(option: Option) -> str:
    default = options.default_of(option)
    text = option.help
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        text += f" (default: {default:g})"
    elif isinstance(default, str) and default:
        text += f" (default: {default})"
    return _cell(text)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page())
