"""`roujiamo doctor`: the options of a run, to be looked at and not run."""

from __future__ import annotations

import argparse
from typing import Any

from roujiamo.cli.session_options import add_options, run_options


def add(commands: Any) -> None:
    """Add `doctor` to the subcommands."""
    parser = commands.add_parser(
        "doctor",
        help="tell whether a run would work from here",
        description="Look at this machine, the mpiexec and the master. Exit status 0 only when a run would work.",
        usage="roujiamo doctor [options] --master MASTER",
    )
    parser.add_argument(
        "--trial",
        action="store_true",
        help="run a small task on each agent (at most 8; --host names others) and mpiexec over it",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    add_options(parser)
    parser.set_defaults(function=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print what was found; return the exit status. Raises RoujiamoError."""
    from roujiamo.run.doctor import doctor as examine

    return examine(run_options(options, []), as_json=options.json, with_trial=options.trial)
