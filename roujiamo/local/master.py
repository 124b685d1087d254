"""A master of the local cluster: one process; the pure state behind HTTP, agents behind the keeper.

Forked by the keeper, asyncio in here. Every event (a request, an agent's message, a timer) goes through the state, and
the actions that it asks for are done at once. It leads when the keeper says so; else it redirects to the one that does.
It may be killed at any moment: all that it knows is lost, and comes back from the agents. When the keeper is gone it
ends. Requests come from whoever can reach the port.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from typing import Any, NoReturn

from roujiamo.local.children import become
from roujiamo.local.http_server import HttpConnection, HttpServer, own_address
from roujiamo.local.links import Link
from roujiamo.mesos.master import agents, frameworks, reregistration
from roujiamo.mesos.master.http_api import HttpApi
from roujiamo.mesos.master.http_messages import Request, Response, compact
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import (
    AgentInfo,
    CloseStream,
    Event,
    MasterState,
    Settings,
    StartMachine,
    ToAgent,
)


@dataclass(frozen=True)
class MasterOptions:
    """What the keeper tells a master at its birth."""

    host: str
    # What each agent has.
    total: Quantities
    attributes: list[dict[str, Any]]
    credentials: dict[str, str] | None
    # Readers and operators have to authenticate too, with the master and with its agents.
    guards_all: bool
    settings: Settings


def run_master(options: MasterOptions, listener: socket.socket, keeper: socket.socket) -> NoReturn:
    """Be a master in a freshly forked process, and exit."""
    status = 1
    try:
        become("master", (listener.fileno(), keeper.fileno()))
        asyncio.run(_Master(options, listener).run(keeper))
        status = 0
    except BaseException as problem:  # noqa: BLE001  nothing may return into the keeper's code from here
        sys.stderr.write(f"roujiamo local: master: {type(problem).__name__}: {problem}\n")
        sys.stderr.flush()
    finally:
        os._exit(status)


class _Master:
    def __init__(self, options: MasterOptions, listener: socket.socket) -> None:
        self._options = options
        self._listener = listener
        # One clock for deadlines and timestamps: the time of day at the start, and the monotonic clock since.
        self._offset = time.time() - time.monotonic()
        host, port = own_address(listener)
        self._state = MasterState(
            options.settings, (host, port), self._now(), lambda: str(uuid.uuid4()), random.shuffle
        )
        self._api = HttpApi(
            self._state, options.credentials, _flags(options, port), guards_all=options.guards_all
        )
        self._server = HttpServer(self)
        self._keeper: Link | None = None
        self._streams: dict[str, HttpConnection] = {}
        # The keeper knows agents by number.
        self._numbers: dict[str, int] = {}
        self._agent_ids: dict[int, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._starting: asyncio.Future[None] | None = None
        self._stop = asyncio.Event()

    async def run(self, keeper: socket.socket) -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._keeper = await Link.over(keeper, self._on_keeper, self._stop.set)
        await self._stop.wait()
        self._server.close()
        self._keeper.close()

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

    # The keeper, and the agents behind it.

    def _on_keeper(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "leader":
            self._follow(message)
        elif kind == "agent":
            self._on_agent(message["number"], message["message"])
        elif kind == "agent_gone":
            agent_id = self._agent_ids.pop(message["number"], None)
            if agent_id is not None:
                del self._numbers[agent_id]
                agents.disconnected(self._state, agent_id, self._now())
        self._do_actions()

    def _follow(self, message: dict[str, Any]) -> None:
        self._api.leader = message["address"]
        if self._api.leader == self._state.authority:
            reregistration.lead(self._state, message["agent_ids"], self._now())
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._server.start(self._listener))

    def _on_agent(self, number: int, message: dict[str, Any]) -> None:
        if message["type"] == "hello":
            agent_id = self._register(message)
            self._agent_ids[number] = agent_id
            self._numbers[agent_id] = number
            self._tell_agent(agent_id, {"type": "registered", "agent_id": agent_id})
        elif number in self._agent_ids:
            agents.receive(self._state, self._agent_ids[number], message, self._now())

    def _register(self, hello: dict[str, Any]) -> str:
        options, now = self._options, self._now()
        info = AgentInfo(hello["hostname"], hello["ip"], hello["port"], options.total, options.attributes)
        if hello["agent_id"]:
            return reregistration.come_back(self._state, hello["agent_id"], info, hello["runs"], now).id
        return agents.add(self._state, info, now).id

    def _tell_agent(self, agent_id: str, message: dict[str, Any]) -> None:
        number = self._numbers.get(agent_id)
        if number is not None and self._keeper is not None:
            self._keeper.send({"type": "agent", "number": number, "message": message})

    # Time and actions.

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
                self._tell_agent(action.agent_id, action.message)
            elif isinstance(action, StartMachine) and self._keeper is not None:
                self._keeper.send({"type": "start", "hostname": action.hostname})
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


def _flags(options: MasterOptions, port: int) -> dict[str, str]:
    """What /flags shows: our options under the names of Mesos's."""
    settings = options.settings
    return {
        "agent_ping_timeout": f"{settings.agent_ping_seconds:g}secs",
        "allocation_interval": f"{settings.allocation_interval_seconds:g}secs",
        "authenticate_http_frameworks": "true" if options.credentials is not None else "false",
        "authenticate_http_readonly": "true" if options.guards_all else "false",
        "authenticate_http_readwrite": "true" if options.guards_all else "false",
        "hostname": options.host,
        "ip": options.host,
        "max_agent_ping_timeouts": str(settings.agent_ping_timeouts),
        "min_allocatable_resources": "cpus:0.01|mem:32",
        "port": str(port),
    }
