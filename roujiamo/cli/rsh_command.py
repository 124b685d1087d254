"""`roujiamo rsh`: the shim by its long name. It replaces this process, so nothing of the command's cost stays."""

from __future__ import annotations

import argparse
import os
from typing import Any

from roujiamo.run.launcher import shim_folder


def add(commands: Any) -> None:
    """Add `rsh` to the subcommands."""
    parser = commands.add_parser(
        "rsh",
        help="run a command on a host of a session, as ssh would",
        description="Run a command on a host of a session, as ssh would (the same as roujiamo-rsh).",
        add_help=False,
        # No word of the line is an option of argparse's: `rsh -n HOST …`, `rsh --help` and all else is the shim's.
        prefix_chars="\0",
    )
    parser.add_argument("arguments", metavar="[options] HOST COMMAND ...", nargs=argparse.REMAINDER)
    parser.set_defaults(function=run)


def run(options: argparse.Namespace) -> int:
    """Become the shim. Raises RoujiamoError."""
    shim = os.path.join(shim_folder(), "roujiamo-rsh")
    os.execv(shim, ["roujiamo-rsh", *options.arguments])
