"""Open MPI 2 to 4: ORTE, whose daemon is `orted`. Pure.

Every setting is an MCA parameter in the environment (Open MPI FAQ, "Running MPI jobs": OMPI_MCA_<name>), so what the
user says on mpiexec's command line goes before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchHost


def hostfile_line(host: LaunchHost) -> str:
    """Return `name slots=N` (mpirun(1), --hostfile)."""
    return f"{host.name} slots={host.slots}"


def environment(hostfile: str, hosts: Sequence[LaunchHost], bind: bool) -> Mapping[str, str]:
    """Return the MCA parameters for `hosts`."""
    settings = {
        "OMPI_MCA_plm": "rsh",
        "OMPI_MCA_plm_rsh_agent": AGENT,
        "OMPI_MCA_orte_default_hostfile": hostfile,
        # Names are cut at the first dot otherwise, and two agents may differ only behind it.
        "OMPI_MCA_orte_keep_fqdn_hostnames": "1",
        # More direct children than this is a silent deadlock: attached daemons never free their place.
        "OMPI_MCA_plm_rsh_num_concurrent": str(max(128, len(hosts) + 1)),
    }
    if not bind:
        # The first cores otherwise, the same ones for every job that shares an agent.
        settings["OMPI_MCA_hwloc_base_binding_policy"] = "none"
    return settings


def processes(number: int) -> list[str]:
    """Return `-n N` (mpirun(1))."""
    return ["-n", str(number)]


DIALECT = Dialect(
    name="Open MPI 4",
    versions=(r"\(OpenRTE\)", r"\(Open MPI\) [1-4]\."),
    daemon="orted",
    hostfile_line=hostfile_line,
    environment=environment,
    processes=processes,
)
