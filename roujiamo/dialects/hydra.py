"""MPICH's Hydra, whose daemon is `hydra_pmi_proxy`. Pure. Variables: MPICH wiki, "Using the Hydra Process Manager"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchHost
from roujiamo.dialects.open_mpi_4 import processes


def hostfile_line(host: LaunchHost) -> str:
    """Return `name:N`."""
    return f"{host.name}:{host.slots}"


def environment(hostfile: str, hosts: Sequence[LaunchHost], bind: bool) -> Mapping[str, str]:
    """Return Hydra's variables for `hosts`."""
    return {
        "HYDRA_LAUNCHER": "ssh",
        "HYDRA_LAUNCHER_EXEC": AGENT,
        "HYDRA_HOST_FILE": hostfile,
        # Hydra starts the local host's proxy by itself otherwise, outside the task.
        "HYDRA_LAUNCHER_AUTOFORK": "0",
        "HYDRA_BINDING": "core" if bind else "none",
    }


DIALECT = Dialect(
    name="MPICH",
    versions=(r"HYDRA build details",),
    daemon="hydra_pmi_proxy",
    hostfile_line=hostfile_line,
    environment=environment,
    processes=processes,
)
