"""An agent of the local cluster: one process for each host, which runs tasks and serves their sandboxes.

Forked by the keeper; asyncio in here. It takes its hostname (see `namespaces`), registers with the master that leads
(the keeper carries what they say), and runs what that tells it to (see `workload`). To each new master it says hello
with all that the last one may have known. When the keeper is gone it ends its tasks and itself. As a subreaper it
inherits what a killed executor left, and kills it. It trusts the keeper; its HTTP port is open to whoever can reach it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from roujiamo.local import agent_http, work_folder
from roujiamo.local.children import become, end_adopted, end_descendants
from roujiamo.local.http_server import HttpServer, own_address
from roujiamo.local.links import Link
from roujiamo.local.namespaces import enter_network, take_hostname
from roujiamo.local.runs import Checkpoints
from roujiamo.local.workload import Identity, Workload
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.system.processes import become_subreaper, reap_children

# How long an agent that is told to stop lets its tasks end by themselves.
STOP_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class AgentOptions:
    """What the keeper tells an agent at its birth."""

    hostname: str
    host: str
    work_dir: Path
    is_temporary: bool
    total: Quantities
    attributes: list[dict[str, Any]]
    # Who may read its state and its sandboxes; None for everybody.
    credentials: dict[str, str] | None
    # The network namespace to live in, if not the keeper's.
    network: str | None
    # Whether tasks that use more memory than they asked for are destroyed.
    enforces_memory: bool
    # Why there is no hostname of its own, where there cannot be one.
    namespace_problem: str | None
    # Started again after its process was killed; by container id, the sockets of the executors that live on.
    is_restarted: bool
    stored: dict[str, int]


def run_agent(options: AgentOptions, keeper: socket.socket, store: socket.socket) -> NoReturn:
    """Be an agent in a freshly forked process, and exit."""
    status = 1
    held = None
    try:
        become(options.hostname, (keeper.fileno(), store.fileno(), *options.stored.values()))
        if options.is_temporary:
            held = work_folder.hold(options.work_dir.parent)
        become_subreaper()
        asyncio.run(_Agent(options, store).run(keeper))
        status = 0
    except BaseException as problem:  # noqa: BLE001  nothing may return into the keeper's code from here
        sys.stderr.write(f"roujiamo local: {options.hostname}: {type(problem).__name__}: {problem}\n")
        sys.stderr.flush()
    finally:
        end_descendants(0.0)
        if held is not None:
            shutil.rmtree(options.work_dir, ignore_errors=True)
            # The last agent of a killed keeper removes the folder of all.
            work_folder.remove_if_last(options.work_dir.parent, held)
        os._exit(status)


class _Agent:
    def __init__(self, options: AgentOptions, store: socket.socket) -> None:
        self._options = options
        self._checkpoints = Checkpoints(options.work_dir)
        self._host = options.host
        self._identity = Identity(options.hostname, options.work_dir)
        self._workload = Workload(
            self._identity, self._checkpoints, store, self._send, options.enforces_memory
        )
        self._keeper: Link | None = None
        self._started_at = time.time()
        self._namespace_problem = options.namespace_problem
        self._stop = asyncio.Event()
        self._stop_grace_seconds = 0.0

    async def run(self, keeper: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGCHLD, self._on_child_ended)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            loop.add_signal_handler(number, self._unregister)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if self._namespace_problem is None:
            self._namespace_problem = take_hostname(self._options.hostname)
        if self._options.network is not None:
            self._host = enter_network(self._options.network)
        identity, options = self._identity, self._options
        identity.shows_hostname = self._namespace_problem is None
        if self._options.is_restarted:
            identity.agent_id, identity.port = self._checkpoints.load_agent()
        else:
            self._checkpoints.clear()
        listener = self._listen()
        identity.ip, identity.port = own_address(listener)
        server = HttpServer(agent_http.AgentService(self._describe, options.credentials))
        await server.start(listener)
        self._keeper = await Link.over(keeper, self._on_master, self._stop.set)
        await self._workload.recover(self._options.stored)
        self._say_hello()
        await self._stop.wait()
        await self._workload.end(self._stop_grace_seconds)
        server.close()
        self._keeper.close()
        # The loop closes what signals are written to before it lets go of them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    def _listen(self) -> socket.socket:
        """On the port that it had before, or on a free one."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            return socket.create_server((self._host, self._identity.port), family=family)
        except OSError:
            return socket.create_server((self._host, 0), family=family)

    # What the master says.

    def _say_hello(self) -> None:
        hello = {
            "type": "hello",
            "agent_id": self._identity.agent_id,
            "hostname": self._identity.hostname,
            "ip": self._identity.ip,
            "port": self._identity.port,
            "problem": self._namespace_problem,
            "runs": [run.as_json() for run in self._workload.unsettled.values()],
        }
        self._send(hello)

    def _on_master(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "registered":
            self._identity.agent_id = message["agent_id"]
            self._checkpoints.save_agent(self._identity.agent_id, self._identity.port)
        elif kind == "new_master":
            self._say_hello()
        elif kind == "ping":
            self._send({"type": "pong"})
        elif kind == "stop":
            self._stop_grace_seconds = STOP_GRACE_SECONDS
            self._stop.set()
        else:
            self._workload.on_master(message)

    def _unregister(self) -> None:
        """SIGUSR1 and SIGTERM: leave the cluster in good order, as a Mesos agent does."""
        self._send({"type": "unregister"})
        self._stop_grace_seconds = STOP_GRACE_SECONDS
        self._stop.set()

    def _send(self, message: dict[str, Any]) -> None:
        if self._keeper is not None:
            self._keeper.send(message)

    def _on_child_ended(self) -> None:
        """Reap; and kill what a killed executor left, which is ours since."""
        if any(status != 0 for _, status in reap_children()):
            end_adopted({run.executor_pid for run in self._workload.running.values()})

    def _describe(self) -> agent_http.Description:
        return agent_http.Description(
            agent_id=self._identity.agent_id,
            hostname=self._identity.hostname,
            pid=self._identity.pid,
            started_at=self._started_at,
            total=self._options.total,
            attributes=self._options.attributes,
            work_dir=self._options.work_dir,
            running=list(self._workload.running.values()),
            completed=self._workload.completed,
        )
