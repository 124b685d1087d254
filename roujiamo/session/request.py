"""The request for a session: all that a broker is told when it starts.

Built by the program that wants the session (run, alloc, the shim without a wrapper), read by the broker from its
control connection, never from its argv: it may hold a secret. The broker trusts it as far as its types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from roujiamo.errors import UsageError
from roujiamo.mesos.framework_info import FAILOVER_TIMEOUT_SECONDS

# Agents give a command executor 32 MB of the task's own; a daemon, the proxy and /dev/shm segments need the rest.
DEFAULT_OVERHEAD_MEM = 128.0
DEFAULT_MEM = 256.0
DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_RECONNECT_GRACE_SECONDS = 5.0
# Connections to hosts are pinged at a third of it, which keeps most firewalls from forgetting them.
DEFAULT_KEEPALIVE_SECONDS = 45.0

_LISTS = ("constraints", "only_hosts", "exclude_hosts", "volumes", "devices", "rlimits", "uris")


class SessionRequest(NamedTuple):
    """What to allocate and how. Memory and disk in MB, times in seconds.

    `cpus_per_host` and `mem_per_host`, where given, take the place of what each process gets. Constraints, volumes and
    limits are as the user writes them, and so are roles, joined by commas.

    `folder` (of the session) and `owner_pid` come from the program that starts the broker; `user` "" is that program's.

    `is_on_demand`: no gang; hosts are had one by one, as remote commands name them, and the session ends with its owner
    alone, whose start time (clock ticks, proc(5)) is `owner_start`. `slots_by_host` are what the launcher's command
    line gives to the hosts it names, `slots_per_host` what any other host gets.

    `shims_explain`: where a launcher's daemon fails, its shim says why: no program of ours waits for the launcher.

    `time_limit_seconds`: how long the session may last from the moment that its hosts are ready, 0 for as long as it
    likes; one that is on demand, from its start.

    `tells_moments`: the owner wants to know what happens to each host when (`--timeline`).
    """

    master: str
    name: str = ""
    user: str = ""
    folder: str = ""
    owner_pid: int = 0
    owner_start: int = 0
    role: str = "*"
    principal: str | None = None
    secret: str | None = None
    nodes: int | None = None
    processes: int | None = None
    cpus_per_process: float = 1.0
    mem_per_process: float = DEFAULT_MEM
    disk_per_process: float = 0.0
    gpus_per_process: float = 0.0
    cpus_per_host: float | None = None
    mem_per_host: float | None = None
    disk_per_host: float = 0.0
    gpus_per_host: float = 0.0
    overhead_cpus: float = 0.0
    overhead_mem: float = DEFAULT_OVERHEAD_MEM
    max_slots_per_host: int | None = None
    exclusive: bool = False
    spread: bool = False
    constraints: tuple[str, ...] = ()
    only_hosts: tuple[str, ...] = ()
    exclude_hosts: tuple[str, ...] = ()
    image: str | None = None
    containerizer: str = "mesos"
    force_pull: bool = False
    volumes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    shm_size_mb: float | None = None
    rlimits: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    prefix: str | None = None
    environment: Mapping[str, str] = {}
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    time_limit_seconds: float = 0.0
    reconnect_grace_seconds: float = DEFAULT_RECONNECT_GRACE_SECONDS
    keepalive_seconds: float = DEFAULT_KEEPALIVE_SECONDS
    failover_timeout_seconds: float = FAILOVER_TIMEOUT_SECONDS
    callback_address: str | None = None
    callback_ports: tuple[int, int] | None = None
    verbosity: int = 0
    log_file: str | None = None
    log_json: str | None = None
    is_on_demand: bool = False
    slots_by_host: Mapping[str, int] = {}
    slots_per_host: int = 1
    shims_explain: bool = False
    tells_moments: bool = False

    def __repr__(self) -> str:
        # Neither the secret nor the user's variables get into a log with it.
        return f"SessionRequest({self.name!r} at {self.master!r})"

    def to_json(self) -> str:
        """Return the request as one line of JSON."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str | bytes) -> SessionRequest:
        """Return the request that `to_json` gave. Raises UsageError where it is none."""
        try:
            values: dict[str, Any] = json.loads(text)
            for name in _LISTS:
                values[name] = tuple(values.get(name, ()))
            if values.get("callback_ports") is not None:
                low, high = values["callback_ports"]
                values["callback_ports"] = (int(low), int(high))
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"the broker was not given a session request it can read: {error}") from error
