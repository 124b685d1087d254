"""The framework, kept subscribed: which master to try, when to give a subscription up, what to do with each event.

Runs in the driver's main thread, save the two methods that say otherwise. Time is an argument; nothing here blocks.

    IDLE -- retry time --> SEEKING -- a master listens --> ASKING -- SUBSCRIBED --> SUBSCRIBED
      ^                       |                              |                        |
      +------- trouble -------+----------- trouble ----------+-- lost, or too silent -+      any -- fatal --> ENDED

A subscription that is given up is forgotten: what still comes from it does not count. An update is acknowledged once
its line is on the way to the broker, so one that was lost with us comes again. Calls that mean something later wait for
the next subscription; an ACCEPT does not: its offers ended with the connection, which is said.
"""

from __future__ import annotations

import enum
import logging
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from roujiamo.driver.finder import MasterFinder
from roujiamo.driver.inbox import Inbox
from roujiamo.driver.lines import (
    LASTING_CALLS,
    Configuration,
    Request,
    encode_line,
    error_line,
    subscribed_line,
)
from roujiamo.driver.pending import PendingCalls
from roujiamo.driver.worker import Worker
from roujiamo.errors import RoujiamoError, UsageError
from roujiamo.pymesos_driver.master import parse_address
from roujiamo.pymesos_driver.subscription import Subscription
from roujiamo.pymesos_driver.trouble import (
    INTERNAL,
    INVALID,
    NO_MASTER,
    REMOVED,
    UNREACHABLE,
    MasterTrouble,
    Redirected,
    error_event,
)

MAX_REDIRECTS = 5
FIRST_RETRY_SECONDS = 0.2
# A subscription that held this long was a good one: the next trouble is a new one.
STEADY_SECONDS = 5.0
# After a pause of this process (SIGSTOP, a suspended machine) what has arrived meanwhile must first be read.
SECOND_LOOK_SECONDS = 1.0
# What an event weighs in the inbox that is not encoded there.
SMALL_EVENT = 1024

_log = logging.getLogger(__name__)


class Phase(enum.Enum):
    """See the module's diagram."""

    IDLE = "waiting to try"
    SEEKING = "looking for a master"
    ASKING = "asked a master"
    SUBSCRIBED = "subscribed"
    ENDED = "ended"


