"""What a run was asked for, as the command line gives it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `roujiamo run`. Memory in MB, times in seconds; None where the user said nothing."""

    master: str
    command: tuple[str, ...]
    name: str | None = None
    nodes: int | None = None
    processes: int | None = None
    cpus_per_process: float = 1.0
    mem_per_process: float = 256.0
    overhead_cpus: float = 0.0
    overhead_mem: float = 128.0
    exclusive: bool = False
    role: str = "*"
    user: str | None = None
    principal: str | None = None
    secret: str | None = field(default=None, repr=False)
    image: str | None = None
    containerizer: str = "mesos"
    uris: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    timeout_seconds: float = 300.0
    reconnect_grace_seconds: float = 5.0
    callback_address: str | None = None
    callback_ports: tuple[int, int] | None = None
    mpiexec: str | None = None
    mpi_arguments: tuple[str, ...] = ()
    verbosity: int = 0
    quiet: bool = False
