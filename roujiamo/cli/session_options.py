"""The options of a session on a command line: the same ones for every command that starts a session.

What the command line says goes before the environment, and that before the default.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from roujiamo.errors import UsageError
from roujiamo.run.options import RunOptions
from roujiamo.session import options as table
from roujiamo.session.options import Option
from roujiamo.system.identity import with_identity


def add_options(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """Add the options of a session, but those of the fields `without`, in their groups."""
    for group_name in table.GROUPS:
        group = parser.add_argument_group(group_name)
        for option in table.OPTIONS:
            if option.group == group_name and option.field not in without:
                _add(group, option)
        if group_name == table.OUTPUT:
            group.add_argument(
                "-v",
                "--verbose",
                action="count",
                default=0,
                help="say what happens; twice: the broker's log as well",
            )


def add_master(parser: argparse.ArgumentParser) -> None:
    """Add --master."""
    parser.add_argument(
        "--master",
        metavar="MASTER",
        default=os.environ.get("ROUJIAMO_MASTER"),
        help="the Mesos master (default: $ROUJIAMO_MASTER)",
    )


def add_command(parser: argparse.ArgumentParser, metavar: str, help_text: str) -> None:
    """Add the user's command, all that stands behind the options."""
    parser.add_argument("command", metavar=metavar, nargs=argparse.REMAINDER, help=help_text)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    if option.metavar is None:
        group.add_argument(
            *option.flags,
            dest=option.field,
            action="store_true",
            default=argparse.SUPPRESS,
            help=_help(option),
        )
        for flag in option.off_flags:
            group.add_argument(
                flag,
                dest=option.field,
                action="store_false",
                default=argparse.SUPPRESS,
                help=f"not {option.flags[-1]}",
            )
    elif option.is_list:
        group.add_argument(
            *option.flags,
            dest=option.field,
            action="append",
            default=argparse.SUPPRESS,
            metavar=option.metavar,
            help=_help(option),
        )
    else:
        group.add_argument(
            *option.flags,
            dest=option.field,
            type=_reader(option),
            default=argparse.SUPPRESS,
            metavar=option.metavar,
            help=_help(option),
        )


def _reader(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _help(option: Option) -> str:
    default = table.default_of(option)
    text = option.help.replace("%", "%%")
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        text += f" (default: {default:g})"
    elif isinstance(default, str) and default:
        text += f" (default: {default})"
    return f"{text} [${option.variable}]"


def run_options(options: argparse.Namespace, command: list[str]) -> RunOptions:
    """Return what the parsed command line and the environment ask for, around `command`.

    Raises UsageError.
    """
    if not options.master:
        raise UsageError(
            "no master; give --master HOST:PORT (or set ROUJIAMO_MASTER), or --master local to try it"
        )
    values = table.from_environment(os.environ)
    for option in table.OPTIONS:
        if option.field not in vars(options):
            continue
        given = getattr(options, option.field)
        try:
            values[option.field] = table.read_list(option, given) if option.is_list else given
        except ValueError as error:
            raise UsageError(f"{option.flags[-1]}: {error}") from error
    if not values.get("name"):
        values["name"] = os.path.basename(command[0]) if command else os.path.basename(sys.argv[0])
    launch = table.launch_options(values)
    request = table.session_request(
        values,
        os.environ,
        master=options.master,
        verbosity=options.verbose,
        tells_moments=launch.timeline is not None,
    )
    request = with_identity(request, launch.secret_file, os.environ)
    return RunOptions(request=request, launch=launch, command=tuple(command))


def user_command(options: argparse.Namespace) -> list[str]:
    """Return the words of the user's command, without the `--` before it. Raises UsageError."""
    command = list(options.command)
    if command and command[0] == "--":
        return command[1:]
    if command and command[0].startswith("-"):
        raise UsageError(f"{command[0]} where the program should be; options go before the program")
    return command