class Framework:
    """`emit` writes a line to the broker. `ended_by` is the fatal trouble, once there is one."""

    def __init__(
        self, configuration: Configuration, inbox: Inbox, emit: Callable[[bytes], None], source: random.Random
    ) -> None:
        self.phase = Phase.IDLE
        self.ended_by: MasterTrouble | None = None
        # The master says, while we end the framework, that it has removed it.
        self.is_gone = False
        # A master may have a framework of ours whose id we have not been told.
        self.may_exist_unknown = False
        self.info: dict[str, Any] = dict(configuration.framework)
        self.calls = Worker("calls", inbox)
        self.finder = MasterFinder(configuration.master)
        self._seeking = Worker("finder", inbox)
        self._configuration = configuration
        self._limits = configuration.limits
        self._inbox = inbox
        self._emit = emit
        self._random = source
        self._is_closing = False
        self._subscription: Subscription | None = None
        self._redirects = 0
        self._tries = 0
        self._retry_at = 0.0
        self._subscribed_at = 0.0
        self._overdue_since: float | None = None
        self._last_reported: tuple[str, str] | None = None
        self._is_suppressed = False
        self._pending = PendingCalls()
        # The call that failed last and was kept for the next subscription: once is enough.
        self._repeated: Request | None = None

    @property
    def framework_id(self) -> str | None:
        """The framework's id, once a master gave it one."""
        value = (self.info.get("id") or {}).get("value")
        return value if isinstance(value, str) else None

    @property
    def stream(self) -> tuple[str, str] | None:
        """The address and the stream id to make calls with, while subscribed."""
        subscription = self._subscription
        stream = subscription.stream if subscription is not None else None
        return (subscription.address, stream) if subscription is not None and stream else None

    @property
    def credential(self) -> Any:
        """What the framework proves its principal with, or None."""
        return self._configuration.credential

    def close(self) -> None:
        """Begin no new subscription and pass nothing on any more; one that was asked for may still come."""
        self._is_closing = True

    def tick(self, now: float) -> float:
        """Do what is due; return the seconds until something may be due again."""
        if self.phase is Phase.IDLE and not self._is_closing:
            if now < self._retry_at:
                return self._retry_at - now
            self.phase = Phase.SEEKING
            self._seeking.submit(self.finder.find, self._on_found)
        subscription = self._subscription
        if subscription is None:
            return 60.0
        if self.phase is Phase.ASKING:
            seconds, since = self._limits.answer_seconds, subscription.started_at
            sentence = f"the master at {subscription.address} has not answered SUBSCRIBE for {seconds:g} s"
        else:
            seconds = self._limits.missed_heartbeats * subscription.heartbeat_seconds
            since = subscription.last_heard
            sentence = f"the master at {subscription.address} has been silent for {seconds:g} s: heartbeats are missing"
        # While the broker does not read, the I/O thread waits for us and not for the master.
        if now - since < seconds or self._inbox.is_full:
            self._overdue_since = None
            return max(0.05, seconds - (now - since))
        if self._overdue_since is None:
            self._overdue_since = now
        if now - self._overdue_since < min(SECOND_LOOK_SECONDS, seconds):
            return 0.1
        self._give_up(MasterTrouble(UNREACHABLE, sentence), now)
        return 0.0

    def send(self, request: Request) -> None:
        """Make the call that the broker asks for, now or on the next subscription, or say that it is lost."""
        if request.name in ("revive", "suppress"):
            self._is_suppressed = request.name == "suppress"
        subscription = self._subscription
        if self.phase is not Phase.SUBSCRIBED or subscription is None:
            self._not_sent(request)
            return
        if request.name == "agents":
            ask = partial(subscription.agents, self._limits.call_seconds)
            self.calls.submit(ask, partial(self._on_agents, subscription, request))
            return
        job = partial(subscription.call, request.kind, request.body, self._limits.call_seconds)
        self.calls.submit(job, partial(self._on_called, subscription, request))

    def _on_agents(
        self, subscription: Subscription, request: Request, outcome: dict[str, list[Any]] | MasterTrouble
    ) -> None:
        if isinstance(outcome, MasterTrouble):
            # It only explains things to the user: nothing is given up for it.
            self._emit_error(outcome, request)
        elif subscription is self._subscription:
            self._emit(encode_line({"event": "agents", **outcome}))

    def _not_sent(self, request: Request) -> None:
        if request.name not in LASTING_CALLS:
            sentence = (
                f"{request.kind} was not sent: there is no connection to a master, and its offers are void"
            )
            self._emit_error(MasterTrouble(UNREACHABLE, sentence), request)
        elif not self._pending.add(request):
            self._emit_error(MasterTrouble(INTERNAL, f"{request.kind} was not sent: too many wait"), request)

    def _on_called(self, subscription: Subscription, request: Request, outcome: MasterTrouble | None) -> None:
        if not isinstance(outcome, MasterTrouble):
            return
        if subscription is not self._subscription or outcome.must_resubscribe:
            if subscription is self._subscription:
                self._give_up(outcome, time.monotonic())
            self._not_sent(request)
        elif outcome.is_fatal:
            self._end(outcome)
        else:
            self._emit_error(outcome, request)
            is_lasting = outcome.kind == UNREACHABLE and request.name in LASTING_CALLS
            if is_lasting and request is not self._repeated and self._pending.add(request):
                # Whether it arrived is not known; to make it twice does no harm, and a lost REVIVE is a wait for ever.
                self._repeated = request
                self._give_up(outcome, time.monotonic())

    def _on_found(self, master: str | MasterTrouble) -> None:
        if self.phase is not Phase.SEEKING or self._is_closing:
            return
        if isinstance(master, MasterTrouble):
            self._on_trouble(master, time.monotonic())
            return
        self.phase = Phase.ASKING
        self._overdue_since = None
        self._subscription = Subscription(master, self.info, self._configuration.credential, self)
        self._subscription.start()

    def on_event(self, subscription: Subscription, name: str, event: dict[str, Any]) -> None:
        """Runs in pymesos's I/O thread: only hands the event on, encoded where that takes time."""
        line = b""
        if name in ("offers", "inverse_offers", "rescind", "update", "failure"):
            line = encode_line({"event": name, **event})
        self._inbox.put(partial(self._on_event, subscription, name, event, line), len(line) or SMALL_EVENT)

    def on_end(self, subscription: Subscription, error: BaseException | None) -> None:
        """Runs in pymesos's I/O thread. Goes the way of the events, behind the last of them."""
        self._inbox.put(partial(self._on_end, subscription, error), SMALL_EVENT)

    def _on_event(self, subscription: Subscription, name: str, event: dict[str, Any], line: bytes) -> None:
        if subscription is not self._subscription:
            return
        if name == "subscribed":
            self._on_subscribed(subscription, event)
        elif name == "error":
            self._end(error_event(event["message"]))
        elif name == "trouble":
            self._emit_error(event["trouble"])
        elif not self._is_closing:
            self._emit(line)
            if name == "update" and event["status"].get("uuid"):
                self._acknowledge(subscription, event["status"])

    def _on_subscribed(self, subscription: Subscription, info: Mapping[str, Any]) -> None:
        is_again = self.framework_id is not None
        self.info["id"] = {"value": info["framework_id"]["value"]}
        self.may_exist_unknown = False
        self.phase = Phase.SUBSCRIBED
        self._subscribed_at = time.monotonic()
        self._overdue_since = None
        self._redirects = 0
        self._last_reported = None
        _log.info("subscribed at %s as framework %s", subscription.address, self.framework_id)
        if self._is_closing:
            return
        self._emit(encode_line(subscribed_line(info, subscription.address, is_again=is_again)))
        for request in self._pending.take_all(self._is_suppressed):
            self.send(request)

    def _acknowledge(self, subscription: Subscription, status: Mapping[str, Any]) -> None:
        body = {name: status[name] for name in ("agent_id", "task_id", "uuid") if name in status}
        job = partial(subscription.call, "ACKNOWLEDGE", body, self._limits.call_seconds)

        def on_done(outcome: MasterTrouble | None) -> None:
            # The agent repeats an update until it is acknowledged: the next time will do.
            if isinstance(outcome, MasterTrouble):
                _log.info("an update was not acknowledged: %s", outcome)

        self.calls.submit(job, on_done)

    def _on_end(self, subscription: Subscription, error: BaseException | None) -> None:
        if subscription is not self._subscription:
            return
        now = time.monotonic()
        if isinstance(error, Redirected):
            self._follow(error, now)
        elif isinstance(error, MasterTrouble):
            self._give_up(error, now)
        elif isinstance(error, RoujiamoError):
            self._give_up(MasterTrouble(UNREACHABLE, str(error)), now)
        else:
            _log.error("pymesos ended", exc_info=error)
            self._give_up(MasterTrouble(INTERNAL, f"pymesos ended by itself: {type(error).__name__}"), now)

    def _follow(self, redirect: Redirected, now: float) -> None:
        self._redirects += 1
        try:
            target = parse_address(redirect.location)
        except UsageError as error:
            self._give_up(MasterTrouble(NO_MASTER, f"{redirect}, which is no address: {error}"), now)
            return
        self._give_up(MasterTrouble(NO_MASTER, str(redirect)), now, quietly=self._redirects <= MAX_REDIRECTS)
        if self._redirects <= MAX_REDIRECTS:
            self.finder.follow(target)
            self._retry_at = now

    def _give_up(self, trouble: MasterTrouble, now: float, *, quietly: bool = False) -> None:
        """End the current subscription, and go on with the trouble that it ended by."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        subscription.stop()
        if self.phase is Phase.SUBSCRIBED:
            if now - self._subscribed_at >= STEADY_SECONDS:
                self._tries = 0
            if not self._is_closing:
                self._emit(encode_line({"event": "disconnected", "reason": str(trouble)}))
            quietly = True
        elif subscription.has_asked and trouble.kind == UNREACHABLE and self.framework_id is None:
            self.may_exist_unknown = True
        self._on_trouble(trouble, now, quietly=quietly)

    def _on_trouble(self, trouble: MasterTrouble, now: float, *, quietly: bool = False) -> None:
        if trouble.is_fatal and self._is_final(trouble):
            self._end(trouble)
            return
        self.phase = Phase.IDLE
        self.finder.move_on()
        pause = min(self._limits.retry_seconds, FIRST_RETRY_SECONDS * 2 ** min(self._tries, 10))
        self._tries += 1
        # Many brokers lose one master at the same moment; they must not all come back at the same moment.
        self._retry_at = now + pause * self._random.uniform(0.5, 1.0)
        if not quietly and self._last_reported != (trouble.kind, str(trouble)):
            self._last_reported = (trouble.kind, str(trouble))
            self._emit_error(trouble)

    def _is_final(self, trouble: MasterTrouble) -> bool:
        """Whether a fatal trouble ends the framework: an address that is wrong does so only at the start.

        Later there was a master behind it: a name server or a proxy that is wrong for a while must not end a job.
        """
        if trouble.kind not in (UNREACHABLE, INVALID):
            return True
        if self.framework_id is not None:
            return False
        return trouble.kind == UNREACHABLE or not self.finder.has_choice

    def _end(self, trouble: MasterTrouble) -> None:
        subscription, self._subscription = self._subscription, None
        self.phase = Phase.ENDED
        if self._is_closing and trouble.kind == REMOVED:
            self.is_gone = True
        else:
            self.ended_by = trouble
        self._emit_error(trouble, is_fatal=True)
        if subscription is not None:
            subscription.stop()

    def tell_removed(self) -> None:
        """Say, while closing too, that the framework was over before it could be torn down."""
        self._emit(encode_line(error_line(error_event("Framework has been removed"), is_fatal=True)))

    def _emit_error(
        self, trouble: MasterTrouble, request: Request | None = None, *, is_fatal: bool = False
    ) -> None:
        _log.info("%s: %s", trouble.kind, trouble)
        if not self._is_closing:
            self._emit(encode_line(error_line(trouble, is_fatal=is_fatal, request=request)))
