"""By which names a launcher is told the hosts: their own, or numeric aliases.

Runs in `roujiamo run` and `roujiamo alloc`. Trusts what the resolver says of a name no further than to avoid it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any

from roujiamo.dialects import LaunchHost
from roujiamo.system.resolver import resolvable

LOOKUP_SECONDS = 1.0
# Above this the names are not looked up at all: the launcher would look them up one after another, too.
LOOKUP_LIMIT = 64
OWN, OTHER, UNKNOWN = "own", "other", "unknown"


def launch_hosts(hosts: Sequence[Mapping[str, Any]], own_addresses: Container[str]) -> list[LaunchHost]:
    """Return the hosts as the launcher is to be told them, given the session's (name, alias, slots, facts).

    A name is kept where the launcher can look it up and it means another machine; otherwise its numeric alias is
    taken: Open MPI runs ranks of a host that it takes for its own outside Mesos (open-mpi/ompi issue 13154), and names
    that do not resolve cost it seconds.
    """
    names = [str(host["name"]) for host in hosts]
    meanings = look_up(names)
    are_unique = len(set(names)) == len(names)
    launched = []
    for name, host in zip(names, hosts, strict=True):
        alias, slots = str(host["alias"]), int(str(host["slots"]))
        shown = alias if meanings[name] == OWN or not are_unique else name
        told = name if meanings[name] == OTHER and are_unique else alias
        facts = host["facts"]
        is_here = facts.get("address") in own_addresses
        launched.append(LaunchHost(told, slots, shown, is_here, facts.get("interface", "")))
    return launched


def look_up(names: Sequence[str]) -> dict[str, str]:
    """Return for each name whether it resolves, soon, to this machine (OWN), to another (OTHER), or not (UNKNOWN)."""
    own = socket.gethostname().split(".")[0].lower()
    meanings = {name: OWN if name.split(".")[0].lower() in (own, "localhost") else UNKNOWN for name in names}

    def resolve(name: str) -> None:
        with contextlib.suppress(OSError, UnicodeError):
            entries = socket.getaddrinfo(resolvable(name), None, type=socket.SOCK_STREAM)
            meanings[name] = OWN if any(_is_local(str(entry[4][0])) for entry in entries) else OTHER

    wanted = [name for name in meanings if meanings[name] == UNKNOWN]
    threads = [threading.Thread(target=resolve, args=(name,), daemon=True) for name in wanted]
    if len(threads) <= LOOKUP_LIMIT:
        started = []
        # Where a limit of threads is reached, the rest is not looked up, and gets an alias.
        with contextlib.suppress(RuntimeError):
            for thread in threads:
                thread.start()
                started.append(thread)
        deadline = time.monotonic() + LOOKUP_SECONDS
        for thread in started:
            thread.join(max(deadline - time.monotonic(), 0))
    return dict(meanings)


def _is_local(address: str) -> bool:
    """Tell whether an address is one of this machine: only such an address can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True
