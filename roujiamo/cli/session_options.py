"""The options of a session on a command line: the same ones for every command that starts a session.

What the command line says goes before the environment, that before the user's roujiamo.toml, that before the system's,
and that before the default (`roujiamo.session.settings`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from roujiamo.cli.parser import hide
from roujiamo.errors import UsageError
from roujiamo.run.options import RunOptions
from roujiamo.session import options as table
from roujiamo.session.options import Option
from roujiamo.session.settings import gather
from roujiamo.system.configuration import read_configurations
from roujiamo.system.identity import with_identity


def add_options(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """Add the options of a session, but those of the fields `without`, in their groups."""
    for group_name in table.GROUPS:
        group = parser.add_argument_group(group_name)
        for option in table.OPTIONS:
            if option.group == group_name and option.field not in without:
                _add(group, option)


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the hosts, tasks, hostfiles, environment and command that it would be, and start nothing",
    )


def add_command(parser: argparse.ArgumentParser, metavar: str, help_text: str) -> None:
    """Add the user's command, all that stands behind the options."""
    parser.add_argument("command", metavar=metavar, nargs=argparse.REMAINDER, help=help_text)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    settings: dict[str, Any] = {"dest": option.field, "default": argparse.SUPPRESS, "help": _help(option)}
    if option.is_count:
        settings["action"] = "count"
    elif option.metavar is None:
        settings["action"] = "store_true"
    else:
        settings["metavar"] = option.metavar
        settings.update({"action": "append"} if option.is_list else {"type": _reader(option)})
    hide(group.add_argument(*option.flags, *option.aliases, **settings), option.aliases)
    for flag in option.off_flags:
        group.add_argument(
            flag,
            dest=option.field,
            action="store_false",
            default=argparse.SUPPRESS,
            help=f"not {option.flags[-1]}",
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


def run_options(options: argparse.Namespace, command: list[str], *, is_joining: bool = False) -> RunOptions:
    """Return what the command line, the environment and the configurations ask for, around `command`.

    `is_joining`: in a session that is there, so no master has to be named.

    Raises UsageError.
    """
    environment = dict(os.environ)
    if environment.get("ROUJIAMO_SOCKET"):
        # Inside an allocation this one tells which hosts it has (`roujiamo.run.launcher`).
        environment.pop("ROUJIAMO_HOSTS", None)
    settings = gather(read_configurations(environment), environment, _given(options))
    values = settings.values
    if is_joining:
        values.setdefault("master", "")
    elif not values.get("master"):
        raise UsageError(
            "no master; give --master HOST:PORT (or set ROUJIAMO_MASTER, or master in roujiamo.toml), or --master "
            "local to try it"
        )
    if not values.get("name"):
        values["name"] = os.path.basename(command[0]) if command else os.path.basename(sys.argv[0])
    launch = table.launch_options(values)
    request = table.session_request(values, environment, tells_moments=launch.timeline is not None)
    request = with_identity(request, launch.secret_file, os.environ)
    return RunOptions(request=request, launch=launch, command=tuple(command), settings=settings)


def _given(options: argparse.Namespace) -> dict[str, tuple[Any, str]]:
    """Return what the command line says: value and flag by field. Raises UsageError."""
    given: dict[str, tuple[Any, str]] = {}
    for option in table.OPTIONS:
        if option.field not in vars(options):
            continue
        value, flag = getattr(options, option.field), option.flags[-1]
        try:
            if option.is_list:
                value = table.read_list(option, value)
            elif option.is_count:
                value = option.read(str(min(value, 2)))
        except ValueError as error:
            raise UsageError(f"{flag}: {error}") from error
        given[option.field] = (value, flag if value is not False else option.off_flags[0])
    return given


def user_command(options: argparse.Namespace) -> list[str]:
    """Return the words of the user's command, without the `--` before it. Raises UsageError."""
    command = list(options.command)
    if command and command[0] == "--":
        return command[1:]
    if command and command[0].startswith("-"):
        raise UsageError(f"{command[0]} where the program should be; options go before the program")
    return command
