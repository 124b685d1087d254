"""One subscription of the framework to one master, from SUBSCRIBE to the end of its event stream.

Runs in the driver. pymesos's I/O thread reads the stream and calls the `on_...` methods here, which only hand what
came to a listener; `call` is used from another thread and blocks for a bounded time. A subscription is never used
again: its end is reported once, and whoever wants another makes one, with the framework's id.

What pymesos's scheduler driver does, and this one does not: take itself for connected while it waits under its lock,
let a call vanish when it is not connected, send one driver's headers with another's calls, ask for GPUs that nobody
wants, trip over a version that is not all numbers, acknowledge updates from its I/O thread, tear down when it stops.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from roujiamo.pymesos_driver.connection import MasterConnection
from roujiamo.pymesos_driver.credential import Credential
from roujiamo.pymesos_driver.exchange import SCHEDULER_PATH, Exchange, encode_call, scheduler_headers
from roujiamo.pymesos_driver.loading import failures, load_pymesos
from roujiamo.pymesos_driver.trouble import INTERNAL, UNREACHABLE, MasterTrouble, call_refused, quote

# A framework that does not say gets this many seconds to come back; then the master ends it and its tasks.
FAILOVER_SECONDS = 60.0
# What Mesos sends by default (mesos/v1/scheduler/scheduler.proto, Subscribed.heartbeat_interval_seconds).
HEARTBEAT_SECONDS = 15.0

_pymesos = load_pymesos()
_Driver: Any = _pymesos.scheduler.MesosSchedulerDriver
# pymesos makes its connections from this name.
_pymesos.process.Connection = MasterConnection
# How much it reads at once: 4 KiB by default, and an OFFERS event may have megabytes.
_pymesos.process.PIPE_BUF = 262_144
# How often it wakes up for nothing: every 2 s by default. Whatever changes here is told to it through a pipe.
_pymesos.process.SELECT_TIMEOUT = 3600

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who hears of a subscription. Called in pymesos's I/O thread; may block, must not raise."""

    def on_event(self, subscription: Subscription, name: str, event: dict[str, Any]) -> None:
        """An event of the v1 scheduler API; `name` is its type in lower case, `event` what it carries."""

    def on_end(self, subscription: Subscription, error: BaseException | None) -> None:
        """The subscription is over; `error` says why where it was not stopped. Nothing comes after this."""


