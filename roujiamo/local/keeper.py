"""The keeper of the local cluster: starts masters and agents, carries what they say to each other, ends everything.

    python -m roujiamo.local: this process (asyncio) --socket pair--> one process for each master
                                                     --socket pair--> one process for each agent

It is the network between them: what an agent says goes to the master that leads, which is the first that lives. Each
of the others may be killed at any moment, and is started again where the options say so. The keeper is a subreaper:
what a killed agent leaves becomes its child and is killed, except the executors whose sockets it holds (see
`fd_store`). It trusts its children, and nobody else can reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roujiamo.errors import LocalClusterError
from roujiamo.local import fd_store
from roujiamo.local.agent import AgentOptions, run_agent
from roujiamo.local.children import end_adopted, fork
from roujiamo.local.links import Link
from roujiamo.local.master import MasterOptions, run_master
from roujiamo.local.namespaces import why_no_hostnames
from roujiamo.local.places import AgentPlace, MasterPlace, listen
from roujiamo.system.processes import reap_children

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

    masters: int
    port: int
    work_dir: Path | None
    # The agents' hostnames, which may be the same ones.
    hostnames: tuple[str, ...]
    master: MasterOptions
    # Network namespaces for the agents, one each; none: all live in the keeper's.
    networks: tuple[str, ...] = ()
    # Tasks that use more memory than they asked for are destroyed.
    enforces_memory: bool = False
    # Until what was killed is started again; None for never.
    restart_master_seconds: float | None = None
    restart_agents_seconds: float | None = None
    ready_fd: int | None = None
    owner_fd: int | None = None


class Keeper:
    """The running cluster."""

    def __init__(self, options: ClusterOptions, work_dir: Path, masters: list[MasterPlace]) -> None:
        self._options = options
        self._work_dir = work_dir
        self._masters = masters
        self._leader: MasterPlace | None = None
        self._agents = [
            AgentPlace(number, hostname) for number, hostname in enumerate(options.hostnames, start=1)
        ]
        self._namespace_problem: str | None = None
        self._has_said_problem = False
        self._failure: LocalClusterError | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._namespace_problem = why_no_hostnames()
        loop.add_signal_handler(signal.SIGCHLD, self._on_child_ended)
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        if self._options.owner_fd is not None:
            loop.add_reader(self._options.owner_fd, self._on_owner)
        try:
            for master in self._masters:
                await self._start_master(master)
            for agent in self._agents:
                await self._start_agent(agent)
            await self._wait_for_agents()
            if not self._stop.is_set():
                self._announce()
                await self._stop.wait()
        finally:
            await self._stop_all()
            # The loop closes what signals are written to before it lets go of them.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        if self._failure is not None:
            raise self._failure

    # Masters.

    async def _start_master(self, master: MasterPlace) -> None:
        if master.listener is None:
            master.listener = listen(*master.address)
        listener, options = master.listener, self._options.master
        ours, theirs = socket.socketpair()
        try:
            master.pid = fork(lambda: run_master(options, listener, theirs))
        except OSError as error:
            raise LocalClusterError(f"cannot start a master: {error.strerror}") from error
        finally:
            theirs.close()
        # From here on the port is open as long as that process lives.
        listener.close()
        master.listener = None
        link = await Link.over(ours, self._on_master, lambda: self._on_master_gone(master, link))
        master.link = link
        if self._leader is None:
            self._elect()
        else:
            self._tell_leader(master)

    def _on_master(self, message: dict[str, Any]) -> None:
        """A master's word for an agent, or for the agents of a machine that is up again."""
        if message["type"] == "start":
            for agent in self._agents:
                if agent.hostname.lower() == message["hostname"]:
                    self._bring_back(agent)
            return
        agent = self._agents[message["number"] - 1]
        words = message["message"]
        if words["type"] == "registered":
            agent.agent_id = words["agent_id"]
            agent.registered.set()
        elif words["type"] == "stop":
            agent.is_leaving = True
        if agent.link is not None:
            agent.link.send(words)

    def _bring_back(self, agent: AgentPlace) -> None:
        """Start an agent that was told to stop, as a new one; where it has not stopped yet, as soon as it has."""
        agent.is_awaited = agent.link is not None
        if agent.link is None:
            agent.agent_id, agent.is_leaving = "", False
            agent.registered.clear()
            self._restart(self._start_agent(agent))

    def _on_master_gone(self, master: MasterPlace, link: Link) -> None:
        if master.link is link:
            master.link = None
        if self._stop.is_set():
            return
        seconds = self._options.restart_master_seconds
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._restart, self._start_master(master))
        elif not any(one.link is not None for one in self._masters):
            self._fail(LocalClusterError("the master's process was killed, and with it the cluster ends"))
            return
        if master is self._leader:
            self._elect()

    def _elect(self) -> None:
        """The first master that lives leads; all agents come to it."""
        self._leader = next((one for one in self._masters if one.link is not None), None)
        if self._leader is None:
            return
        for master in self._masters:
            self._tell_leader(master)
        for agent in self._agents:
            if agent.link is not None:
                agent.link.send({"type": "new_master"})

    def _tell_leader(self, master: MasterPlace) -> None:
        if master.link is not None and self._leader is not None:
            agent_ids = [agent.agent_id for agent in self._agents if agent.agent_id]
            message = {"type": "leader", "address": self._leader.authority, "agent_ids": agent_ids}
            master.link.send(message)

    # Agents.

    def _folder_of(self, agent: AgentPlace) -> str:
        is_alone = self._options.hostnames.count(agent.hostname) == 1
        return agent.hostname if is_alone else f"{agent.hostname}-{agent.number}"

    async def _start_agent(self, agent: AgentPlace) -> None:
        options = AgentOptions(
            hostname=agent.hostname,
            host=self._options.master.host,
            work_dir=self._work_dir / self._folder_of(agent),
            is_temporary=self._options.work_dir is None,
            total=self._options.master.total,
            attributes=self._options.master.attributes,
            credentials=self._options.master.credentials if self._options.master.guards_all else None,
            network=self._options.networks[agent.number - 1] if self._options.networks else None,
            enforces_memory=self._options.enforces_memory,
            namespace_problem=self._namespace_problem,
            is_restarted=bool(agent.agent_id),
            stored={key: one.descriptor for key, one in agent.store.entries.items()},
        )
        ours, theirs = socket.socketpair()
        store, agents_store = fd_store.pair()
        try:
            options.work_dir.mkdir(parents=True, exist_ok=True)
            agent.pid = fork(lambda: run_agent(options, theirs, agents_store))
        except OSError as error:
            raise LocalClusterError(
                f"{self._work_dir}: cannot start {agent.hostname}: {error.strerror}"
            ) from error
        finally:
            theirs.close()
            agents_store.close()
        agent.gone.clear()
        agent.store_end = store
        asyncio.get_running_loop().add_reader(store, self._on_store, agent, store)
        agent.link = await Link.over(
            ours, lambda message: self._on_agent(agent, message), lambda: self._on_agent_gone(agent)
        )

    def _on_agent(self, agent: AgentPlace, message: dict[str, Any]) -> None:
        """An agent's word for the master that leads; lost where none does, to be said again to the next one."""
        if message["type"] == "unregister":
            agent.is_leaving = True
        if message["type"] == "hello" and message["problem"] is not None and not self._has_said_problem:
            self._has_said_problem = True
            self._say_no_namespaces(message["problem"])
        self._tell_master({"type": "agent", "number": agent.number, "message": message})

    def _tell_master(self, message: dict[str, Any]) -> None:
        if self._leader is not None and self._leader.link is not None:
            self._leader.link.send(message)

    def _on_store(self, agent: AgentPlace, store: socket.socket) -> None:
        if not agent.store.receive(store):
            self._close_store(store)

    def _close_store(self, store: socket.socket) -> None:
        if store.fileno() != -1:
            asyncio.get_running_loop().remove_reader(store)
            store.close()

    def _on_agent_gone(self, agent: AgentPlace) -> None:
        agent.link = None
        agent.gone.set()
        agent.registered.set()
        self._tell_master({"type": "agent_gone", "number": agent.number})
        if self._stop.is_set():
            return
        seconds = self._options.restart_agents_seconds
        loop = asyncio.get_running_loop()
        if seconds is not None and not agent.is_leaving and agent.agent_id:
            loop.call_later(seconds, self._restart, self._start_agent(agent))
        else:
            agent.store.clear()
            if agent.is_awaited:
                self._bring_back(agent)
        loop.call_later(STRAY_SECONDS, self._kill_strays)

    def _on_child_ended(self) -> None:
        """Reap; and kill what a killed executor left, where that was ours after its agent's death."""
        executors = {one.pid for agent in self._agents for one in agent.store.entries.values()}
        if any(pid in executors and status != 0 for pid, status in reap_children()):
            self._kill_strays()

    def _kill_strays(self) -> None:
        processes = {master.pid for master in self._masters} | {agent.pid for agent in self._agents}
        executors = {one.pid for agent in self._agents for one in agent.store.entries.values()}
        end_adopted(processes | executors)

    def _say_no_namespaces(self, problem: str) -> None:
        sys.stderr.write(
            f"roujiamo local: no UTS namespaces here ({problem}): tasks see this machine's own hostname, "
            "and their agent's name only in MESOS_HOSTNAME\n"
        )
        sys.stderr.flush()

    # Start and end.

    def _restart(self, start: Coroutine[Any, Any, None]) -> None:
        if self._stop.is_set():
            start.close()
            return

        async def guarded() -> None:
            try:
                await start
            except LocalClusterError as error:
                self._fail(error)

        self._restarting = asyncio.ensure_future(guarded())

    def _fail(self, error: LocalClusterError) -> None:
        self._failure = error
        self._stop.set()

    async def _wait_for_agents(self) -> None:
        await _wait_for_all(
            [agent.registered.wait() for agent in self._agents], unless=self._stop, seconds=START_SECONDS
        )
        if self._stop.is_set():
            return
        for agent in self._agents:
            if not agent.agent_id:
                how = (
                    "ended at its start"
                    if agent.gone.is_set()
                    else f"did not start within {START_SECONDS:.0f} s"
                )
                raise LocalClusterError(
                    f"{agent.hostname}: the agent's process {how}; see the lines above, or try fewer agents"
                )

    async def _stop_all(self) -> None:
        self._stop.set()
        for master in self._masters:
            if master.link is not None:
                master.link.close()
        stopping = [agent for agent in self._agents if agent.link is not None]
        for agent in stopping:
            if agent.link is not None:
                agent.link.send({"type": "stop"})
            agent.store.clear()
        ends = [agent.gone.wait() for agent in stopping]
        await _wait_for_all(ends, unless=self._hurry, seconds=STOP_SECONDS)
        for agent in self._agents:
            if agent.store_end is not None:
                self._close_store(agent.store_end)

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
        address, *others = [master.authority for master in self._masters]
        count = len(self._agents)
        standing_by = f", standing by: {' '.join(others)}" if others else ""
        sys.stdout.write(
            f"roujiamo local cluster (for trying and testing, not for production): master {address}, "
            f"{count} {'agent' if count == 1 else 'agents'}{standing_by}\n"
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
