"""MPICH's Hydra, whose daemon is `hydra_pmi_proxy`. Pure. Variables: MPICH wiki, "Using the Hydra Process Manager".

Hydra starts the daemons of all hosts itself, one agent each, and has no limit on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchPlan, foreign_hosts


def environment(plan: LaunchPlan) -> Mapping[str, str]:
    """Return Hydra's variables for `plan`."""
    settings = {
        "HYDRA_LAUNCHER": "ssh",
        "HYDRA_LAUNCHER_EXEC": AGENT,
        "HYDRA_HOST_FILE": plan.colon_hostfile,
        # Hydra starts the local host's proxy by itself otherwise, outside the task.
        "HYDRA_LAUNCHER_AUTOFORK": "0",
        "HYDRA_BINDING": "core" if plan.bind else "none",
    }
    if plan.interface is not None:
        settings["HYDRA_IFACE"] = plan.interface
    if plan.ports is not None:
        settings["MPIEXEC_PORT_RANGE"] = f"{plan.ports[0]}:{plan.ports[1]}"
    return settings


def refusal(plan: LaunchPlan, arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """See `Dialect.refusal`."""
    for option, value in pairwise(arguments):
        if option in ("-launcher", "--launcher", "-bootstrap", "--bootstrap") and value not in ("ssh", "rsh"):
            return (
                f"{option} {value} would start the daemons outside the session's tasks; leave it out (ssh and rsh go "
                "through the session)"
            )
        is_agent = option.lstrip("-") in ("launcher-exec", "bootstrap-exec")
        if is_agent and value.rpartition("/")[2] != AGENT:
            return f"{option} {value} would start the daemons outside the session's tasks; leave it out"
    return foreign_hosts(plan, arguments, ("-hosts", "--hosts", "-host", "--host"))


def arguments(plan: LaunchPlan) -> list[str]:
    """Return `-envnone`: the environment of mpiexec goes to the ranks otherwise; --env goes through the tasks."""
    return ["-envnone"]


DIALECT = Dialect(
    name="MPICH",
    versions=(r"HYDRA build details",),
    daemon="hydra_pmi_proxy",
    environment=environment,
    refusal=refusal,
    arguments=arguments,
    # The same as -envnone, but that MPI_Comm_spawn fails with it ("duplicate setting: genv-prop", MPICH 5.0.2).
    instead_of_arguments={"HYDRA_ENV": "none"},
)
