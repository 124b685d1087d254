"""Several hosts on one machine: network namespaces on a bridge that lies in a namespace of its own.

Imported by the test process only; needs root and `ip` (iproute2). The machine's own network is not touched. Each host
has its address on the bridge and, like many a host with containers, a docker0 with the same address as all others':
who takes that one waits for ever. Namespaces are named after this process, so leftovers of a killed test run are known.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support import is_alive

_PREFIX = "rjtest"
# Several may be there at once.
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Network:
    """`launch`: the namespace to launch from, `address` its address there. `agents`: one namespace each."""

    launch: str
    address: str
    agents: tuple[str, ...]


def why_not() -> str | None:
    """Return why there can be no namespaces here; None where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need `ip` (Debian: iproute2)"
    name = f"{_PREFIX}{os.getpid()}-probe"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode != 0:
        return f"no network namespaces here: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


@contextlib.contextmanager
def network(agents: int) -> Iterator[Network]:
    """A launch host and so many agents' hosts, for the time of a with-block."""
    _sweep()
    stem = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    switch, hosts = f"{stem}-sw", [f"{stem}-{number}" for number in range(agents + 1)]
    try:
        _ip(f"netns add {switch}", *(f"netns add {host}" for host in hosts))
        _ip("link add br0 type bridge", "link set br0 up", inside=switch)
        for number, host in enumerate(hosts):
            _ip(f"link add eth0 netns {host} type veth peer name p{number}", inside=switch)
            _ip(f"link set p{number} master br0 up", inside=switch)
            _ip(
                f"addr add 10.77.0.{number + 1}/24 dev eth0",
                "link set eth0 up",
                "link set lo up",
                "link add docker0 type bridge",
                "link add veth0 type veth peer name veth1",
                "link set veth0 master docker0 up",
                "link set veth1 up",
                "addr add 172.17.0.1/16 dev docker0",
                "link set docker0 up",
                inside=host,
            )
        yield Network(hosts[0], "10.77.0.1", tuple(hosts[1:]))
    finally:
        for name in (*hosts, switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _ip(*commands: str, inside: str | None = None) -> None:
    where = ["-n", inside] if inside is not None else []
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(commands), text=True, check=True)


def _sweep() -> None:
    """Remove the namespaces of test runs that were killed."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    for line in listed.splitlines():
        name = line.split()[0]
        owner = re.fullmatch(rf"{_PREFIX}(\d+)-.*", name)
        if owner and not is_alive(int(owner.group(1))):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
