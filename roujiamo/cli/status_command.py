"""`roujiamo status`, `cancel` and `logs`: arguments in the manner of squeue(1), scancel(1) and tail(1)."""

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
    logs = commands.add_parser(
        "logs",
        help="show what the hosts' tasks have written",
        description="Show what the proxies of a running session have written in their sandboxes, host by host.",
    )
    logs.add_argument("session", nargs="?", metavar="SESSION", help="id or name (default: the only one)")
    logs.add_argument(
        "--host", action="append", default=[], metavar="HOST", help="of this host only; may be given again"
    )
    logs.add_argument(
        "--stdout", dest="streams", action="append_const", const="stdout", help="stdout only (default: both)"
    )
    logs.add_argument("--stderr", dest="streams", action="append_const", const="stderr", help="stderr only")
    logs.add_argument(
        "-n", "--lines", type=_lines, metavar="N", help="the last N lines of each (default: all)"
    )
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the session ends")
    logs.set_defaults(function=_logs)


def _status(options: argparse.Namespace) -> int:
    from roujiamo.status.program import status

    return status(options.session, as_json=options.json)


def _cancel(options: argparse.Namespace) -> int:
    from roujiamo.status.program import cancel

    return cancel(options.session, everything=options.all)


def _logs(options: argparse.Namespace) -> int:
    from roujiamo.status.logs import logs
    from roujiamo.system.sandboxes import STREAMS

    return logs(
        options.session,
        hosts=options.host,
        streams=options.streams or STREAMS,
        lines=options.lines,
        follow=options.follow,
    )


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)
