"""Intel MPI's Hydra. Pure. Variables: Intel MPI Library Developer Reference, "Hydra Environment Variables"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchHost
from roujiamo.dialects.hydra import hostfile_line
from roujiamo.dialects.open_mpi_4 import processes


def environment(hostfile: str, hosts: Sequence[LaunchHost], bind: bool) -> Mapping[str, str]:
    """Return Intel MPI's variables for `hosts`."""
    settings = {
        "I_MPI_HYDRA_BOOTSTRAP": "rsh",
        "I_MPI_HYDRA_BOOTSTRAP_EXEC": AGENT,
        "I_MPI_HYDRA_HOST_FILE": hostfile,
    }
    if not bind:
        settings["I_MPI_PIN"] = "off"
    return settings


DIALECT = Dialect(
    name="Intel MPI",
    versions=(r"Intel\(R\) MPI Library",),
    daemon="hydra_bstrap_proxy",
    hostfile_line=hostfile_line,
    environment=environment,
    processes=processes,
)
