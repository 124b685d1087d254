"""The hosts of an on-demand session: each is asked for when a remote command first names it.

Runs in the broker. Without a wrapper nobody says beforehand which hosts a launcher will use: its shims name them, all
at once or, down a tree, late. So there is no gang here. A name is looked up among the agents that the master knows, as
users mean names; the agent is asked for by its id, and the commands wait until the host is ready.

A name that no agent has, an agent that is too small, and one that fails twice are refused at once. A host that cannot
be had in time ends the session: what it has got is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from roujiamo.broker.hosts import READY, Host
from roujiamo.errors import (
    AllocationError,
    AllocationTimeout,
    HostUnknown,
    RemoteCommandError,
    RoujiamoError,
)
from roujiamo.mesos.decisions import Decision
from roujiamo.mesos.gang import GangAllocator
from roujiamo.mesos.offers import Agent, parse_agent
from roujiamo.protocol.channel import CLOSED
from roujiamo.protocol.route import Route
from roujiamo.session.names import HostIndex, HostName, normal
from roujiamo.session.request import SessionRequest

log = logging.getLogger(__name__)

_REFUSED = RemoteCommandError.exit_status
# On one agent; the allocator gives it up then (roujiamo.mesos.eligibility).
MAX_FAILURES = 2

Apply = Callable[[list[Decision]], None]


class NamedHosts:
    """The commands that wait for their hosts, and what has been asked for."""

    def __init__(
        self,
        request: SessionRequest,
        allocator: GangAllocator,
        apply: Apply,
        ask_agents: Callable[[], None],
        end: Callable[[RoujiamoError], None],
    ) -> None:
        """`apply` carries decisions out, `ask_agents` has `on_agents` called, `end` ends the session."""
        self._request = request
        self._allocator = allocator
        self._apply = apply
        self._ask_agents = ask_agents
        self._end = end
        self._loop = asyncio.get_running_loop()
        # The agents that are connected, and all that the master knows.
        self._indices: tuple[HostIndex[str], ...] = ()
        self._slots: dict[str, int] = {}
        self._listed: list[dict[str, Any]] | None = None
        self._is_list_withheld = False
        # Commands whose name is not looked up yet; then by what their host was asked for, an agent's id or its name.
        self._unplaced: list[Route] = []
        self._waiting: dict[str, list[Route]] = {}
        self._hosts: dict[str, Host] = {}
        self._failures: Counter[str] = Counter()
        self.trouble = ""  # what kept the master from answering, last

    @property
    def is_waiting(self) -> bool:
        """Whether a command waits for its host."""
        return bool(self._unplaced or self._waiting)

    def place(self, route: Route) -> None:
        """Run the route's command on the host that it names, as soon as that is ready."""
        self._loop.call_later(self._request.timeout_seconds, self._on_late, route)
        if self._listed is None and not self._is_list_withheld:
            # The list is asked for at each subscription.
            self._unplaced.append(route)
        else:
            self._place(route, may_ask=True)

    def _place(self, route: Route, *, may_ask: bool) -> None:
        name = route.host.decode("utf-8", "replace")
        try:
            key = self._look_up(name)
        except HostUnknown as error:
            if may_ask and not self._is_list_withheld:
                # The agent may have come since the list was made.
                self._unplaced.append(route)
                self._ask_agents()
            else:
                route.acceptor_gone(_REFUSED, str(error))
            return
        host = self._hosts.get(key)
        if host is not None and (host.state == READY or host.was_ready):
            host.start_command(route)
            return
        if key in self._waiting:
            self._waiting[key].append(route)
            return
        self._waiting[key] = [route]
        self._ask_for(key, name)

    def _look_up(self, name: str) -> str:
        """Return what to ask the allocator for. Raises HostUnknown."""
        if not self._indices:
            return normal(name)
        connected, known = self._indices
        try:
            return connected.find(name)
        except HostUnknown:
            # One that is disconnected may come back; one that is ambiguous stays so.
            return known.find(name)

    def _ask_for(self, key: str, name: str) -> None:
        slots = self._slots.get(key) or self._request.slots_per_host
        log.info("asking for %s (%s) with %d slots", name, key, slots)
        self._apply(self._allocator.add_host(key, slots, self._loop.time()))
        if self._listed and key in self._waiting:
            impossible = self._allocator.is_impossible(self._listed)
            if impossible is not None:
                self._apply(self._allocator.withdraw_host(key, self._loop.time()))
                for route in self._waiting.pop(key, ()):
                    route.acceptor_gone(_REFUSED, f"{impossible}; what a process needs is in {_SIZES}")

    def on_agents(self, listed: list[dict[str, Any]]) -> None:
        """Take in the master's list of agents. Raises ProtocolError."""
        agents = {agent.id: agent for agent in map(parse_agent, listed)}
        connected = {key: agent for key, agent in agents.items() if agent.is_active}
        self._indices = (HostIndex(_names_of(connected), "agent"), HostIndex(_names_of(agents), "agent"))
        self._listed = listed
        self._read_slots()
        self._place_all()

    def _read_slots(self) -> None:
        """Learn how many processes the launcher's command line puts on each agent, as far as it says so."""
        self._slots = {}
        for name, slots in self._request.slots_by_host.items():
            with contextlib.suppress(HostUnknown):
                key = self._look_up(name)
                self._slots[key] = self._slots.get(key, 0) + slots

    def on_list_withheld(self, why: str) -> None:
        """The master does not tell its agents: hosts are known by their offers alone."""
        if self._listed is None:
            log.warning("%s", why)
            self._is_list_withheld = True
            self._read_slots()
        self._place_all()

    def _place_all(self) -> None:
        unplaced, self._unplaced = self._unplaced, []
        for route in unplaced:
            self._place(route, may_ask=False)

    def on_launched(self, key: str, host: Host) -> None:
        """The host that was asked for by `key` is being launched."""
        self._hosts[key] = host

    def on_ready(self, host: Host) -> None:
        """Run what waits for the host."""
        for key in [key for key, each in self._hosts.items() if each is host]:
            for route in self._waiting.pop(key, ()):
                host.start_command(route)

    def on_failed(self, host: Host, sentence: str) -> None:
        """A host was lost before it was ready; its agent has one more chance."""
        if not host.is_offer_void:
            self._failures[host.agent_id] += 1
        if self._failures[host.agent_id] >= MAX_FAILURES:
            self._end(AllocationError(sentence))

    def _on_late(self, route: Route) -> None:
        waits = route in self._unplaced or any(route in routes for routes in self._waiting.values())
        if not waits or route.state == CLOSED:
            return
        name = route.host.decode("utf-8", "replace")
        missing = self.trouble if self._unplaced else self._allocator.explain(self._listed)
        if self.trouble and self.trouble not in missing:
            missing = f"{missing} ({self.trouble})"
        self._end(
            AllocationTimeout(
                f"the host {name} could not be had in {self._request.timeout_seconds:g} s (ROUJIAMO_TIMEOUT): "
                f"{missing or 'the master has not answered'}; the session gives back what it has"
            )
        )

    def close(self, sentence: str) -> None:
        """Refuse all that waits."""
        for route in [*self._unplaced, *(each for routes in self._waiting.values() for each in routes)]:
            route.acceptor_gone(_REFUSED, sentence)
        self._unplaced.clear()
        self._waiting.clear()


_SIZES = "ROUJIAMO_CPUS and ROUJIAMO_MEM, what a host needs besides in ROUJIAMO_OVERHEAD_CPUS and ROUJIAMO_OVERHEAD_MEM"


def _names_of(agents: Mapping[str, Agent]) -> dict[str, HostName]:
    return {key: HostName(agent.hostname, (agent.id, *_address(agent))) for key, agent in agents.items()}


def _address(agent: Agent) -> Iterable[str]:
    return (agent.address,) if agent.address else ()
