"""The `roujiamo` command, and `ompirun.sh`: argument parsing, and the one place that prints an error.

Runs in the user's shell. Each subcommand lives in a module of its own with `add(subparsers)`; the programs behind them
are imported only when they are run, so that `--help` is quick and works without pymesos.
"""

from __future__ import annotations

import os
import sys

from roujiamo.errors import RoujiamoError
from roujiamo.system.programs import collect_rarely

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from roujiamo.cli.grammar import Command
    from roujiamo.system.broker_client import SessionClient

DESCRIPTION = "Run unmodified MPI programs on Apache Mesos."
EPILOG = """\
examples:
  roujiamo run -N 2 -n 4 --master m1:5050 ./a.out
  roujiamo alloc -N 2 -n 4 --master m1:5050         a shell that has hosts
  roujiamo run -N 2 -n 4 --master local ./a.out     no Mesos needed
  roujiamo doctor --master m1:5050                  would a run work from here?

`roujiamo COMMAND --help` tells of each; `roujiamo help` lists the documents.
What is the same for every run stands in ~/.config/roujiamo/roujiamo.toml.
"""


# The module of each command, in the order of the help: it is loaded where its command is wanted, or all are.
_MODULES = {
    "run": "run_command",
    "alloc": "alloc_command",
    "rsh": "rsh_command",
    "status": "status_command",
    "cancel": "status_command",
    "logs": "status_command",
    "doctor": "doctor_command",
    "local": "local_command",
    "completion": "completion_command",
    "help": "help_command",
}


def main_parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of `roujiamo`: of all its commands, or where `command` is one, without most of the others.

    `help` speaks of all of them.
    """
    from importlib import import_module

    from roujiamo.cli.parser import Parser

    parser = Parser(prog="roujiamo", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    one = command if command != "help" else ""
    for name in dict.fromkeys([_MODULES[one]] if one in _MODULES else _MODULES.values()):
        module = import_module(f"roujiamo.cli.{name}")
        if name in ("completion_command", "help_command"):
            module.add(commands, programs)
        else:
            module.add(commands)
    return parser


def programs() -> tuple[Command, ...]:
    """Return what each of our three programs understands on its command line."""
    from roujiamo.cli import help_command
    from roujiamo.cli.grammar import read_parser, read_rsh
    from roujiamo.cli.run_command import ompirun_parser

    parser = main_parser()
    names = [command.word for command in read_parser(parser).commands]
    main_program = read_parser(parser, words={"TOPIC": (*names, *help_command.topics())})
    return main_program, read_parser(ompirun_parser()), read_rsh("roujiamo-rsh")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `roujiamo` command; return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    command = words[0] if words else ""
    return _run(lambda: main_parser(command), "roujiamo", words, is_run=command == "run")


def ompirun_main(arguments: Sequence[str] | None = None) -> int:
    """Run `ompirun.sh`; return its exit status."""

    def parser() -> argparse.ArgumentParser:
        from roujiamo.cli.run_command import ompirun_parser

        return ompirun_parser()

    return _run(parser, "ompirun.sh", sys.argv[1:] if arguments is None else arguments, is_run=True)


def _run(
    parser: Callable[[], argparse.ArgumentParser], program: str, arguments: Sequence[str], *, is_run: bool
) -> int:
    _open_standard_descriptors()
    collect_rarely()
    client: SessionClient | None = None
    try:
        if is_run and _starts_session(arguments):
            # The first thing, as it has more to load than all that comes before it is asked (50 ms sooner).
            from roujiamo.system.broker_client import SessionClient

            client = SessionClient()
        try:
            options = parser().parse_args(arguments)
            options.client = client
            return int(options.function(options))
        finally:
            if client is not None:
                client.give_up()
    except RoujiamoError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read our stdout is gone; there is nobody to tell (and 141 is what a shell says of SIGPIPE).
            sys.stdout = None
            return 141
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
        print(f"{program}: the system refused: {what}", file=sys.stderr)
        return RoujiamoError.exit_status
    except KeyboardInterrupt:
        return 130


def _starts_session(arguments: Sequence[str]) -> bool:
    """Tell, from no more than a look, if a run of these words starts a session of its own, unless they are wrong."""
    other = ("-h", "--h", "-V", "--vers", "--dry")
    return (
        len(arguments) > 1
        and "ROUJIAMO_SOCKET" not in os.environ
        and not any(word.startswith(other) for word in arguments)
    )


def _open_standard_descriptors() -> None:
    """Open what the caller has closed of stdin, stdout and stderr: another file would take the number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the same
