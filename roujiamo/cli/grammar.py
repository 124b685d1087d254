"""What the commands' lines are made of, read from their parsers: for completion, the man page and the help.

Runs in the user's shell. Nothing is written down twice here: an option that a parser learns is completed and described.
Only `roujiamo-rsh` has no argparse parser (it has no time for one); its options are read from its help and its grammar.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from roujiamo.protocol import rsh
from roujiamo.shim.help import HELP_TEXT

# What a value may be, for a shell that completes it. PROGRAM: a command and its arguments, which end ours.
WORDS = "words"
FILES = "files"
FOLDERS = "folders"
HOSTS = "hosts"
SESSIONS = "sessions"
PROGRAM = "program"
NOTHING = "nothing"

_KIND_OF_METAVAR = {
    "FILE": FILES,
    "PATH": FILES,
    "PATH[:PATH[:ro]]": FILES,
    "URI": FILES,
    "DIR": FOLDERS,
    "HOST": HOSTS,
    "NAME[,NAME]": HOSTS,
    "SESSION": SESSIONS,
}
_WORDS_OF_METAVAR = {"MASTER": ("local",)}
_NO_WORDS: Mapping[str, Sequence[str]] = {}
# A metavar that lists its values: mesos|docker.
_LISTED = re.compile(r"[a-z]+(\|[a-z]+)+")
# One line of roujiamo-rsh's help: `  -V, --version  text`.
_RSH_FLAG = re.compile(r"^  (-\S+(?:, --\S+)?)(?: {2,}(\S.*))?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Value:
    """What stands behind an option, or as an operand: `label` for people, `kind` (WORDS: one of `words`) for shells."""

    label: str
    kind: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One option; `value` None for a switch. What is not `is_shown` is understood, and not offered."""

    names: tuple[str, ...]
    help: str = ""
    value: Value | None = None
    group: str = ""
    is_list: bool = False
    is_shown: bool = True


@dataclass(frozen=True, kw_only=True)
class Operand:
    """One operand; `is_repeated`: any number of them, the last in the line."""

    value: Value
    help: str = ""
    is_repeated: bool = False


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command's line. `name` is all of it: `roujiamo run`; `summary` is what its parent's help says of it."""

    name: str
    summary: str
    description: str
    usage: str
    epilog: str
    flags: tuple[Flag, ...]
    operands: tuple[Operand, ...]
    commands: tuple[Command, ...] = ()

    @property
    def word(self) -> str:
        """The last word of its name."""
        return self.name.rpartition(" ")[2]

    def with_all_below(self) -> Iterator[Command]:
        """The command and its subcommands."""
        yield self
        for command in self.commands:
            yield from command.with_all_below()


def read_parser(
    parser: argparse.ArgumentParser, summary: str = "", words: Mapping[str, Sequence[str]] = _NO_WORDS
) -> Command:
    """Return what a parser and its subparsers understand; `words` are those of a metavar that no parser lists."""
    flags = []
    operands = []
    commands: list[Command] = []
    for group in parser._action_groups:
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                commands += _subcommands(action, words)
            elif action.option_strings:
                flags.append(_flag(parser, action, group.title or "", words))
            else:
                operands.append(_operand(parser, action, words))
    return Command(
        name=parser.prog,
        summary=summary,
        description=parser.description or "",
        usage=parser.format_usage().removeprefix("usage: ").strip(),
        epilog=(parser.epilog or "").strip("\n"),
        flags=tuple(flags),
        operands=tuple(operands),
        commands=tuple(commands),
    )


def read_rsh(name: str, summary: str = "") -> Command:
    """Return what the shim understands, by the name `roujiamo-rsh` or `roujiamo rsh`."""
    usage, _, rest = HELP_TEXT.partition("\n\n")
    description, _, rest = rest.partition("\noptions:\n")
    options, _, epilog = rest.partition("\n\n")
    shown = tuple(
        Flag(names=tuple(match[1].split(", ")), help=match[2] or f"{match[1].lstrip('-')}", group="options")
        for match in _RSH_FLAG.finditer(options)
    )
    # ssh's others are passed over with their values.
    word = Value(label="VALUE", kind=NOTHING)
    passed_over = tuple(
        Flag(names=("-" + letter.decode(),), value=value, is_shown=False)
        for letters, value in ((rsh.FLAGS, None), (rsh.VALUED, word))
        for letter in letters
    )
    return Command(
        name=name,
        summary=summary,
        description=description.strip(),
        usage=usage.removeprefix("usage: ").replace("roujiamo-rsh", name),
        epilog=epilog.strip("\n"),
        flags=shown + passed_over,
        operands=(
            Operand(value=Value(label="HOST", kind=HOSTS), help="a host of the session"),
            Operand(value=Value(label="COMMAND", kind=PROGRAM), help="what runs there", is_repeated=True),
        ),
    )


def _subcommands(
    action: argparse._SubParsersAction[argparse.ArgumentParser], words: Mapping[str, Sequence[str]]
) -> Iterator[Command]:
    for choice in action._choices_actions:
        parser = action.choices[choice.dest]
        if choice.dest == "rsh":
            yield read_rsh(parser.prog, choice.help or "")
        else:
            yield read_parser(parser, choice.help or "", words)


def _flag(
    parser: argparse.ArgumentParser, action: argparse.Action, group: str, words: Mapping[str, Sequence[str]]
) -> Flag:
    return Flag(
        names=tuple(action.option_strings),
        help=_help(parser, action),
        value=None if action.nargs == 0 else _value(action, words),
        group=group,
        is_list=isinstance(action, (argparse._AppendAction, argparse._CountAction)),
        is_shown=action.help != argparse.SUPPRESS,
    )


def _operand(
    parser: argparse.ArgumentParser, action: argparse.Action, words: Mapping[str, Sequence[str]]
) -> Operand:
    if action.nargs == argparse.REMAINDER:
        value = Value(label=str(action.metavar or action.dest.upper()), kind=PROGRAM)
        return Operand(value=value, help=_help(parser, action), is_repeated=True)
    return Operand(
        value=_value(action, words), help=_help(parser, action), is_repeated=action.nargs in ("*", "+")
    )


def _value(action: argparse.Action, words: Mapping[str, Sequence[str]]) -> Value:
    label = str(action.metavar or action.dest.upper())
    if action.choices is not None:
        choices = tuple(map(str, action.choices))
    elif _LISTED.fullmatch(label):
        choices = tuple(label.split("|"))
    else:
        choices = tuple(words.get(label, _WORDS_OF_METAVAR.get(label, ())))
    if choices:
        return Value(label=label, kind=WORDS, words=choices)
    return Value(label=label, kind=_KIND_OF_METAVAR.get(label, NOTHING))


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if action.help is None or action.help == argparse.SUPPRESS:
        return ""
    expand: Callable[[argparse.Action], str] = parser._get_formatter()._expand_help
    return " ".join(expand(action).split())
