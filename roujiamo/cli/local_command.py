"""`roujiamo local`: a small Mesos cluster on this machine, in the foreground, for trying and testing."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add `local` to the subcommands."""
    parser = commands.add_parser(
        "local",
        help="run a small Mesos cluster on this machine, to try things on",
        description="Run a small Mesos cluster on this machine until Ctrl-C: for trying and testing, not for work.",
    )
    parser.add_argument("--agents", default="2", metavar="N", help="agents (default: %(default)s)")
    parser.add_argument(
        "--cpus", default="4", metavar="C", help="cpus that each offers (default: %(default)s)"
    )
    parser.add_argument(
        "--mem", default="4096", metavar="MB", help="memory that each offers (default: %(default)s)"
    )
    parser.add_argument(
        "--port", default="5050", metavar="P", help="port of the master (default: %(default)s)"
    )
    parser.set_defaults(function=run)


def run(options: argparse.Namespace) -> int:
    """Run the cluster; return its exit status."""
    from roujiamo.local import program

    return program.main(
        ["--agents", options.agents, "--cpus", options.cpus, "--mem", options.mem, "--port", options.port]
    )
