"""`roujiamo status` and `roujiamo cancel`: arguments in the manner of squeue(1) and scancel(1)."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the commands that look at sessions to the subcommands."""
    status = commands.add_parser(
        "status",
        help="show your sessions on this machine",
        description="Show your sessions on this machine: hosts, slots, what runs there and what it uses.",
    )
    status.add_argument("session", nargs="*", metavar="SESSION", help="id or name (default: all)")
    status.add_argument("--json", action="store_true", help="print a JSON list")
    status.set_defaults(function=_status)
    cancel = commands.add_parser(
        "cancel",
        help="end sessions",
        description="End sessions: their tasks end, the hosts are given back, `roujiamo run` returns 1.",
    )
    cancel.add_argument("session", nargs="*", metavar="SESSION", help="id or name")
    cancel.add_argument("--all", action="store_true", help="all your sessions on this machine")
    cancel.set_defaults(function=_cancel)


def _status(options: argparse.Namespace) -> int:
    from roujiamo.status.program import status

    return status(options.session, as_json=options.json)


def _cancel(options: argparse.Namespace) -> int:
    from roujiamo.status.program import cancel

    return cancel(options.session, everything=options.all)
