"""A session: from a request to hosts that run remote commands, and back to nothing.

Runs in the broker (asyncio, one task that follows the driver, callbacks for everything else).

    1  the session's socket is there: shims may ask, and wait                                       (shims)
    2  the driver subscribes; the call-back port is opened on the address that faces the master     (gathering)
    3  offers -> the gang allocator -> one ACCEPT per agent, each launching one task with a first-contact token
    4  each task calls back, proves its token, is sent the proxy's code, and reports READY          (proxies)
    5  a host that fails before all are ready is replaced; when the last is ready the owner is told (here)
    6  the owner ends, closes, or asks; every proxy is told goodbye, the framework is torn down, the folder removed

Trusts its owner (the process that started it), the driver, and each proxy for its own host only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from roujiamo import dialects
from roujiamo.broker.allocation import Allocation, Launch
from roujiamo.broker.children import Children
from roujiamo.broker.driver_process import DriverProcess
from roujiamo.broker.gathering import Gathering
from roujiamo.broker.hosts import CONTACTED, LAUNCHING, LOST, MAX_TOLD_COMMAND, READY, Host
from roujiamo.broker.moments import Moments
from roujiamo.broker.proxies import Proxies
from roujiamo.broker.reports import Reports
from roujiamo.broker.shims import ShimConnection, ShimSocket
from roujiamo.broker.wanted import Wanted
from roujiamo.errors import AllocationError, HostUnknown, ProtocolError, RoujiamoError, TimeLimitReached
from roujiamo.protocol.handshake import SECRET_SIZE
from roujiamo.protocol.route import Route
from roujiamo.session import timeline
from roujiamo.session.explanations import Ending, explain_daemon
from roujiamo.session.names import HostIndex, HostName, aliases
from roujiamo.session.option_values import show_time
from roujiamo.session.request import SessionRequest
from roujiamo.session.secret_words import line_without_secrets
from roujiamo.system.runtime_folder import SessionFolder

log = logging.getLogger(__name__)

FIRST_COMMAND_SECONDS = 3.0
SETTLE_SECONDS = 2.0
SETTLE_LOOKS = 100
# An owner gives its program less than that (`roujiamo.run.child`).
OWNERS_SECONDS = 30.0

Notify = Callable[[dict[str, Any]], None]


class Session:
    """One session. `run` returns when it is over and nothing of it is left."""

    def __init__(
        self,
        request: SessionRequest,
        folder: SessionFolder,
        notify: Notify,
        spawned_driver: DriverProcess | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        """`notify(event)` tells the owner: progress, moment, warning, ready, host_lost, failed, closed.

        `spawned_driver` may have been told to subscribe as `wanted` says.

        Raises UsageError where the request contradicts itself.
        """
        self.request = request
        self.hosts: dict[str, Host] = {}
        self._folder = folder
        self._reports = Reports(notify, self._count)
        self._name = folder.path.name
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[RoujiamoError | None] = self._loop.create_future()
        self._moments = Moments(notify if request.tells_moments else None)
        wanted = wanted or Wanted(request, self._name)
        allocation = Allocation(wanted, random.Random(), self._loop.time())
        self._proxies = Proxies(
            request,
            self.hosts,
            self._ending.done,
            unlocks_memory=wanted.unlocks_memory,
            moments=self._moments,
        )
        self._gathering = Gathering(
            request,
            allocation,
            self.hosts,
            self._proxies,
            self._moments,
            spawned_driver,
            on_launch=self._on_launch,
            is_ready=lambda: self._is_ready,
            end=self.end,
            reports=self._reports,
        )
        self._named = self._gathering.named
        # An agent that keeps failing must not be asked for ever; many at once may be having a bad moment.
        self._failures_allowed = 3 + 2 * (request.nodes or 1)
        self._failures: list[str] = []
        self._aliases = aliases()
        self._shims = ShimSocket(self._open_route, self._answer)
        self._children = Children(folder.path)
        self._is_ready = False
        self._hears_commands = True
        # Kept as they change: to look through all hosts at each one's call-back, or command, would be quadratic.
        self._awaited: set[Host] = set()
        self._indices: tuple[HostIndex[Host], HostIndex[Host]] | None = None
        self._commands = 0
        self._first_command = asyncio.Event()
        self._started_at = time.time()
        self._until: float | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None

    # Life.

    async def run(self) -> RoujiamoError | None:
        """Allocate, serve until the end is asked for, clean up; return the failure that ended it, if one did."""
        timers = []
        if self._named is None:
            timers.append(self._loop.call_later(self.request.timeout_seconds, self._on_timeout))
        tasks: list[asyncio.Task[None]] = []
        try:
            if self._named is not None:
                self._folder.tell_timeout(self.request.timeout_seconds)
                self._start_clock()
            self._shims.listen(self._folder.socket)
            await self._start_gathering()
            self._proxies.prepare()
            self._reports.tell({"event": "listening", "socket": str(self._folder.socket)})
            tasks.append(self._loop.create_task(self._gathering.follow_driver()))
            tasks.append(self._loop.create_task(self._beat()))
            if self._named is None:
                self._telling = self._loop.create_task(self._gathering.tell_the_wait())
                tasks.append(self._telling)
            failure = await self._ending
        except RoujiamoError as error:
            failure = error
        finally:
            for timer in (*timers, *([self._limit] if self._limit is not None else ())):
                timer.cancel()
            for task in tasks:
                task.cancel()
        if failure is not None and self._named is not None and self._ending.done():
            # The shim that had the session started is on its way to it, and is to hear the reason.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._first_command.wait(), FIRST_COMMAND_SECONDS)
        if failure is not None:
            self._reports.tell({"event": "failed", "status": failure.exit_status, "message": str(failure)})
        await self._close(str(failure) if failure else "the session ended")
        return failure

    async def _beat(self) -> None:
        """Look whether driver and proxies go on. All at one time: an idle broker sleeps in between."""
        while True:
            await asyncio.sleep(self._proxies.ping_seconds)
            self._gathering.ping_driver()
            await self._proxies.ping()

    async def _start_gathering(self) -> None:
        """A local cluster takes its time to start: an end that comes meanwhile is heeded at once."""
        starting = self._loop.create_task(self._gathering.start())
        await asyncio.wait((starting, self._ending), return_when=asyncio.FIRST_COMPLETED)
        if self._ending.done():
            starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting

    def end(self, failure: RoujiamoError | None = None) -> None:
        """Ask for the end, because of `failure` or because all is done."""
        if not self._ending.done():
            self._ending.set_result(failure)

    async def settle(self, *, commands: bool) -> None:
        """Wait, not long, for Mesos's word on hosts out of reach; with `commands` for how each command ended, too."""
        # Daemons that end by a launcher's failure are no cause of it.
        self._hears_commands = commands
        for _ in range(SETTLE_LOOKS):
            is_busy = commands and any(host.is_busy for host in self.hosts.values())
            if self._ending.done() or not (is_busy or self._proxies.out_of_reach()):
                return
            await asyncio.sleep(SETTLE_SECONDS / SETTLE_LOOKS)
        log.info("not all is told after %g s; the session ends", SETTLE_SECONDS)

    async def _close(self, reason: str) -> None:
        """Say goodbye to the proxies, tear the framework down, leave nothing."""
        causes = self._proxies.lost_at_the_end()
        self._gathering.stop(reason)
        await self._proxies.say_goodbye(reason)
        confirmed, removal = await self._gathering.tear_down()
        if removal:
            causes.append(removal)
        for host in self.hosts.values():
            host.lose(reason)
        self._shims.close()
        self._children.close()
        self._proxies.close()
        confirmed = await self._gathering.stop_cluster() or confirmed
        self._reports.tell(
            {"event": "closed", "clean": confirmed, "commands": self._commands, "causes": causes}
        )

    def _on_timeout(self) -> None:
        if not self._is_ready:
            self.end(self._gathering.late())

    def _start_clock(self) -> None:
        """From now on the session's time runs."""
        limit = self.request.time_limit_seconds
        if limit:
            self._until = time.time() + limit
            self._limit = self._loop.call_later(limit, self._on_time_is_up)

    def _on_time_is_up(self) -> None:
        failure = TimeLimitReached(
            f"the time limit of {show_time(self.request.time_limit_seconds)} is reached"
        )
        if self._named is not None:
            self.end(failure)
            return
        # The owner ends its program first; an owner that is stopped, or has no ear, is not waited for.
        self._reports.tell({"event": "time_is_up", "message": str(failure)})
        self._limit = self._loop.call_later(OWNERS_SECONDS, self.end, failure)

    def _count(self) -> dict[str, Any] | None:
        """Return how far the hosts are."""
        if self._named is not None:
            return None
        states = [host.state for host in self.hosts.values()]
        return {
            "wanted": self.request.nodes,
            "offered": self._gathering.held,
            "starting": states.count(LAUNCHING) + states.count(CONTACTED),
            "ready": states.count(READY),
        }

    # Hosts.

    def _on_launch(self, launch: Launch) -> Host:
        host = Host(
            launch.decision.hostname,
            agent_id=launch.decision.agent_id,
            task_id=launch.task_id,
            slots=launch.decision.slots,
            token=launch.token,
            resume=os.urandom(SECRET_SIZE),
            on_ready=self._on_host_ready,
            on_lost=self._on_host_lost,
            on_open=self._open_route_of_host,
            on_failed=self._on_command_failed,
            on_command=self._moments.of_command,
        )
        host.alias = next(self._aliases)
        host.offer_ids = tuple(launch.decision.offer_ids)
        self.hosts[host.task_id] = host
        self._awaited.add(host)
        self._indices = None
        self._proxies.expect(host)
        return host

    def _on_host_ready(self, host: Host) -> None:
        log.info("host %s is ready: %s", host.name, host.facts)
        self._moments.of_host(host, timeline.READY)
        self._awaited.discard(host)
        self._reports.progress_of_host("callback", f"{host.name} is ready")
        if self._named is not None:
            self._named.on_ready(host)
            return
        if not self._is_ready and self._gathering.is_satisfied and not self._awaited:
            self._is_ready = True
            if self._telling is not None:
                self._telling.cancel()
            self._start_clock()
            self._moments.of_session(timeline.HOSTS_READY)
            self._reports.tell(
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
                        for other in self.hosts.values()
                        if other.state == READY
                    ],
                }
            )

    def _on_host_lost(self, host: Host, sentence: str) -> None:
        self._moments.of_host(host, timeline.ENDED)
        self._awaited.discard(host)
        self._indices = None
        self._proxies.note_departure(host)
        if self._ending.done():
            return
        self._gathering.end_task(host)
        if self._is_ready or (host.was_ready and self._named is not None):
            self._tell_loss(host, sentence, host.remedy)
            return
        sentence = f"{sentence}; {host.remedy}" if host.remedy else sentence
        self._failures.append(sentence)
        self._gathering.note_trouble(sentence, phase="tasks")
        if self._named is not None:
            self._named.on_failed(host, sentence)
        elif len(self._failures) > self._failures_allowed:
            many = len(self._failures)
            self.end(AllocationError(f"{many} hosts failed before they were ready; the last: {sentence}"))
            return
        self._gathering.replace(host)

    def _tell_loss(self, host: Host, sentence: str, remedy: str) -> None:
        self._reports.tell({"event": "host_lost", "host": host.name, "message": sentence, "remedy": remedy})

    def _on_command_failed(self, host: Host, route: Route, status: int, stderr: bytes) -> str | None:
        """Tell the owner: a launcher may overlook that one of its daemons died (PRRTE 3.0 does).

        Return what explains a daemon's end, where its shim is to say it.
        """
        if self._ending.done() or not self._hears_commands:
            return None
        command = route.command[:MAX_TOLD_COMMAND].decode("utf-8", "replace")
        told = stderr.decode("utf-8", "replace")
        event = {"event": "command_failed", "host": host.name, "status": status, "command": command}
        self._reports.tell({**event, "stderr": told})
        daemon = dialects.daemon_of(command) if self.request.shims_explain else None
        if daemon is None:
            return None
        explanation = explain_daemon(Ending(host.name, daemon, status, told))
        return None if explanation is None else explanation.sentence

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
        if log.isEnabledFor(logging.INFO):
            command = line_without_secrets(route.command.decode("utf-8", "replace"))
            log.info("command on %s, asked for by %s: %s", host.name, opener, ascii(command[:200]))
        host.start_command(route)

    def _find_host(self, wanted: str) -> Host:
        """Raises HostUnknown."""
        if self._indices is None:
            living = [host for host in self.hosts.values() if host.state != LOST]
            lost = [host for host in self.hosts.values() if host.state == LOST]
            self._indices = _index(living or lost), _index(lost)
        first, second = self._indices
        try:
            return first.find(wanted)
        except HostUnknown:
            with contextlib.suppress(HostUnknown):
                return second.find(wanted)
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
                "until": self._until,
                "exclusive": self.request.exclusive,
                "master": self._gathering.master,
                "framework_id": self._gathering.framework_id,
                "state": "ending" if self._ending.done() else "waiting" if is_waiting else "ready",
                "waiting_for": self._gathering.explain() if is_waiting else "",
                "hosts": [host.status() for host in self.hosts.values()],
            }
        if request.get("request") == "credential":
            # Whoever may connect here has the user's own rights, and could read it from the user's file.
            principal, secret = self._gathering.credential
            return {"principal": principal, "secret": secret}
        if request.get("request") == "child":
            return self._children.follow(request)
        if request.get("request") == "end":
            self.end(RoujiamoError("the session was cancelled (`roujiamo cancel`)"))
            return {"ending": True}
        return {"error": f"no request {request.get('request')!r}"}


def _index(hosts: Iterable[Host]) -> HostIndex[Host]:
    # An agent's last host counts: the ones before have failed.
    by_agent = {host.agent_id: host for host in hosts}
    return HostIndex({host: HostName(host.name, (host.alias, host.agent_id)) for host in by_agent.values()})
