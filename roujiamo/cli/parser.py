"""The parser of all our command lines: argparse, with mistakes told in one sentence and a help that fits 80 columns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import roujiamo
from roujiamo.errors import UsageError

WIDTH = 80
_OPTION_COLUMN = 26


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of at most 80 columns; of an option's names those that are shown (see `hide`)."""

    def __init__(self, prog: str) -> None:
        import shutil

        width = min(shutil.get_terminal_size().columns, WIDTH) - 2
        super().__init__(prog, max_help_position=_OPTION_COLUMN, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        # One paragraph is filled; what has lines of its own keeps them.
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        import textwrap

        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)

    def _split_lines(self, text: str, width: int) -> list[str]:
        import textwrap

        # An option's name is not cut in two.
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        hidden = _hidden_names(action)
        if not action.option_strings:
            return super()._format_action_invocation(action)
        names = ", ".join(name for name in action.option_strings if name not in hidden)
        if action.nargs == 0:
            return names
        return f"{names} {self._format_args(action, self._get_default_metavar_for_optional(action))}"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that knows --version, and that asks what was meant."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("formatter_class", Formatter)
        super().__init__(*arguments, **settings)
        if settings.get("add_help", True):
            self.add_argument(
                "-V",
                "--version",
                action="version",
                version=f"{self.prog.split()[0]} {roujiamo.__version__}",
                help="show the version and exit",
            )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; what is left is an error of the command that it stands behind."""
        parsed, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return parsed, left

    def error(self, message: str) -> NoReturn:
        """Print what is wrong in one sentence, and end."""
        print(f"{self.prog}: {_sentence(self, message)}", file=sys.stderr)
        sys.exit(UsageError.exit_status)

    def known_options(self) -> list[str]:
        """Return the names of its options that are shown."""
        return [
            name for name, action in self._option_string_actions.items() if name not in _hidden_names(action)
        ]

    def shown_name(self, words: str) -> str:
        """Return what the user knows an option by, of which argparse says `words`: all its names with slashes."""
        action = self._option_string_actions.get(words.split("/")[0])
        names = action.option_strings if action is not None else [words]
        hidden = _hidden_names(action) if action is not None else ()
        return [name for name in names if name not in hidden][-1]

    def known_commands(self) -> list[str]:
        """Return the names of its subcommands."""
        return [
            name
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name in action.choices
        ]


def hide(action: argparse.Action, aliases: Sequence[str]) -> None:
    """Leave the names `aliases` of an option out of the help; they are accepted all the same."""
    action.aliases = tuple(aliases)  # type: ignore[attr-defined]


def _hidden_names(action: argparse.Action) -> tuple[str, ...]:
    return getattr(action, "aliases", ())


def _sentence(parser: Parser, message: str) -> str:
    """Return argparse's message as a sentence of ours."""
    import re

    from roujiamo.session.configuration import did_you_mean

    help_line = f"`{parser.prog} --help` shows what there is"
    if found := re.match(r"unrecognized arguments: (\S+)", message):
        word = found[1].partition("=")[0]
        if not word.startswith("-"):
            return f"{word}: there is no use for this word here; {help_line}"
        near = did_you_mean(word, parser.known_options()) if word.startswith("--") else ""
        return f"there is no option {word}{near or '; ' + help_line}"
    if found := re.match(r"argument COMMAND: invalid choice: '([^']*)'", message):
        near = did_you_mean(found[1], parser.known_commands())
        return f"there is no command {found[1]}{near or '; ' + help_line}"
    if found := re.match(r"the following arguments are required: (.*)", message):
        return f"{found[1].removesuffix(' ...')} is missing; {help_line}"
    if found := re.match(r"argument (\S+): (?:expected .*)$", message):
        return f"{parser.shown_name(found[1])}: a value is missing; {help_line}"
    if found := re.match(r"argument (\S+): ignored explicit argument (.*)$", message):
        return f"{parser.shown_name(found[1])}: it takes no value, and {found[2]} is one"
    if found := re.match(r"argument (\S+): (.*)$", message, re.DOTALL):
        return f"{parser.shown_name(found[1])}: {found[2]}"
    if found := re.match(r"ambiguous option: (\S+) could match (.*)$", message):
        return f"{found[1]}: which one is meant, {found[2]}?"
    return f"{message}; {help_line}"
