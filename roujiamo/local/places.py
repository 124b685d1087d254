"""The places of a local cluster: one for each master and agent there is to be, and the process that has it now.

Part of the keeper's process. A place outlives its process: a master's keeps the port, an agent's keeps the name, the id
that the master gave it, and the executors that live on without it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field

from roujiamo.errors import LocalClusterError
from roujiamo.local import fd_store
from roujiamo.local.http_server import own_address
from roujiamo.local.links import Link
from roujiamo.mesos.master.state import as_authority


@dataclass
class MasterPlace:
    """A master's place: its port, and the process that has it now."""

    listener: socket.socket | None
    address: tuple[str, int]
    pid: int = 0
    link: Link | None = None

    @property
    def authority(self) -> str:
        return as_authority(*self.address)


@dataclass
class AgentPlace:
    """An agent's place: its name, what outlives its process, and the process that has it now."""

    number: int
    hostname: str
    pid: int = 0
    link: Link | None = None
    agent_id: str = ""
    is_leaving: bool = False
    # It is to be started again once it has gone.
    is_awaited: bool = False
    # What its process sends copies of its executors' sockets over, and the copies.
    store_end: socket.socket | None = None
    store: fd_store.Store = field(default_factory=fd_store.Store)
    registered: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


def listen_all(host: str, port: int, count: int) -> list[MasterPlace]:
    """One listener for each master: on `port` and those that follow, or on free ones."""
    masters: list[MasterPlace] = []
    for number in range(count):
        listener = listen(host, port + number if port else 0)
        masters.append(MasterPlace(listener, own_address(listener)))
    return masters


def listen(host: str, port: int) -> socket.socket:
    """Listen there; raises LocalClusterError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        # create_server adds the address once more to the error's own text.
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise LocalClusterError(
            f"{host}:{port}: cannot listen there: {reason}; try --port 0 for a free port"
        ) from error
