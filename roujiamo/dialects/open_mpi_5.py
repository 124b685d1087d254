"""Open MPI 5 and PRRTE: the launcher is `prterun`, the daemon `prted`. Pure.

PRRTE reads PRTE_MCA_<name>; it ignores the OMPI_MCA_ forms of its own parameters in the environment (since 5.0.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchHost
from roujiamo.dialects.open_mpi_4 import hostfile_line, processes


def environment(hostfile: str, hosts: Sequence[LaunchHost], bind: bool) -> Mapping[str, str]:
    """Return the MCA parameters for `hosts`."""
    settings = {
        "PRTE_MCA_plm": "ssh",
        # One word: a value with an equals sign in it is cut when it is passed on.
        "PRTE_MCA_plm_ssh_agent": AGENT,
        "PRTE_MCA_prte_default_hostfile": hostfile,
        "PRTE_MCA_prte_keep_fqdn_hostnames": "1",
        "PRTE_MCA_plm_ssh_num_concurrent": str(max(128, len(hosts) + 1)),
    }
    if not bind:
        settings["PRTE_MCA_hwloc_default_binding_policy"] = "none"
    return settings


DIALECT = Dialect(
    name="Open MPI 5",
    versions=(r"\(Open MPI\) [5-9]\.", r"\(PRRTE\)", r"prterun"),
    daemon="prted",
    hostfile_line=hostfile_line,
    environment=environment,
    processes=processes,
)
