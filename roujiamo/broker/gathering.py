"""Gathering the hosts: from the master's offers to launched tasks, and what keeps the session waiting.

Runs in the broker (one task follows the driver's events, one after another). Trusts the driver. The decisions are the
gang allocator's (pure); what is launched becomes a host through `on_launch`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from roujiamo.broker.allocation import Allocation, Launch
from roujiamo.broker.cluster import PRINCIPAL, LocalCluster
from roujiamo.broker.driver import Driver
from roujiamo.broker.driver_process import DriverProcess
from roujiamo.broker.hosts import CONTACTED, LAUNCHING, LOST, Host
from roujiamo.broker.moments import Moments
from roujiamo.broker.named_hosts import NamedHosts
from roujiamo.broker.proxies import Proxies
from roujiamo.broker.reports import Reports
from roujiamo.broker.tasks import Tasks
from roujiamo.errors import AllocationTimeout, MasterError, MissingDependency, ProtocolError, RoujiamoError
from roujiamo.mesos.decisions import Decision
from roujiamo.session import timeline
from roujiamo.session.local_master import is_local
from roujiamo.session.request import SessionRequest

log = logging.getLogger(__name__)

# What is missing is said when it changes; the list of ten thousand agents is some megabytes.
EXPLAIN_SECONDS = 2.0
AGENTS_SECONDS = 20.0
DRIVER_RESTARTS = 3


class Gathering:
    """The session's framework. `named` is there in an on-demand session alone: nobody says beforehand which hosts."""

    def __init__(
        self,
        request: SessionRequest,
        allocation: Allocation,
        hosts: Mapping[str, Host],
        proxies: Proxies,
        moments: Moments,
        spawned_driver: DriverProcess | None,
        *,
        on_launch: Callable[[Launch], Host],
        is_ready: Callable[[], bool],
        end: Callable[[RoujiamoError], None],
        reports: Reports,
    ) -> None:
        """`on_launch` makes a host of a launch; `end` ends the session; `reports` tells the owner."""
        self.master = ""
        self.framework_id = ""
        self.named: NamedHosts | None = None
        self._request = request
        self._allocation = allocation
        self._allocator = allocation.allocator
        self._hosts = hosts
        self._proxies = proxies
        self._moments = moments
        self._spawned_driver = spawned_driver
        self._on_launch = on_launch
        self._is_ready = is_ready
        self._end = end
        self._reports = reports
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks(hosts, lambda: proxies.targets, self._on_task_running, self._warn, moments)
        if request.is_on_demand:
            self.named = NamedHosts(request, self._allocator, self._apply, self._ask_agents, end)
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # Who we are to the master, and the secret that proves it.
        self.credential: tuple[str | None, str | None] = (None, None)
        self._driver: Driver | None = None
        self._cluster: LocalCluster | None = None
        self._driver_restarts = 0
        self._tick: asyncio.TimerHandle | None = None
        self._absence: asyncio.TimerHandle | None = None
        self._last_trouble = ""
        self._is_connected = False
        self._has_launched = False
        self._agents: list[dict[str, Any]] | None = None
        self._warnings: set[str] = set()
        # What a whole agent is, only the master's list tells: until it is there, or is known not to come, offers wait.
        self._is_list_settled = False
        self._early_offers: list[dict[str, Any]] = []

    # Life.

    async def start(self) -> None:
        """Start the local cluster, where the master is one, and the driver. Raises RoujiamoError."""
        request = self._request
        subscription = self._allocation.wanted.subscription()
        if is_local(request.master):
            self._cluster = LocalCluster(
                request.master, request.nodes or len(request.slots_by_host), on_lost=self._end
            )
            self._reports.progress("cluster", "starting a local cluster")
            subscription["master"] = await self._cluster.start()
            # Whoever the user is to other masters: this one is the session's own.
            subscription["framework"]["principal"] = subscription["principal"] = PRINCIPAL
            subscription["secret"] = self._cluster.secret
        self.credential = (subscription["principal"], subscription["secret"])
        text = f"looking for the master at {subscription['master']}"
        self._reports.progress("subscribe", text)
        self._driver = Driver(subscription, self._events.put_nowait, spawned=self._spawned_driver)
        await self._driver.start()
        self._moments.of_session(timeline.DRIVER_STARTED)

    def ping_driver(self) -> None:
        """Look whether the driver goes on; call it now and then."""
        if self._driver is not None:
            self._driver.ping()

    async def follow_driver(self) -> None:
        """Handle the driver's events for as long as the session lives; a failure ends it."""
        while True:
            event = await self._events.get()
            try:
                await self._on_driver_event(event)
            except RoujiamoError as error:
                self._end(error)
            except Exception as error:
                log.exception("an event of the driver could not be handled: %s", json.dumps(event)[:2000])
                what = f"{type(error).__name__}: {error}"
                self._end(RoujiamoError(f"an internal error in the broker ({what}); -vv shows where"))

    async def tell_the_wait(self) -> None:
        """Say what is missing as it changes, and look now and then whether the cluster has changed."""
        told, asked_at = "", self._loop.time()
        while not self._is_ready():
            await asyncio.sleep(EXPLAIN_SECONDS)
            if not self._proxies.targets or self._driver is None or not self._is_connected:
                continue
            if self._loop.time() - asked_at > AGENTS_SECONDS or self._allocator.is_list_outdated:
                asked_at = self._loop.time()
                self._ask_agents()
            missing = self.explain()
            if missing != told and not self._allocator.is_satisfied:
                told = missing
                self._reports.progress("offers", missing)

    def stop(self, reason: str) -> None:
        """Ask for nothing more, and refuse the commands that wait for a host."""
        for timer in (self._tick, self._absence):
            if timer is not None:
                timer.cancel()
        if self.named is not None:
            self.named.close(reason)

    async def tear_down(self) -> tuple[bool, str]:
        """End the framework; return whether that is known to be done, and why it had been ended before, if it had."""
        if self._driver is None:
            return True, ""
        # Nothing can have been launched before there was a port to call back to.
        is_master_gone = self._cluster is not None and self._cluster.is_lost
        confirmed = await self._driver.teardown(is_master_gone=is_master_gone) or not self._proxies.targets
        return confirmed, self._driver.removal

    async def stop_cluster(self) -> bool:
        """Stop the local cluster; return whether there was one."""
        if self._cluster is None:
            return False
        await self._cluster.stop()
        return True

    # What the session asks.

    @property
    def is_satisfied(self) -> bool:
        """Whether all hosts that were asked for have been launched."""
        return self._allocator.is_satisfied

    @property
    def held(self) -> int:
        """How many agents' offers are held."""
        return self._allocator.held

    def explain(self) -> str:
        """Return one sentence on what is missing, or that nothing is."""
        return self._allocator.explain(self._agents)

    def late(self) -> AllocationTimeout:
        """Return the failure of a gang that was not there in time."""
        late = [host.name for host in self._hosts.values() if host.state in (LAUNCHING, CONTACTED)]
        if self._allocator.is_satisfied and late:
            missing = f"the task on {', '.join(late[:8])} has not called back yet"
        else:
            missing = self.explain() or self._last_trouble or "no offer came"
        if self._last_trouble and self._last_trouble not in missing:
            missing = f"{missing} ({self._last_trouble})"
        return AllocationTimeout(
            f"the hosts were not ready after {self._request.timeout_seconds:g} s (--timeout): {missing}"
        )

    def end_task(self, host: Host) -> None:
        """Have Mesos end the host's task."""
        assert self._driver is not None
        self._driver.call("kill", task_id=host.task_id, agent_id=host.agent_id)

    def replace(self, host: Host) -> None:
        """Ask for another host in place of one that was lost before it was ready."""
        self._apply(
            self._allocator.replace(host.agent_id, self._loop.time(), is_agents_fault=not host.is_offer_void)
        )

    def note_trouble(self, sentence: str, phase: str = "subscribe") -> None:
        """Keep, and tell, what stands in the way now."""
        self._last_trouble = sentence
        if self.named is not None:
            self.named.trouble = sentence
        self._reports.progress(phase, sentence, trouble=True)

    # The driver's events, one after another.

    async def _on_driver_event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "subscribed":
            await self._on_subscribed(event)
        elif kind == "offers":
            self._moments.of_offers(event["offers"])
            if self._request.exclusive and not self._is_list_settled:
                self._early_offers.extend(event["offers"])
            else:
                self._apply(self._allocator.on_offers(event["offers"], self._loop.time()))
        elif kind == "inverse_offers":
            self._tasks.on_maintenance(event["inverse_offers"])
        elif kind == "rescind":
            offer_id = event["offer_id"]
            self._early_offers = [each for each in self._early_offers if each["id"]["value"] != offer_id]
            self._apply(self._allocator.on_rescind(offer_id, self._loop.time()))
        elif kind == "update":
            self._tasks.on_update(event["status"])
        elif kind == "agents":
            self._on_agents(event["agents"], event["roles"])
            self._settle_list()
        elif kind == "error":
            self._on_error(event)
        elif kind == "disconnected":
            self._is_connected = False
            self.note_trouble(str(event.get("reason", "the master is out of reach")))
            if self._absence is None:
                seconds = self._request.failover_timeout_seconds
                self._absence = self._loop.call_later(seconds, self._on_long_absence)
        elif kind == "driver_ended":
            await self._on_driver_ended()

    async def _on_subscribed(self, event: dict[str, Any]) -> None:
        self._last_trouble = ""
        self._is_connected = True
        if self._absence is not None:
            self._absence.cancel()
            self._absence = None
        if self.named is not None:
            self.named.trouble = ""
        self._driver_restarts = 0
        self.master = str(event["master"]["address"])
        self.framework_id = str(event["framework_id"])
        assert self._driver is not None
        if not self._proxies.targets:
            self._moments.of_session(timeline.SUBSCRIBED)
            await self._proxies.listen(self.master)
            self._reports.progress(
                "offers", "waiting for offers", framework_id=self.framework_id, master=self.master
            )
        live = [host for host in self._hosts.values() if host.state != LOST]
        if live:
            self._driver.call(
                "reconcile",
                tasks=[{"task_id": host.task_id, "agent_id": host.agent_id} for host in live],
            )
        if not self._is_ready():
            self._ask_agents()
        self._early_offers.clear()
        self._apply(self._allocator.on_subscribed(self._loop.time()))

    def _on_long_absence(self) -> None:
        """The ranks need no master; but one that has lost us, and not we it, ends their tasks about now."""
        if self._is_ready():
            seconds = self._request.failover_timeout_seconds
            text = f"no master for {seconds:g} s (--failover-timeout), so Mesos may end the tasks: {self._last_trouble}"
            self._reports.tell({"event": "warning", "text": text})

    def _ask_agents(self) -> None:
        if self._driver is not None:
            self._driver.call("agents")

    def _on_agents(self, agents: list[dict[str, Any]], roles: list[dict[str, Any]]) -> None:
        """Take in what the master knows of its agents and roles; tell the user at once where it can never be enough."""
        try:
            self._allocator.learn_agents(agents)
            if self.named is not None:
                self.named.on_agents(agents)
            self._allocator.learn_quotas(roles)
            impossible = self._allocator.is_impossible(agents)
        except ProtocolError as error:
            # It only serves to explain things.
            log.warning("%s", error)
            return
        self._agents = agents
        self._apply(self._allocator.reconsider(self._loop.time()))
        if impossible and not self._is_ready() and self.named is None:
            self._warn(f"{impossible}; waiting in case that changes")

    def _settle_list(self) -> None:
        """The master has given its list of agents, or has refused to: look at the offers that waited for it."""
        self._is_list_settled = True
        if self._early_offers:
            offers, self._early_offers = self._early_offers, []
            self._apply(self._allocator.on_offers(offers, self._loop.time()))

    def _on_error(self, event: dict[str, Any]) -> None:
        message = str(event["message"])
        if event.get("fatal"):
            kind = MissingDependency if event.get("kind") == "pymesos_missing" else MasterError
            self._end(kind(message))
            return
        self.note_trouble(message)
        if event.get("call") == "agents":
            if self.named is not None:
                self.named.on_list_withheld(message)
            self._settle_list()
        elif event.get("call") == "accept":
            self._tasks.on_not_accepted(set(event.get("offer_ids", ())), message)

    async def _on_driver_ended(self) -> None:
        assert self._driver is not None
        self._driver_restarts += 1
        if self._driver_restarts > DRIVER_RESTARTS:
            raise MasterError("the Mesos driver keeps failing; see the broker's log (-vv shows it)")
        await self._driver.restart()

    def _on_task_running(self, host: Host) -> None:
        self._reports.progress_of_host("callback", f"{host.name}: task runs")

    def _warn(self, text: str) -> None:
        """Tell the owner something once."""
        if text not in self._warnings:
            self._warnings.add(text)
            self._reports.tell({"event": "warning", "text": text})

    # What the allocator decides.

    def _apply(self, decisions: list[Decision]) -> None:
        """Carry the allocator's decisions out, and see to it that it is asked again in time."""
        assert self._driver is not None
        for launch in self._allocation.carry_out(decisions, self._driver.call):
            host = self._on_launch(launch)
            if self.named is not None and launch.decision.name is not None:
                self.named.on_launched(launch.decision.name, host)
            launch.accept(self._driver.call, self._proxies.targets)
            self._moments.of_accept(host)
            self._reports.progress_of_host("tasks", f"{host.name}: task launched")
            if not self._has_launched:
                # Once the ACCEPTs are on their way, while Mesos starts the tasks.
                self._has_launched = True
                self._loop.call_soon(self._proxies.make_code)
        if self._tick is not None:
            self._tick.cancel()
        deadline = self._allocator.next_deadline()
        self._tick = None
        if deadline is not None:
            self._tick = self._loop.call_at(deadline, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self._apply(self._allocator.on_tick(self._loop.time()))
