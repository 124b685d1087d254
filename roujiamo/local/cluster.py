"""The local cluster's master process: starts the agents, serves the master's HTTP, ends everything.

    python -m roujiamo.local: this process (asyncio) --socket pair--> one process for each agent

The agents are forked before the event loop exists, so that they begin with one thread and nothing to inherit but their
end of the socket pair. Every event (a request, an agent's message, a timer) goes through the pure state, and the
actions that it asks for are done at once. The process is a subreaper: what a killed agent leaves becomes its child and
is killed. Requests come from whoever can reach the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roujiamo.errors import LocalClusterError
from roujiamo.local import work_folder
from roujiamo.local.agent import AgentOptions, run_agent
from roujiamo.local.children import end_adopted, end_descendants
from roujiamo.local.http_server import HttpConnection, HttpServer, own_address
from roujiamo.local.links import Link
from roujiamo.local.namespaces import why_no_hostnames
from roujiamo.mesos.master import agents, frameworks
from roujiamo.mesos.master.http_api import HttpApi
from roujiamo.mesos.master.http_messages import Request, Response, compact
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import CloseStream, Event, MasterState, Settings, ToAgent
from roujiamo.system.processes import become_subreaper, reap_children

# Until every agent has said that it is there.
START_SECONDS = 30.0
# Until every agent has ended its tasks (see the agent's own grace) and itself.
STOP_SECONDS = 6.0
# What an agent that was killed leaves kills itself within this time; then it is killed.
STRAY_SECONDS = 2.0

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class ClusterOptions:
    """What the command line chose."""

    agents: int
    host: str
    port: int
    work_dir: Path | None
    name_prefix: str
    total: Quantities
    attributes: list[dict[str, Any]]
    credentials: dict[str, str] | None
    settings: Settings
    ready_fd: int | None = None
    owner_fd: int | None = None


@dataclass
class _AgentProcess:
    pid: int
    hostname: str
    end: socket.socket
    link: Link | None = None
    agent_id: str | None = None
    hello: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


def run_cluster(options: ClusterOptions) -> None:
    """Serve until SIGINT, SIGTERM, SIGHUP or the owner's end; everything is ended and removed then.

    Raises LocalClusterError where the cluster cannot start.
    """
    become_subreaper()
    listener = _listen(options)
    # Until the event loop takes these signals: a cluster half begun must be ended as a whole one.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    work_dir = options.work_dir or work_folder.make()
    try:
        if options.work_dir is None:
            work_folder.hold(work_dir)
        problem = why_no_hostnames()
        processes = [
            _fork_agent(options, work_dir, problem, number) for number in range(1, options.agents + 1)
        ]
        asyncio.run(_Cluster(options, processes, listener).run())
    finally:
        end_descendants(0.0)
        if options.work_dir is None:
            shutil.rmtree(work_dir, ignore_errors=True)


def _listen(options: ClusterOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        where = f"{options.host}:{options.port}"
        # create_server adds the address once more to the error's own text.
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise LocalClusterError(
            f"{where}: cannot listen there: {reason}; try --port 0 for a free port"
        ) from error


def _fork_agent(options: ClusterOptions, work_dir: Path, problem: str | None, number: int) -> _AgentProcess:
    hostname = f"{options.name_prefix}{number}"
    agent_options = AgentOptions(
        hostname=hostname,
        host=options.host,
        work_dir=work_dir / hostname,
        is_temporary=options.work_dir is None,
        total=options.total,
        attributes=options.attributes,
        namespace_problem=problem,
    )
    try:
        agent_options.work_dir.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        pid = os.fork()
    except OSError as error:
        raise LocalClusterError(f"{work_dir}: cannot start {hostname}: {error.strerror}") from error
    if pid == 0:
        run_agent(agent_options, theirs)
    theirs.close()
    return _AgentProcess(pid, hostname, ours)


class _Cluster:
    """The running master: the pure state, and what connects it to the world."""

    def __init__(
        self, options: ClusterOptions, processes: list[_AgentProcess], listener: socket.socket
    ) -> None:
        self._options = options
        self._processes = processes
        self._listener = listener
        # One clock for deadlines and timestamps: the time of day at the start, and the monotonic clock since.
        self._offset = time.time() - time.monotonic()
        host, port = own_address(listener)
        self._state = MasterState(
            options.settings, (host, port), self._now(), lambda: str(uuid.uuid4()), random.shuffle
        )
        self._api = HttpApi(self._state, options.credentials, _flags(options, port))
        self._server = HttpServer(self)
        self._streams: dict[str, HttpConnection] = {}
        self._agents: dict[str, _AgentProcess] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, reap_children)
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        if self._options.owner_fd is not None:
            loop.add_reader(self._options.owner_fd, self._on_owner)
        try:
            for process in self._processes:
                await self._connect(process)
            await self._wait_for_agents()
            if not self._stop.is_set():
                await self._server.start(self._listener)
                self._announce()
                await self._stop.wait()
        finally:
            self._server.close()
            await self._stop_agents()
            # The loop closes what signals are written to before it lets go of them.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    # The HTTP server's service.

    def answer(self, request: Request) -> Response:
        """Answer one request; what else it causes is done once its response is on its way."""
        return self._api.answer(request, self._now())

    def on_answered(self, connection: HttpConnection, response: Response) -> None:
        if response.stream_id is not None:
            self._streams[response.stream_id] = connection
        self._do_actions()

    def on_stream_closed(self, stream_id: str) -> None:
        self._streams.pop(stream_id, None)
        frameworks.stream_closed(self._state, stream_id, self._now())
        self._do_actions()

    # Agents.

    async def _connect(self, process: _AgentProcess) -> None:
        def on_message(message: dict[str, Any]) -> None:
            self._on_agent(process, message)

        def on_end() -> None:
            self._on_agent_gone(process)

        process.link = await Link.over(process.end, on_message, on_end)

    def _on_agent(self, process: _AgentProcess, message: dict[str, Any]) -> None:
        if message["type"] == "hello":
            self._register(process, message)
        elif process.agent_id is not None:
            agents.receive(self._state, process.agent_id, message, self._now())
        self._do_actions()

    def _register(self, process: _AgentProcess, hello: dict[str, Any]) -> None:
        if hello["problem"] is not None and not any(one.hello.is_set() for one in self._processes):
            sys.stderr.write(
                f"roujiamo local: no UTS namespaces here ({hello['problem']}): tasks see this machine's own hostname, "
                "and their agent's name only in MESOS_HOSTNAME\n"
            )
            sys.stderr.flush()
        address = (hello["ip"], hello["port"])
        options = self._options
        agent = agents.add(
            self._state, process.hostname, address, options.total, options.attributes, self._now()
        )
        process.agent_id = agent.id
        self._agents[agent.id] = process
        if process.link is not None:
            process.link.send({"type": "registered", "agent_id": agent.id})
        process.hello.set()

    def _on_agent_gone(self, process: _AgentProcess) -> None:
        process.gone.set()
        process.link = None
        process.hello.set()
        if process.agent_id is not None:
            agents.disconnected(self._state, process.agent_id, self._now())
        self._do_actions()
        if not self._stop.is_set():
            asyncio.get_running_loop().call_later(STRAY_SECONDS, self._kill_strays)

    def _kill_strays(self) -> None:
        end_adopted({process.pid for process in self._processes if not process.gone.is_set()})

    async def _wait_for_agents(self) -> None:
        hellos = [process.hello.wait() for process in self._processes]
        await _wait_for_all(hellos, unless=self._stop, seconds=START_SECONDS)
        if self._stop.is_set():
            return
        for process in self._processes:
            if process.agent_id is None:
                how = (
                    "ended at its start"
                    if process.gone.is_set()
                    else f"did not start within {START_SECONDS:.0f} s"
                )
                raise LocalClusterError(
                    f"{process.hostname}: the agent's process {how}; see the lines above, or try fewer agents"
                )

    async def _stop_agents(self) -> None:
        self._stop.set()
        for process in self._processes:
            if process.link is not None:
                process.link.send({"type": "stop"})
        ends = [process.gone.wait() for process in self._processes if process.link is not None]
        await _wait_for_all(ends, unless=self._hurry, seconds=STOP_SECONDS)

    # Time, actions, owner.

    def _now(self) -> float:
        return time.monotonic() + self._offset

    def _on_timer(self) -> None:
        self._timer = None
        agents.tick(self._state, self._now())
        self._do_actions()

    def _do_actions(self) -> None:
        for action in self._state.take_actions():
            if isinstance(action, Event):
                connection = self._streams.get(action.stream_id)
                if connection is not None:
                    connection.send_event(compact(action.event))
            elif isinstance(action, CloseStream):
                connection = self._streams.pop(action.stream_id, None)
                if connection is not None:
                    connection.end_stream()
            elif isinstance(action, ToAgent):
                process = self._agents.get(action.agent_id)
                if process is not None and process.link is not None:
                    process.link.send(action.message)
        self._set_timer()

    def _set_timer(self) -> None:
        deadline = self._state.timers.next_deadline
        if deadline is None:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, deadline - self._now())
        if self._timer is not None:
            if self._timer.when() <= when + 0.001:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._on_timer)

    def _on_stop_signal(self) -> None:
        """Once: let the tasks end in their grace. Twice: now."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _on_owner(self) -> None:
        """The owner's end of the pipe was closed: whoever wanted this cluster is gone."""
        descriptor = self._options.owner_fd
        if descriptor is not None and not os.read(descriptor, 4096):
            asyncio.get_running_loop().remove_reader(descriptor)
            self._stop.set()

    def _announce(self) -> None:
        """Say that the cluster is there: on stdout for people, on `ready_fd` for programs."""
        address = self._state.authority
        count = len(self._processes)
        sys.stdout.write(
            f"roujiamo local cluster (for trying and testing, not for production): master {address}, "
            f"{count} {'agent' if count == 1 else 'agents'}\n"
        )
        sys.stdout.flush()
        if self._options.ready_fd is not None:
            with contextlib.suppress(OSError):
                # Nobody reads: then nobody waits either.
                os.write(self._options.ready_fd, json.dumps({"master": address}).encode() + b"\n")
                os.close(self._options.ready_fd)


async def _wait_for_all(
    waits: list[Coroutine[Any, Any, Any]], *, unless: asyncio.Event, seconds: float
) -> None:
    """Wait until all have ended, or `unless` is set, or the time is over."""
    pending: list[asyncio.Future[Any]] = [asyncio.ensure_future(unless.wait()), asyncio.gather(*waits)]
    await asyncio.wait(pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _flags(options: ClusterOptions, port: int) -> dict[str, str]:
    """What /flags shows: our options under the names of Mesos's."""
    settings = options.settings
    return {
        "agent_ping_timeout": f"{settings.agent_ping_seconds:g}secs",
        "allocation_interval": f"{settings.allocation_interval_seconds:g}secs",
        "authenticate_http_frameworks": "true" if options.credentials is not None else "false",
        "hostname": options.host,
        "ip": options.host,
        "max_agent_ping_timeouts": str(settings.agent_ping_timeouts),
        "min_allocatable_resources": "cpus:0.01|mem:32",
        "port": str(port),
    }
