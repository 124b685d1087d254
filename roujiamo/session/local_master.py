"""The masters `local` and `local:N`: a cluster that a session starts for itself, and what its agents have. Pure."""

from __future__ import annotations

import re
from typing import Any

from roujiamo.errors import UsageError

DEFAULT_AGENTS = 2
AGENT_CPUS, AGENT_MEM, AGENT_DISK = 4.0, 4096.0, 10240.0


def is_local(master: str) -> bool:
    """Tell whether a session of this master starts a cluster for itself."""
    return master == "local" or master.startswith("local:")


def agent_count(master: str, hosts: int) -> int:
    """Return N of `local:N`; for `local` as many as the session wants hosts, at least DEFAULT_AGENTS.

    Raises UsageError.
    """
    _, _, count = master.partition(":")
    if not count:
        return max(DEFAULT_AGENTS, hosts)
    if re.fullmatch("[0-9]{1,4}", count) is None or not 1 <= int(count) <= 1000:
        raise UsageError(f"the master {master}: N in local:N is a number of agents from 1 to 1000")
    return int(count)


def agents_to_be(master: str, hosts: int) -> list[dict[str, Any]]:
    """Return the agents that such a cluster would have, as GET /slaves would list them. Raises UsageError."""
    resources = {"cpus": AGENT_CPUS, "mem": AGENT_MEM, "disk": AGENT_DISK}
    return [
        {"id": f"agent{number}", "hostname": f"agent{number}", "active": True, "resources": resources}
        for number in range(1, agent_count(master, hosts) + 1)
    ]