class Subscription(_Driver):
    """SUBSCRIBE at `master` ("ip:port") with `framework` (a v1 FrameworkInfo, with its id when it has one)."""

    def __init__(
        self, master: str, framework: Mapping[str, Any], credential: Credential | None, listener: Listener
    ) -> None:
        super().__init__(None, dict(framework), master, implicit_acknowledgements=False, failover=True)
        self.address = master
        self.has_asked = False
        self.is_subscribed = False
        self.started_at = time.monotonic()
        self.last_heard = self.started_at
        self.heartbeat_seconds = HEARTBEAT_SECONDS
        self.redirected_to = ""
        self.principal = credential.principal if credential else None
        self._basic_credential = credential.authorization() if credential else None
        self._listener = listener
        self._exchange: Exchange | None = None
        if credential is not None:
            # The master refuses a framework whose principal is not the authenticated one.
            self._framework.setdefault("principal", credential.principal)

    @property
    def framework(self) -> dict[str, Any]:
        """The FrameworkInfo to subscribe with: as it was given, its failover timeout made certain."""
        return {"failover_timeout": FAILOVER_SECONDS, **self._framework}

    def start(self) -> None:
        """Begin; returns at once."""
        _pymesos.process.Process.start(self)
        _pymesos.process.Process.change_master(self, self.address)

    def stop(self, failover: bool = True) -> None:
        """End the stream without a TEARDOWN; returns at once, `on_end` follows."""
        _pymesos.process.Process.stop(self)
        self.interrupt_call()

    def change_master(self, master: str) -> None:
        """Called by pymesos where the master redirects; the connection reports it."""
        self.redirected_to = master

    def call(self, kind: str, body: Mapping[str, object] | None, seconds: float) -> None:
        """Make one scheduler call; return when the master has taken it.

        Raises MasterTrouble where it has not, within `seconds`.
        """
        stream_id, framework_id = self._stream_id, self.framework_id
        if not self.is_subscribed or not stream_id or not framework_id:
            raise MasterTrouble(UNREACHABLE, f"{kind} was not sent: there is no connection to a master")
        exchange = self._exchange = Exchange(self.address, seconds)
        try:
            status, text = exchange.post(
                SCHEDULER_PATH,
                encode_call(kind, framework_id, body),
                scheduler_headers(self._basic_credential, stream_id),
            )
        finally:
            self._exchange = None
        if not 200 <= status < 300:
            raise call_refused(kind, self.address, status, text)

    def agents(self, seconds: float) -> dict[str, list[Any]]:
        """Return the agents and the roles that the master knows, as its read endpoints list them.

        No roles where it does not tell these, which some may not read. Raises MasterTrouble.
        """
        headers = scheduler_headers(self._basic_credential)
        answer: dict[str, list[Any]] = {"roles": []}
        deadline = time.monotonic() + seconds
        try:
            exchange = self._exchange = Exchange(self.address, seconds)
            answer["agents"] = exchange.get_agents(headers)
            with suppress(MasterTrouble):
                exchange = self._exchange = Exchange(self.address, deadline - time.monotonic())
                answer["roles"] = exchange.get_roles(headers)
        finally:
            self._exchange = None
        return answer

    def interrupt_call(self) -> None:
        """Make a `call` that another thread waits in fail now."""
        exchange = self._exchange
        if exchange is not None:
            exchange.interrupt()

    @property
    def stream(self) -> str | None:
        """The stream's id while subscribed, without waiting for pymesos's lock."""
        return self._stream_id if self.is_subscribed else None

    def process_event(self, event: Any) -> None:
        """Called by pymesos for each event; one that cannot be read is reported and does not end the stream."""
        self.last_heard = time.monotonic()
        try:
            super().process_event(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            sentence = f"the master at {self.address} sent an event that cannot be read: {quote(repr(error))}"
            _log.exception("unreadable event")
            self._listener.on_event(self, "trouble", {"trouble": MasterTrouble(INTERNAL, sentence)})
        # The listener may have made us wait; that was not the master's silence.
        self.last_heard = time.monotonic()

    def on_subscribed(self, info: dict[str, Any]) -> None:
        """SUBSCRIBED."""
        self.framework_id = info["framework_id"]["value"]
        self.heartbeat_seconds = float(info.get("heartbeat_interval_seconds") or HEARTBEAT_SECONDS)
        self.is_subscribed = True
        self._listener.on_event(self, "subscribed", info)

    def on_offers(self, event: dict[str, Any]) -> None:
        """OFFERS."""
        self._listener.on_event(self, "offers", {"offers": list(event["offers"])})

    def on_inverse_offers(self, event: dict[str, Any]) -> None:
        """INVERSE_OFFERS: the operator wants agents back. Not answered: a job can neither leave nor promise it."""
        self._listener.on_event(self, "inverse_offers", {"inverse_offers": list(event["inverse_offers"])})

    def on_rescind(self, event: dict[str, Any]) -> None:
        """RESCIND."""
        self._listener.on_event(self, "rescind", {"offer_id": event["offer_id"]["value"]})

    def on_update(self, event: dict[str, Any]) -> None:
        """UPDATE. Our caller acknowledges it, once it has passed it on and in a thread of its own."""
        status = event["status"]
        if not isinstance(status, dict):
            raise TypeError("an update without a status")
        self._listener.on_event(self, "update", {"status": status})

    def on_failure(self, event: dict[str, Any]) -> None:
        """FAILURE of an agent, or of an executor with its status."""
        self._listener.on_event(
            self, "failure", {"agent_id": event["agent_id"]["value"], "status": event.get("status")}
        )

    def on_error(self, event: dict[str, Any]) -> None:
        """ERROR."""
        self._listener.on_event(self, "error", {"message": str(event["message"])})

    def on_message(self, message: dict[str, Any]) -> None:
        """MESSAGE of an executor: our tasks have none that would send one."""

    def on_heartbeat(self) -> None:
        """HEARTBEAT: has done its work by coming."""

    def on_close(self) -> None:
        """Called by pymesos as its connection closes: the stream's id is worth nothing from here on."""
        self.is_subscribed = False

    def _send(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise NotImplementedError("pymesos's own calls are not used: see `call`")

    def _shutdown(self) -> None:
        """Called by pymesos as its thread ends. A TEARDOWN is sent when it is wanted, not because of that."""

    def _run(self) -> None:
        """The I/O thread."""
        failures.error = None
        super()._run()
        self.is_subscribed = False
        error, failures.error = failures.error, None
        # Kept by pymesos for a signal handler that is not in place; it would keep the whole stack alive.
        _pymesos.process._exc_info = None
        self.interrupt_call()
        self._listener.on_end(self, error)
