"""`roujiamo help`: the commands' help, the pages of the documents, and the man page, all from the installed package."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import roujiamo.docs
from roujiamo.errors import UsageError

if TYPE_CHECKING:
    from roujiamo.cli.grammar import Command

EPILOG = """\
examples:
  roujiamo help run
  roujiamo help launchers
  roujiamo help --man | man -l -
"""


def topics() -> dict[str, str]:
    """Return the pages of the documents: the name of each, and its title."""
    found = {}
    for path in sorted(_folder().glob("*.md")):
        with path.open(encoding="utf-8") as file:
            found[path.stem] = file.readline().strip("# \n")
    return found


def _folder() -> Path:
    return Path(roujiamo.docs.__path__[0])


def add(commands: Any, programs: Callable[[], tuple[Command, ...]]) -> None:
    """Add `help` to the subcommands; `programs()` returns those that have a help."""
    parser = commands.add_parser(
        "help",
        help="show a command's help, a page, or the man page",
        description="Show the help of a command, a page of the documents, or what there is of both.",
        epilog=EPILOG,
    )
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="a command or a page (default: list them)")
    parser.add_argument("--man", action="store_true", help="print the man page, roujiamo(1), as roff")
    parser.set_defaults(function=lambda options: show(options, commands.choices, programs))


def show(
    options: argparse.Namespace,
    parsers: dict[str, argparse.ArgumentParser],
    programs: Callable[[], tuple[Command, ...]],
) -> int:
    """Print what is wanted; return the exit status. Raises UsageError."""
    if options.man:
        if options.topic:
            raise UsageError(
                "--man and a topic: the man page is about all of roujiamo; leave one of them out"
            )
        from roujiamo.cli.manual import manual

        print(manual(programs(), topics()), end="")
        return 0
    if options.topic is None:
        text = _contents(programs()[0])
    elif options.topic in parsers:
        if options.topic == "rsh":
            from roujiamo.shim.help import HELP_TEXT

            text = HELP_TEXT
        else:
            text = parsers[options.topic].format_help()
    else:
        text = _page(options.topic, [*parsers, *topics()])
        if sys.stdout.isatty():
            from roujiamo.cli.markdown import for_terminal

            text = for_terminal(text, shutil.get_terminal_size().columns)
    from roujiamo.cli.pager import page

    page(text, sys.stdout)
    return 0


def _page(topic: str, known: list[str]) -> str:
    name = topic.removesuffix(".md")
    if name in topics():
        return (_folder() / f"{name}.md").read_text(encoding="utf-8")
    from roujiamo.session.configuration import did_you_mean

    hint = did_you_mean(topic, known) or "; `roujiamo help` lists what there is"
    raise UsageError(f"there is no help on {topic}{hint}")


def _contents(program: Command) -> str:
    rows = {each.word: each.summary for each in program.commands}
    width = max(map(len, [*rows, *topics()])) + 2
    lines = ["commands (`roujiamo help COMMAND`, or `roujiamo COMMAND --help`):"]
    lines += [f"  {name:{width}}{text}" for name, text in rows.items()]
    lines += ["", "pages (`roujiamo help PAGE`):"]
    lines += [f"  {name:{width}}{title}" for name, title in topics().items()]
    return "\n".join(lines) + "\n"
