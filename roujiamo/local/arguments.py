"""The command line of the local cluster, shared by `python -m roujiamo.local` and `roujiamo local`.

Imports no more than it needs, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from roujiamo.mesos.master.state import Settings
from roujiamo.session.local_master import AGENT_CPUS, AGENT_DISK, AGENT_MEM

DESCRIPTION = "A Mesos master and agents on this machine, for trying and testing, until Ctrl-C."


def main_parser() -> argparse.ArgumentParser:
    """Build the parser."""
    parser = argparse.ArgumentParser(prog="roujiamo local", description=DESCRIPTION)
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the cluster's options."""
    size = parser.add_argument_group("the cluster")
    size.add_argument("--agents", type=_count, metavar="N", help="how many agents (default: 2)")
    size.add_argument(
        "--masters",
        type=_count,
        default=1,
        metavar="N",
        help="how many masters, on ports that follow each other; the first that lives leads (default: 1)",
    )
    size.add_argument(
        "--cpus", type=_amount, default=AGENT_CPUS, metavar="C", help="cpus of each agent (default: 4)"
    )
    size.add_argument(
        "--mem", type=_amount, default=AGENT_MEM, metavar="MB", help="memory of each (default: 4096)"
    )
    size.add_argument(
        "--disk", type=_amount, default=AGENT_DISK, metavar="MB", help="disk of each (default: 10240)"
    )
    size.add_argument(
        "--name-prefix",
        type=_name,
        default="agent",
        metavar="NAME",
        help="agents are NAME1, ... (default: agent)",
    )
    size.add_argument(
        "--names",
        type=_names,
        metavar="NAME,...",
        help="the agents' hostnames, one each; a name may come again (instead of --name-prefix)",
    )
    size.add_argument(
        "--attributes",
        type=_attributes,
        default=[],
        metavar="A:V;...",
        help="attributes of the agents: zone:a;rack:r1",
    )
    size.add_argument(
        "--enforce-memory",
        action="store_true",
        help="destroy tasks that use more memory than they asked for, as Mesos's isolator cgroups/mem does",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--host", default="127.0.0.1", metavar="ADDR", help="address to bind (default: 127.0.0.1)"
    )
    where.add_argument(
        "--port", type=_port, default=5050, help="the master's port; 0 for a free one (default: 5050)"
    )
    where.add_argument(
        "--netns",
        action="append",
        default=[],
        metavar="NAME",
        help="network namespace (see ip-netns(8)) of the next agent; give one for each; needs root",
    )
    where.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="folder for the sandboxes (default: temporary, removed)",
    )
    master = parser.add_argument_group("the master")
    master.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="frameworks must authenticate: a Mesos credentials file (JSON)",
    )
    master.add_argument(
        "--authenticate-all",
        action="store_true",
        help="who reads, or calls the operator API, must authenticate too",
    )
    defaults = Settings()
    for name, value, text in (
        ("allocation-interval", defaults.allocation_interval_seconds, "between two rounds of offers"),
        ("heartbeat-interval", defaults.heartbeat_interval_seconds, "between two HEARTBEAT events"),
        (
            "agent-ping-timeout",
            defaults.agent_ping_seconds,
            "between two pings of an agent; it is lost after 5",
        ),
        ("agent-removal-timeout", defaults.agent_removal_seconds, "from an agent's death to its removal"),
        ("update-retry", defaults.update_retry_seconds, "until an update is sent again"),
    ):
        help_text = f"{text} (default: {value:g})"
        master.add_argument(f"--{name}", type=_amount, default=value, metavar="SECONDS", help=help_text)
    master.add_argument(
        "--offer-timeout",
        type=_amount,
        metavar="SECONDS",
        help="after which an offer that nobody used is withdrawn (default: never)",
    )
    for name, what in (("master", "a master"), ("agents", "an agent")):
        master.add_argument(
            f"--restart-{name}",
            type=_amount,
            metavar="SECONDS",
            help=f"start {what} whose process was killed again after so long (default: never)",
        )
    programs = parser.add_argument_group("for programs that start a cluster")
    programs.add_argument(
        "--ready-fd",
        type=int,
        metavar="FD",
        help='descriptor to write {"master": "HOST:PORT"} to when all is there',
    )
    programs.add_argument(
        "--owner-fd", type=int, metavar="FD", help="descriptor whose end of file ends the cluster"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of processes")
    return int(text)


def _name(text: str) -> str:
    # hostname(7), and a number behind it within the 64 characters that a kernel's hostname may have.
    if (
        not 1 <= len(text) <= 58
        or not text.isascii()
        or text[0] in "-."
        or not text.replace("-", "").replace(".", "").isalnum()
    ):
        raise argparse.ArgumentTypeError(f"'{text}' is no beginning of a hostname")
    return text


def _names(text: str) -> list[str]:
    return [_name(name) for name in text.split(",")]


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port")
    return int(text)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e12:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return value


def _attributes(text: str) -> list[dict[str, Any]]:
    """Mesos's form: `name:value;name:value`; a number becomes a scalar."""
    attributes: list[dict[str, Any]] = []
    for part in filter(None, text.split(";")):
        name, colon, value = part.partition(":")
        if not colon or not name or not value:
            raise argparse.ArgumentTypeError(f"'{part}' is no attribute; write name:value")
        try:
            attributes.append({"name": name, "type": "SCALAR", "scalar": {"value": float(value)}})
        except ValueError:
            attributes.append({"name": name, "type": "TEXT", "text": {"value": value}})
    return attributes
