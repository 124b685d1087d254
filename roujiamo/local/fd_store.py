"""Executors' sockets that the keeper holds for an agent, so that its tasks outlive its death (systemd has FDSTORE=).

An agent sends the keeper a copy of its end of an executor's socket. While one of the copies is open the executor sees
no end of file; what it says meanwhile waits in the socket, and an agent that is started again inherits the copy. When
the keeper is gone too, so are all copies, and the executor ends its task.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import dataclass

# One message is a container's id and a pid.
MAX_MESSAGE = 4096


@dataclass(frozen=True)
class Stored:
    """One executor: its socket's copy, and its process."""

    descriptor: int
    pid: int


def pair() -> tuple[socket.socket, socket.socket]:
    """The keeper's end and an agent's end of the way by which the copies go; each message is one packet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def put(store: socket.socket, container_id: str, pid: int, descriptor: int) -> None:
    """In an agent: have the keeper hold a copy. A keeper that is gone takes none, as the agent learns soon."""
    message = json.dumps({"container_id": container_id, "pid": pid}).encode()
    with contextlib.suppress(OSError):
        socket.send_fds(store, [message], [descriptor])


def drop(store: socket.socket, container_id: str) -> None:
    """In an agent: the executor is over."""
    with contextlib.suppress(OSError):
        store.send(json.dumps({"container_id": container_id}).encode())


class Store:
    """In the keeper: the copies of one agent's executors, by container id."""

    def __init__(self) -> None:
        self.entries: dict[str, Stored] = {}

    def receive(self, end: socket.socket) -> bool:
        """Take one message; return False at the end, when the agent is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(end, MAX_MESSAGE, 1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        message = json.loads(data)
        container_id = message["container_id"]
        self._close(container_id)
        if descriptors:
            os.set_inheritable(descriptors[0], False)
            self.entries[container_id] = Stored(descriptors[0], message["pid"])
        return True

    def clear(self) -> None:
        """Let go of all: the executors end their tasks."""
        for container_id in list(self.entries):
            self._close(container_id)

    def _close(self, container_id: str) -> None:
        stored = self.entries.pop(container_id, None)
        if stored is not None:
            os.close(stored.descriptor)
