"""Dialects: what each MPI launcher must be told so that it starts its daemons through `roujiamo-rsh`.

Pure. One small module per MPI; `find` tells which one an mpiexec speaks from what `mpiexec --version` prints, never
from names. A dialect is a module-level `Dialect`; adding an MPI is adding a module and a row to KNOWN.
"""

from __future__ import annotations

from roujiamo.dialects import hydra, intel, open_mpi_4, open_mpi_5
from roujiamo.dialects.dialect import (
    AGENT,
    SHOWN_HOSTFILE,
    Dialect,
    LaunchHost,
    LaunchPlan,
    hostfiles,
    ports_refusal,
    variables_for_ranks,
)

KNOWN = (open_mpi_4.DIALECT, open_mpi_5.DIALECT, intel.DIALECT, hydra.DIALECT)

__all__ = [
    "AGENT",
    "KNOWN",
    "SHOWN_HOSTFILE",
    "Dialect",
    "LaunchHost",
    "LaunchPlan",
    "daemon_of",
    "environment_of_all",
    "find",
    "hostfiles",
    "ports_refusal",
    "variables_for_ranks",
]


def find(version_text: str) -> Dialect | None:
    """Return the dialect of the mpiexec that prints `version_text` for --version; None for one that is not known."""
    for dialect in KNOWN:
        if dialect.recognises(version_text):
            return dialect
    return None


def daemon_of(command: str) -> str | None:
    """Return which MPI's daemon a remote command starts; None where it starts none."""
    return next((dialect.daemon for dialect in KNOWN if dialect.is_daemon(command)), None)


def environment_of_all(plan: LaunchPlan) -> dict[str, str]:
    """Return the variables of every MPI together; each has names of its own."""
    settings: dict[str, str] = {}
    for dialect in KNOWN:
        settings |= {**dialect.environment(plan), **dialect.instead_of_arguments}
    return settings
