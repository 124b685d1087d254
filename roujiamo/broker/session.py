"""A session: from a request to hosts that run remote commands, and back to nothing.

Runs in the broker (asyncio, one task that follows the driver, callbacks for everything else).

    1  the session's socket is there: shims may ask, and wait
    2  the driver subscribes; the call-back port is opened on the address that faces the master
    3  offers -> the gang allocator -> one ACCEPT per agent, each launching one task with a first-contact token
    4  each task calls back, proves its token, is sent the proxy's code, and reports READY
    5  a host that fails before all are ready is replaced; when the last is ready the owner is told
    6  the owner ends, closes, or asks; every proxy is told goodbye, the framework is torn down, the folder removed

Trusts its owner (the process that started it), the driver, and each proxy for its own host only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from roujiamo.broker.allocation import Allocation
from roujiamo.broker.callback import CallBackPort, address_towards, callback_target, listening_address
from roujiamo.broker.cluster import LocalCluster
from roujiamo.broker.driver import Driver
from roujiamo.broker.hosts import CONTACTED, LAUNCHING, LOST, MAX_TOLD_COMMAND, READY, Host
from roujiamo.broker.named_hosts import NamedHosts
from roujiamo.broker.shims import ShimConnection, ShimSocket
from roujiamo.errors import (
    AllocationError,
    AllocationTimeout,
    HostUnknown,
    MasterError,
    MissingDependency,
    ProtocolError,
    RoujiamoError,
)
from roujiamo.mesos.offers import maintenance_start
from roujiamo.mesos.task_states import TERMINAL_STATES
from roujiamo.protocol import frames
from roujiamo.protocol.handshake import FIRST_CONTACT, RESUME, SECRET_SIZE, Responder, identity
from roujiamo.protocol.link import Link
from roujiamo.protocol.route import Route
from roujiamo.proxy.welcome import build_welcome, carried_modules
from roujiamo.session.names import HostIndex, HostName, aliases
from roujiamo.session.request import SessionRequest
from roujiamo.system.runtime_folder import SessionFolder

log = logging.getLogger(__name__)

PING_SECONDS = 15.0
SILENCE_SECONDS = 45.0
# TASK_RUNNING is sent at the fork; what is left is a Python start-up and a TCP connection.
CALLBACK_SECONDS = 30.0
GOODBYE_SECONDS = 6.0
# What is missing is said when it changes; the list of ten thousand agents is some megabytes.
EXPLAIN_SECONDS = 2.0
AGENTS_SECONDS = 20.0
DRIVER_RESTARTS = 3
FIRST_COMMAND_SECONDS = 3.0

Notify = Callable[[dict[str, Any]], None]


class Session:
    """One session. `run` returns when it is over and nothing of it is left."""

    def __init__(self, request: SessionRequest, folder: SessionFolder, notify: Notify) -> None:
        """`notify(event)` tells the owner: progress, warning, ready, host_lost, failed, closed."""
        self.request = request
        self.hosts: dict[str, Host] = {}
        self._folder = folder
        self._notify = notify
        self._name = folder.path.name
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[RoujiamoError | None] = self._loop.create_future()
        self._all_gone = asyncio.Event()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._by_identity: dict[tuple[int, bytes], Host] = {}
        self._allocation = Allocation(request, self._name, random.Random(), self._loop.time())
        self._allocator = self._allocation.allocator
        # An agent that keeps failing must not be asked for ever; many at once may be having a bad moment.
        self._failures_allowed = 3 + 2 * (request.nodes or 1)
        self._named: NamedHosts | None = None
        if request.is_on_demand:
            self._named = NamedHosts(
                request, self._allocator, self._apply, self._ask_agents, lambda failure: self.end(failure)
            )
        self._aliases = aliases()
        self._shims = ShimSocket(self._open_route, self._answer)
        self._port = CallBackPort(
            find_secret=self._find_secret,
            find_host=lambda responder: self._by_identity[(responder.kind, responder.identity)],
            on_proved=self._on_proved,
            on_disconnected=self._on_disconnected,
        )
        self._targets: list[str] = []
        self._driver: Driver | None = None
        self._cluster: LocalCluster | None = None
        self._modules: dict[str, str] = {}
        self._driver_restarts = 0
        self._failures: list[str] = []
        self._is_ready = False
        self._commands = 0
        self._first_command = asyncio.Event()
        self._started_at = time.time()
        self._master = ""
        self._framework_id = ""
        self._tick: asyncio.TimerHandle | None = None
        self._last_trouble = ""
        self._absence: asyncio.TimerHandle | None = None
        self._agents: list[dict[str, Any]] | None = None
        self._warnings: set[str] = set()
        # What a whole agent is, only the master's list tells: until it is there, or is known not to come, offers wait.
        self._is_list_settled = False
        self._early_offers: list[dict[str, Any]] = []

    # Life.

    async def run(self) -> RoujiamoError | None:
        """Allocate, serve until the end is asked for, clean up; return the failure that ended it, if one did."""
        timers = []
        if self._named is None:
            timers.append(self._loop.call_later(self.request.timeout_seconds, self._on_timeout))
        tasks: list[asyncio.Task[None]] = []
        try:
            # An environment that is too large is found out before anything is launched.
            self._modules = carried_modules()
            self._welcome_for(b"")
            await self._shims.listen(self._folder.socket)
            await self._start_driver()
            self._notify({"event": "listening", "socket": str(self._folder.socket)})
            tasks.append(self._loop.create_task(self._follow_driver()))
            tasks.append(self._loop.create_task(self._keep_alive()))
            if self._named is None:
                tasks.append(self._loop.create_task(self._tell_the_wait()))
            failure = await self._ending
        except RoujiamoError as error:
            failure = error
        finally:
            for timer in timers:
                timer.cancel()
            for task in tasks:
                task.cancel()
        if failure is not None and self._named is not None and self._ending.done():
            # The shim that had the session started is on its way to it, and is to hear the reason.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._first_command.wait(), FIRST_COMMAND_SECONDS)
        if failure is not None:
            self._notify({"event": "failed", "status": failure.exit_status, "message": str(failure)})
        await self._close(str(failure) if failure else "the session ended")
        return failure

    def end(self, failure: RoujiamoError | None = None) -> None:
        """Ask for the end, because of `failure` or because all is done."""
        if not self._ending.done():
            self._ending.set_result(failure)

    async def _start_driver(self) -> None:
        master = self.request.master
        if master == "local" or master.startswith("local:"):
            self._cluster = LocalCluster(master, self.request.nodes or len(self.request.slots_by_host))
            self._notify({"event": "progress", "phase": "cluster", "text": "starting a local cluster"})
            master = await self._cluster.start()
        self._notify(
            {"event": "progress", "phase": "subscribe", "text": f"looking for the master at {master}"}
        )
        self._driver = Driver(
            {
                "master": master,
                "framework": self._allocation.framework(),
                "principal": self.request.principal,
                "secret": self.request.secret,
            },
            self._events.put_nowait,
            verbose=self.request.verbosity > 1,
        )
        await self._driver.start()

    async def _close(self, reason: str) -> None:
        """Say goodbye to the proxies, tear the framework down, leave nothing."""
        away = [host for host in self.hosts.values() if host.state == READY and host.transport is None]
        # A launcher may see the end of its daemon before the grace is over in which the host could come back.
        causes = [
            f"{host.name} was out of reach at the end: its agent, its task or the way to it was lost"
            for host in away
        ]
        for timer in (self._tick, self._absence):
            if timer is not None:
                timer.cancel()
        if self._named is not None:
            self._named.close(reason)
        for host in self.hosts.values():
            if host.transport is not None:
                host.send_frame(frames.GOODBYE, 0, reason.encode("utf-8", "replace")[:400])
                host.flush()
        if any(host.transport for host in self.hosts.values()):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), GOODBYE_SECONDS)
        confirmed = True
        if self._driver is not None:
            confirmed = await self._driver.teardown() or not self._targets
            if self._driver.removal:
                causes.append(self._driver.removal)
        for host in self.hosts.values():
            host.lose(reason)
        self._shims.close()
        self._port.close()
        if self._cluster is not None:
            await self._cluster.stop()
            confirmed = True
        self._notify({"event": "closed", "clean": confirmed, "commands": self._commands, "causes": causes})

    async def _keep_alive(self) -> None:
        """Ping every proxy; drop the connection of one that has been silent too long, so that it comes back."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            now = self._loop.time()
            for host in self.hosts.values():
                if host.transport is None:
                    continue
                if now - host.last_heard > SILENCE_SECONDS:
                    log.warning("%s has been silent for %.0f s", host.name, now - host.last_heard)
                    host.transport.abort()
                else:
                    host.send_frame(frames.PING, 0)

    async def _tell_the_wait(self) -> None:
        """Say what is missing as it changes, and look now and then whether the cluster has changed."""
        told, asked_at = "", self._loop.time()
        while not self._allocator.is_satisfied:
            await asyncio.sleep(EXPLAIN_SECONDS)
            if not self._targets or self._driver is None or self._last_trouble:
                continue
            if self._loop.time() - asked_at > AGENTS_SECONDS:
                asked_at = self._loop.time()
                self._driver.call("agents")
            missing = self._allocator.explain(self._agents)
            if missing != told and not self._allocator.is_satisfied:
                told = missing
                self._notify({"event": "progress", "phase": "offers", "text": missing})

    def _on_timeout(self) -> None:
        if not self._is_ready:
            late = [host.name for host in self.hosts.values() if host.state in (LAUNCHING, CONTACTED)]
            if self._allocator.is_satisfied and late:
                missing = f"the task on {', '.join(late[:8])} has not called back yet"
            else:
                missing = self._allocator.explain(self._agents) or self._last_trouble or "no offer came"
            if self._last_trouble and self._last_trouble not in missing:
                missing = f"{missing} ({self._last_trouble})"
            self.end(
                AllocationTimeout(
                    f"the hosts were not ready after {self.request.timeout_seconds:g} s (--timeout): {missing}"
                )
            )

    # The driver's events, one after another.

    async def _follow_driver(self) -> None:
        while True:
            event = await self._events.get()
            try:
                await self._on_driver_event(event)
            except RoujiamoError as error:
                self.end(error)
            except Exception as error:
                log.exception("an event of the driver could not be handled: %s", json.dumps(event)[:2000])
                what = f"{type(error).__name__}: {error}"
                self.end(RoujiamoError(f"an internal error in the broker ({what}); -vv shows where"))

    async def _on_driver_event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "subscribed":
            await self._on_subscribed(event)
        elif kind == "offers":
            if self.request.exclusive and not self._is_list_settled:
                self._early_offers.extend(event["offers"])
            else:
                self._apply(self._allocator.on_offers(event["offers"], self._loop.time()))
        elif kind == "inverse_offers":
            self._on_maintenance(event["inverse_offers"])
        elif kind == "rescind":
            offer_id = event["offer_id"]
            self._early_offers = [each for each in self._early_offers if each["id"]["value"] != offer_id]
            self._apply(self._allocator.on_rescind(offer_id, self._loop.time()))
        elif kind == "update":
            self._on_update(event["status"])
        elif kind == "agents":
            self._on_agents(event["agents"])
            self._settle_list()
        elif kind == "error":
            self._on_error(event)
        elif kind == "disconnected":
            self._note_trouble(str(event.get("reason", "the master is out of reach")))
            if self._absence is None:
                seconds = self.request.failover_timeout_seconds
                self._absence = self._loop.call_later(seconds, self._on_long_absence)
        elif kind == "driver_ended":
            await self._on_driver_ended()

    def _on_long_absence(self) -> None:
        """The ranks need no master; but one that has lost us, and not we it, ends their tasks about now."""
        if self._is_ready:
            seconds = self.request.failover_timeout_seconds
            text = f"no master for {seconds:g} s (--failover-timeout), so Mesos may end the tasks: {self._last_trouble}"
            self._notify({"event": "warning", "text": text})

    def _note_trouble(self, sentence: str, phase: str = "subscribe") -> None:
        self._last_trouble = sentence
        if self._named is not None:
            self._named.trouble = sentence
        self._notify({"event": "progress", "phase": phase, "text": sentence})

    async def _on_subscribed(self, event: dict[str, Any]) -> None:
        self._last_trouble = ""
        if self._absence is not None:
            self._absence.cancel()
            self._absence = None
        if self._named is not None:
            self._named.trouble = ""
        self._driver_restarts = 0
        self._master = str(event["master"]["address"])
        self._framework_id = str(event["framework_id"])
        assert self._driver is not None
        if not self._targets:
            await self._open_port(str(event["master"]["address"]))
            self._notify(
                {
                    "event": "progress",
                    "phase": "offers",
                    "text": "waiting for offers",
                    "framework_id": event["framework_id"],
                    "master": event["master"]["address"],
                }
            )
        live = [host for host in self.hosts.values() if host.state != LOST]
        if live:
            self._driver.call(
                "reconcile",
                tasks=[{"task_id": host.task_id, "agent_id": host.agent_id} for host in live],
            )
        if not self._is_ready:
            self._ask_agents()
        self._early_offers.clear()
        self._apply(self._allocator.on_subscribed(self._loop.time()))

    def _ask_agents(self) -> None:
        if self._driver is not None:
            self._driver.call("agents")

    def _on_agents(self, agents: list[dict[str, Any]]) -> None:
        """Take in what the master knows; tell the user at once where it can never be enough."""
        try:
            self._allocator.learn_agents(agents)
            if self._named is not None:
                self._named.on_agents(agents)
            impossible = self._allocator.is_impossible(agents)
        except ProtocolError as error:
            # It only serves to explain things.
            log.warning("%s", error)
            return
        self._agents = agents
        if impossible and not self._is_ready and self._named is None:
            self._warn(f"{impossible}; waiting in case that changes")

    def _settle_list(self) -> None:
        """The master has given its list of agents, or has refused to: look at the offers that waited for it."""
        self._is_list_settled = True
        if self._early_offers:
            offers, self._early_offers = self._early_offers, []
            self._apply(self._allocator.on_offers(offers, self._loop.time()))

    def _on_maintenance(self, inverse_offers: list[dict[str, Any]]) -> None:
        """Tell the user that hosts of the session are to be maintained; the job goes on as long as it may."""
        live = {host.agent_id: host for host in self.hosts.values() if host.state != LOST}
        for offer in inverse_offers:
            host = live.get(str(offer.get("agent_id", {}).get("value", "")))
            if host is None:
                continue
            try:
                start = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(maintenance_start(offer)))
            except (ProtocolError, OverflowError, OSError) as error:
                # It only serves to tell people.
                log.warning("%s", error)
            else:
                self._warn(
                    f"{host.name} is scheduled for maintenance from {start}; until its task is ended the job goes on"
                )

    def _warn(self, text: str) -> None:
        """Tell the owner something once."""
        if text not in self._warnings:
            self._warnings.add(text)
            self._notify({"event": "warning", "text": text})

    async def _open_port(self, master_address: str) -> None:
        advertised = self.request.callback_address or address_towards(
            master_address.rsplit(":", 1)[0].strip("[]")
        )
        await self._port.listen(listening_address(advertised), self.request.callback_ports)
        self._targets = [callback_target(advertised, self._port.port)]

    def _on_error(self, event: dict[str, Any]) -> None:
        message = str(event["message"])
        if event.get("fatal"):
            kind = MissingDependency if event.get("kind") == "pymesos_missing" else MasterError
            self.end(kind(message))
        else:
            self._note_trouble(message)
            if self._named is not None and event.get("call") == "agents":
                self._named.on_list_withheld(message)
            if event.get("call") == "agents":
                self._settle_list()
            if event.get("call") == "accept":
                self._on_not_accepted(set(event.get("offer_ids", ())), message)

    def _on_not_accepted(self, offer_ids: set[str], message: str) -> None:
        """An ACCEPT did not reach the master: its task will never be."""
        for host in list(self.hosts.values()):
            if host.state == LAUNCHING and offer_ids.intersection(host.offer_ids):
                host.is_offer_void = True
                host.lose(f"the task on {host.name} was not launched: {message}")

    async def _on_driver_ended(self) -> None:
        assert self._driver is not None
        self._driver_restarts += 1
        if self._driver_restarts > DRIVER_RESTARTS:
            raise MasterError("the Mesos driver keeps failing; see the broker's log (-vv shows it)")
        await self._driver.restart()

    def _on_update(self, status: dict[str, Any]) -> None:
        task_id, state = status["task_id"]["value"], status["state"]
        message = status.get("message", "")
        host = self.hosts.get(task_id)
        log.info("task %s: %s %s", task_id, state, message)
        if host is None or host.state == LOST:
            return
        if state == "TASK_RUNNING" and host.state not in (READY, CONTACTED):
            self._notify({"event": "progress", "phase": "callback", "text": f"{host.name}: task runs"})
            self._loop.call_later(CALLBACK_SECONDS, self._on_callback_late, host)
        elif state in ("TASK_UNREACHABLE", "TASK_UNKNOWN"):
            # A task that calls back is well, whatever became of its agent's process.
            if host.link is None:
                host.lose(f"the agent {host.name} was lost before its task had called back")
            elif host.transport is None:
                host.lose(f"the agent {host.name} was lost: neither the master nor we can reach it")
        elif state in TERMINAL_STATES:
            reason = status.get("reason", "")
            host.is_offer_void = reason == "REASON_INVALID_OFFERS"
            told = message or reason.removeprefix("REASON_").replace("_", " ").lower() or state
            if host.state == READY:
                host.lose(f"the task on {host.name} ended: {told}")
            else:
                host.lose(f"the task on {host.name} ended before it was ready: {told}{_remedy(told)}")

    def _on_callback_late(self, host: Host) -> None:
        if host.state in (READY, LOST):
            return
        host.lose(
            f"the task on {host.name} runs but has not called back to {self._targets[0]} after "
            f"{CALLBACK_SECONDS:.0f} s; is the port open to the agents? (--callback-address, --callback-port)"
        )

    # Allocation.

    def _apply(self, decisions: list[Any]) -> None:
        """Carry the allocator's decisions out, and see to it that it is asked again in time."""
        assert self._driver is not None
        for launch in self._allocation.carry_out(decisions, self._driver.call):
            host = Host(
                launch.decision.hostname,
                agent_id=launch.decision.agent_id,
                task_id=launch.task_id,
                slots=launch.decision.slots,
                token=launch.token,
                resume=secrets.token_bytes(SECRET_SIZE),
                on_ready=self._on_host_ready,
                on_lost=self._on_host_lost,
                on_open=self._open_route_of_host,
                on_failed=self._on_command_failed,
            )
            host.alias = next(self._aliases)
            host.offer_ids = tuple(launch.decision.offer_ids)
            self.hosts[host.task_id] = host
            self._by_identity[(FIRST_CONTACT, identity(launch.token))] = host
            self._by_identity[(RESUME, identity(host.resume))] = host
            if self._named is not None and launch.decision.name is not None:
                self._named.on_launched(launch.decision.name, host)
            launch.accept(self._driver.call, self._targets)
            self._notify({"event": "progress", "phase": "tasks", "text": f"{host.name}: task launched"})
        if self._tick is not None:
            self._tick.cancel()
        deadline = self._allocator.next_deadline()
        self._tick = None
        if deadline is not None:
            self._tick = self._loop.call_at(deadline, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self._apply(self._allocator.on_tick(self._loop.time()))

    def _on_host_ready(self, host: Host) -> None:
        log.info("host %s is ready: %s", host.name, host.facts)
        ready = [other for other in self.hosts.values() if other.state == READY]
        self._notify({"event": "progress", "phase": "callback", "text": f"{host.name} is ready"})
        if self._named is not None:
            self._named.on_ready(host)
            return
        live = [other for other in self.hosts.values() if other.state != LOST]
        if not self._is_ready and self._allocator.is_satisfied and len(ready) == len(live):
            self._is_ready = True
            self._notify(
                {
                    "event": "ready",
                    "session": self._name,
                    "socket": str(self._folder.socket),
                    "hosts": [
                        {
                            "name": other.name,
                            "alias": other.alias,
                            "slots": other.slots,
                            "task_id": other.task_id,
                            "agent_id": other.agent_id,
                            "facts": other.facts,
                            "callback_address": other.callback_address,
                        }
                        for other in ready
                    ],
                }
            )

    def _on_host_lost(self, host: Host, sentence: str) -> None:
        if self._ending.done():
            self._note_departure()
            return
        assert self._driver is not None
        self._driver.call("kill", task_id=host.task_id, agent_id=host.agent_id)
        if self._is_ready or (host.was_ready and self._named is not None):
            self._notify({"event": "host_lost", "host": host.name, "message": sentence})
            return
        self._failures.append(sentence)
        self._note_trouble(sentence, phase="tasks")
        if self._named is not None:
            self._named.on_failed(host, sentence)
        elif len(self._failures) > self._failures_allowed:
            many = len(self._failures)
            self.end(AllocationError(f"{many} hosts failed before they were ready; the last: {sentence}"))
            return
        self._apply(
            self._allocator.replace(host.agent_id, self._loop.time(), is_agents_fault=not host.is_offer_void)
        )

    def _on_command_failed(self, host: Host, route: Route, status: int) -> None:
        """Tell the owner: a launcher may overlook that one of its daemons died (PRRTE 3.0 does)."""
        if not self._ending.done():
            command = route.command[:MAX_TOLD_COMMAND].decode("utf-8", "replace")
            self._notify({"event": "command_failed", "host": host.name, "status": status, "command": command})

    # Call-backs.

    def _find_secret(self, kind: int, who: bytes, epoch: int) -> bytes | None:
        """Return the secret that a hello may be made with: a token not yet used, or a credential in a new epoch."""
        host = self._by_identity.get((kind, who))
        if host is None or host.state == LOST:
            return None
        if kind == FIRST_CONTACT:
            return host.token
        return host.resume if epoch > host.epoch and host.link is not None else None

    def _on_proved(self, host: Host, responder: Responder, transport: asyncio.Transport, told: int) -> bool:
        host.last_heard = self._loop.time()
        if responder.kind == FIRST_CONTACT:
            if host.token is None:
                return False
            host.token = None
            host.state = CONTACTED
            host.callback_address = str(transport.get_extra_info("sockname")[0])
            host.link = Link(responder.send_key, responder.receive_key)
            host.transport = transport
            host.send_frame(frames.WELCOME, 0, self._welcome_for(host.resume))
            host.flush()
            return True
        if host.link is None or host.link.received != told:
            # The old connection has delivered more since the challenge: the proxy would send it again.
            return False
        host.epoch = responder.epoch
        previous, host.transport = host.transport, transport
        if previous is not None:
            previous.abort()
        host.link.resume(responder.send_key, responder.receive_key, responder.peer_received)
        host.flush()
        log.info("%s is back", host.name)
        return True

    def _welcome_for(self, resume: bytes) -> bytes:
        """Raises UsageError where the user's environment is too large."""
        return build_welcome(
            self._modules,
            self.request.environment,
            resume,
            {
                "reconnect_grace_seconds": self.request.reconnect_grace_seconds,
                "silence_seconds": SILENCE_SECONDS,
                "unlocks_memory": self._allocation.unlocks_memory,
            },
            self.request.prefix,
        )

    def _on_disconnected(self, host: Host) -> None:
        host.transport = None
        self._note_departure()
        if self._ending.done() or host.state == LOST:
            return
        if host.state == CONTACTED:
            host.lose(f"the task on {host.name} closed its connection before it was ready")
            return
        grace = self.request.reconnect_grace_seconds
        epoch = host.epoch
        log.info("%s is out of reach; waiting %.1f s", host.name, grace)
        self._loop.call_later(grace + 1.0, self._on_grace_over, host, epoch)

    def _note_departure(self) -> None:
        """Once the session is ending: note when the last proxy has gone."""
        if self._ending.done() and not any(host.transport for host in self.hosts.values()):
            self._all_gone.set()

    def _on_grace_over(self, host: Host, epoch: int) -> None:
        if host.transport is None and host.epoch == epoch and host.state != LOST:
            host.lose(
                f"{host.name} has been out of reach for {self.request.reconnect_grace_seconds:g} s (--reconnect-grace)"
            )

    # Remote commands.

    def _open_route(self, shim: ShimConnection, number: int, payload: bytes) -> Route:
        route = Route(shim, number, payload)
        self._place(route)
        return route

    def _open_route_of_host(self, opener: Host, number: int, payload: bytes) -> Route | None:
        try:
            route = Route(opener, number, payload)
        except ProtocolError as error:
            log.warning("%s: %s", opener.name, error)
            return None
        self._place(route, opener.name)
        return route

    def _place(self, route: Route, opener: str = "the launch host") -> None:
        """Find the route's host; one that is not ready yet makes it wait."""
        self._first_command.set()
        if self._ending.done():
            failure = self._ending.result()
            route.acceptor_gone(255, str(failure or "the session has ended"))
            return
        if self._named is not None:
            self._commands += 1
            self._named.place(route)
            return
        try:
            host = self._find_host(route.host.decode("utf-8", "replace"))
        except HostUnknown as error:
            route.acceptor_gone(255, str(error))
            return
        self._commands += 1
        command = ascii(route.command[:200].decode("utf-8", "replace"))
        log.info("command on %s, asked for by %s: %s", host.name, opener, command)
        host.start_command(route)

    def _find_host(self, wanted: str) -> Host:
        """Raises HostUnknown."""
        living = [host for host in self.hosts.values() if host.state != LOST]
        lost = [host for host in self.hosts.values() if host.state == LOST]
        try:
            return _find_host(living or lost, wanted)
        except HostUnknown:
            with contextlib.suppress(HostUnknown):
                return _find_host(lost, wanted)
            raise

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of one of our own programs."""
        if request.get("request") == "status":
            is_waiting = not self._is_ready if self._named is None else self._named.is_waiting
            return {
                "session": self._name,
                "name": self.request.name,
                "pid": os.getpid(),
                "owner_pid": self.request.owner_pid,
                "since": self._started_at,
                "master": self._master,
                "framework_id": self._framework_id,
                "state": "ending" if self._ending.done() else "waiting" if is_waiting else "ready",
                "waiting_for": self._allocator.explain(self._agents) if is_waiting else "",
                "hosts": [host.status() for host in self.hosts.values()],
            }
        if request.get("request") == "end":
            self.end(RoujiamoError("the session was cancelled (`roujiamo cancel`)"))
            return {"ending": True}
        return {"error": f"no request {request.get('request')!r}"}


def _find_host(hosts: Iterable[Host], wanted: str) -> Host:
    """Raises HostUnknown."""
    # An agent's last host counts: the ones before have failed.
    by_agent = {host.agent_id: host for host in hosts}
    names = {agent_id: HostName(host.name, (host.alias, agent_id)) for agent_id, host in by_agent.items()}
    return by_agent[HostIndex(names).find(wanted)]


def _remedy(told: str) -> str:
    """Return what to try, for the ways in which a bootstrap is known to end."""
    if "status 127" in told:
        return (
            "; the agent needs a python3 of version 3.6 or later on its PATH (or give an image that has one)"
        )
    if "Volumes in ContainerInfo" in told:
        return "; --volume and --device need agents with the isolator filesystem/linux"
    if "Unsupported container image type" in told:
        return "; --image needs agents with --image_providers=docker, or --containerizer docker"
    if "No such user" in told:
        return "; the agent must know the user that submits"
    return ""
