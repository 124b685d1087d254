"""Intel MPI's Hydra. Pure. Variables: Intel MPI Library Developer Reference, "Hydra Environment Variables".

From 17 hosts on its daemons `hydra_bstrap_proxy` start one another (I_MPI_HYDRA_BRANCH_COUNT, -branch-count),
through the agent on its own host's PATH.

Its mpiexec passes its environment on to the ranks, and only an argument (-genvnone) stops that: in an allocation, where
the user calls it, it is the user's to give.
"""

from __future__ import annotations

from collections.abc import Mapping

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchPlan
from roujiamo.dialects.hydra import refusal


def environment(plan: LaunchPlan) -> Mapping[str, str]:
    """Return Intel MPI's variables for `plan`."""
    settings = {
        "I_MPI_HYDRA_BOOTSTRAP": "rsh",
        "I_MPI_HYDRA_BOOTSTRAP_EXEC": AGENT,
        # Ranks on the launch host would run outside the tasks.
        "I_MPI_HYDRA_BOOTSTRAP_AUTOFORK": "0",
    }
    slots = {host.slots for host in plan.hosts}
    if len(slots) == 1:
        settings["I_MPI_HYDRA_HOST_FILE"] = plan.colon_hostfile
        settings["I_MPI_PERHOST"] = str(slots.pop())
    else:
        # It does not heed a hostfile's `:N` by itself; a line for each slot gives each host its share.
        settings["I_MPI_HYDRA_HOST_FILE"] = plan.repeated_hostfile
        settings["I_MPI_PERHOST"] = "1"
    if not plan.bind:
        settings["I_MPI_PIN"] = "off"
    if plan.interface is not None:
        settings["I_MPI_HYDRA_IFACE"] = plan.interface
        if any(host.interface not in ("", plan.interface) for host in plan.hosts):
            # A daemon that starts others takes the launch host's name for its own interface: start all from here.
            settings["I_MPI_HYDRA_BRANCH_COUNT"] = str(len(plan.hosts))
    settings.update(_for_ranks(plan))
    if plan.ports is not None:
        settings["I_MPI_PORT_RANGE"] = f"{plan.ports[0]}:{plan.ports[1]}"
    return settings


def arguments(plan: LaunchPlan) -> list[str]:
    """Return what no variable says: ranks host by host, and not with all of mpiexec's environment."""
    words = ["-machinefile", plan.colon_hostfile, "-genvnone"]
    for name, value in _for_ranks(plan).items():
        words += ["-genv", name, value]
    return words


def _for_ranks(plan: LaunchPlan) -> dict[str, str]:
    """What the ranks' libfabric must know: its tcp provider would take any interface (fi_tcp(7))."""
    names = {host.interface for host in plan.hosts}
    return (
        {"FI_TCP_IFACE": names.pop()}
        if plan.network is not None and len(names) == 1 and "" not in names
        else {}
    )


DIALECT = Dialect(
    name="Intel MPI",
    versions=(r"Intel\(R\) MPI Library",),
    daemon="hydra_bstrap_proxy",
    environment=environment,
    refusal=refusal,
    arguments=arguments,
)
