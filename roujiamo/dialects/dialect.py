"""What all dialects have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

AGENT = "roujiamo-rsh"

# The hosts for launchers, in the forms that they read, and for other tools and people; in the session's folder.
SLOTS_HOSTFILE = "hostfile.slots"
COLON_HOSTFILE = "hostfile.colon"
REPEATED_HOSTFILE = "hostfile.repeated"
SHOWN_HOSTFILE = "hostfile"


class LaunchHost(NamedTuple):
    """One host as the launcher is told it: `name` (or a numeric alias), and how many processes it takes.

    `shown`: the name for people and for other tools, "" where it is the same. `is_here`: the host's addresses and ports
    are the launch host's own. `interface`: its own name for the interface on which it called back, "" if not known.
    """

    name: str
    slots: int
    shown: str = ""
    is_here: bool = False
    interface: str = ""


class LaunchPlan(NamedTuple):
    """What a launcher is to do.

    `folder`: the session's, with the hostfiles in it. `bind`: ranks to cores. `network`: the one that MPI's connections
    take, in CIDR notation. `interface`: the launch host's own name for its interface there. `ports`: for
    MPI's connections, low and high. `prefix`: where the MPI is installed on the hosts. None: nothing is said.
    """

    hosts: Sequence[LaunchHost]
    folder: str
    bind: bool = False
    network: str | None = None
    interface: str | None = None
    ports: tuple[int, int] | None = None
    prefix: str | None = None

    @property
    def hostfile(self) -> str:
        """The path of the hostfile with lines `name slots=N`."""
        return f"{self.folder}/{SLOTS_HOSTFILE}"

    @property
    def colon_hostfile(self) -> str:
        """The path of the hostfile with lines `name:N`."""
        return f"{self.folder}/{COLON_HOSTFILE}"

    @property
    def repeated_hostfile(self) -> str:
        """The path of the hostfile with a line `name` for each slot."""
        return f"{self.folder}/{REPEATED_HOSTFILE}"


def hostfiles(hosts: Sequence[LaunchHost]) -> dict[str, str]:
    """Return the text of each hostfile, by its name in the session's folder."""
    return {
        # mpirun(1) of Open MPI, --hostfile.
        SLOTS_HOSTFILE: "".join(f"{host.name} slots={host.slots}\n" for host in hosts),
        SHOWN_HOSTFILE: "".join(f"{host.shown or host.name} slots={host.slots}\n" for host in hosts),
        # MPICH wiki, "Using the Hydra Process Manager".
        COLON_HOSTFILE: "".join(f"{host.name}:{host.slots}\n" for host in hosts),
        REPEATED_HOSTFILE: "".join(f"{host.name}\n" * host.slots for host in hosts),
    }


class Dialect(NamedTuple):
    """One MPI's way of being told about hosts and the rsh agent.

    `versions`: patterns, of which one is found in what `mpiexec --version` prints. `daemon`: the program that it starts
    on each host. `environment(plan)`: the variables for its mpiexec. `arguments(plan)`: what only its command line
    takes; `instead_of_arguments`: the variables that come nearest, for where the user writes it. `refusal(plan, words,
    variables)`: why it would hang, or run ranks outside the tasks, with the user's own mpiexec arguments and variables,
    in one sentence; None where it would not.
    """

    name: str
    versions: tuple[str, ...]
    daemon: str
    environment: Callable[[LaunchPlan], Mapping[str, str]]
    refusal: Callable[[LaunchPlan, Sequence[str], Mapping[str, str]], str | None]
    arguments: Callable[[LaunchPlan], list[str]] = lambda plan: []
    instead_of_arguments: Mapping[str, str] = {}

    def recognises(self, version_text: str) -> bool:
        """Tell whether `version_text` is this MPI's."""
        return any(re.search(pattern, version_text) for pattern in self.versions)

    def is_daemon(self, command: str) -> bool:
        """Tell whether a remote command starts this MPI's daemon."""
        return re.search(rf"(^|[\s/;\"]){re.escape(self.daemon)}($|[\s\"])", command) is not None


def variables_for_ranks(ports: tuple[int, int]) -> dict[str, str]:
    """Return what ranks must find in their own environment, which no mpiexec of MPICH or Intel MPI passes on.

    The ports of UCX (its documentation, TCP_PORT_RANGE) and of libfabric's tcp provider (fi_tcp(7)).
    """
    low, high = map(str, ports)
    return {
        "UCX_TCP_PORT_RANGE": f"{low}-{high}",
        "FI_TCP_PORT_LOW_RANGE": low,
        "FI_TCP_PORT_HIGH_RANGE": high,
    }


def ports_refusal(plan: LaunchPlan) -> str | None:
    """Refuse fewer ports than a host's daemon and ranks need, each of which listens on one at least."""
    if plan.ports is None:
        return None
    low, high = plan.ports
    needed = max(host.slots for host in plan.hosts) + 1
    if high - low + 1 < needed:
        return (
            f"{low}-{high} (--mpi-ports) are fewer ports than the {needed} that the daemon and the processes of a host "
            "listen on; give more, or leave it out"
        )
    return None


def foreign_hosts(plan: LaunchPlan, arguments: Sequence[str], options: Sequence[str]) -> str | None:
    """Return a sentence where one of `options` (`-H a:2,b`) names a host that the session does not hold; else None."""
    names = {name.lower() for host in plan.hosts for name in (host.name, host.shown)}
    for option, value in pairwise(arguments):
        if option not in options:
            continue
        for entry in value.split(","):
            name = entry.partition(":")[0]
            if name and name.lower() not in names and not name.startswith("+"):
                held = ", ".join(host.shown or host.name for host in plan.hosts[:8])
                return (
                    f"{option} {value} names {name}, which is no host of the session: its ranks would run outside "
                    f"Mesos, or not at all; leave {option} out, or choose from {held}"
                )
    return None
