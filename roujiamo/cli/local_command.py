"""`roujiamo local`: a small Mesos cluster in the foreground."""

from __future__ import annotations

import argparse
from typing import Any

from roujiamo.local.arguments import DESCRIPTION, add_arguments


def add(commands: Any) -> None:
    """Add `local` to the subcommands."""
    parser = commands.add_parser(
        "local", help="run a small Mesos cluster on this machine, to try things on", description=DESCRIPTION
    )
    add_arguments(parser)
    parser.set_defaults(function=run)


def run(options: argparse.Namespace) -> int:
    """Run the cluster; return its exit status."""
    from roujiamo.local import program

    return program.run(options)
