"""One host of a session as its broker knows it: the Mesos task, the proxy's link, the routes that end there.

Runs in the broker. Trusts the proxy of a host to speak for that host and nothing else: it can end only the remote
commands that run there, and open others only as the shims in its task may.

    LAUNCHING --proof of the token--> CONTACTED --READY--> READY --link lost--> READY (grace) --> LOST
        any --task ended, call-back too late, GOODBYE--> LOST
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from roujiamo.broker.connection import Connection
from roujiamo.broker.outlet import Outlet
from roujiamo.errors import ProtocolError
from roujiamo.protocol import frames
from roujiamo.protocol.channel import CLOSED, decode_reason, encode_reason
from roujiamo.protocol.fields import unpack_fields
from roujiamo.protocol.link import Link
from roujiamo.protocol.route import Route

log = logging.getLogger(__name__)

LAUNCHING = "launching"
CONTACTED = "contacted"
READY = "ready"
LOST = "lost"

# Bytes that wait for a proxy which goes on asking: what its commands may have been granted, and more than any needs.
MAX_ANSWERS = 64 << 20
# Of a remote command, where only people read it; and of what it has said last on stderr.
MAX_TOLD_COMMAND = 4096
MAX_TOLD_STDERR = 4096


class Host(Outlet):
    """A host, from the ACCEPT to the end of its task."""

    __slots__ = (
        "_opened",
        "_routes",
        "_next_number",
        "_started_at",
        "_statuses",
        "_stderr",
        "agent_id",
        "alias",
        "callback_address",
        "epoch",
        "facts",
        "is_offer_void",
        "last_heard",
        "launched_at",
        "link",
        "loss",
        "name",
        "offer_ids",
        "on_command",
        "on_failed",
        "on_lost",
        "on_open",
        "on_ready",
        "remedy",
        "resume",
        "slots",
        "state",
        "task_id",
        "token",
        "transport",
        "waiting",
        "was_ready",
    )

    def __init__(
        self,
        name: str,
        *,
        agent_id: str,
        task_id: str,
        slots: int,
        token: bytes,
        resume: bytes,
        on_ready: Callable[[Host], None],
        on_lost: Callable[[Host, str], None],
        on_open: Callable[[Host, int, bytes], Route | None],
        on_failed: Callable[[Host, Route, int, bytes], str | None],
        on_command: Callable[[Host, int, Route, bool], None],
    ) -> None:
        """`token`: for first contact. `resume`: the credential for later ones. `on_*`: what the session is told.

        `on_failed` is given a command's status and what it has said last on stderr, once when it ends and once when all
        that it said is known. What it returns then is for the command's opener.
        """
        super().__init__()
        self.name = name
        self.alias = ""
        self.callback_address = ""
        self.agent_id = agent_id
        self.task_id = task_id
        self.slots = slots
        self.token: bytes | None = token
        self.resume = resume
        self.epoch = 0
        self.state = LAUNCHING
        self.was_ready = False
        self.loss = ""
        self.remedy = ""
        self.is_offer_void = False
        self.offer_ids: tuple[str, ...] = ()
        self.facts: dict[str, str] = {}
        self.link: Link | None = None
        self.transport: Connection | None = None
        self.last_heard = 0.0
        self.waiting: list[Route] = []
        self.on_ready = on_ready
        self.on_lost = on_lost
        self.on_open = on_open
        self.on_failed = on_failed
        self.on_command = on_command
        self.launched_at = time.time()
        self._routes: dict[int, Route] = {}
        self._started_at: dict[int, float] = {}
        self._stderr: dict[int, bytes] = {}
        self._statuses: dict[int, int] = {}
        self._opened: dict[int, Route] = {}
        self._next_number = 1

    # Frames to the proxy.

    def send_frame(self, frame_type: int, channel: int, *payload: bytes) -> None:
        """Queue a frame for the proxy; all that one turn of the loop queues travels in one batch."""
        if frame_type == frames.CLOSE:
            # Whoever ends a command from the opener's side says so here.
            self._end_command(channel)
        if self.link is None:
            return
        self.link.send_frame(frame_type, channel, *payload)
        self.flush_soon()

    def _write(self) -> None:
        if self.link is not None and self.transport is not None:
            pieces = self.link.pieces_to_send()
            if pieces:
                self.transport.write(*pieces)

    # Routes.

    def start_command(self, route: Route) -> None:
        """Run the route's command here, now or as soon as the host is ready."""
        route.name = self.name
        if self.state == LOST:
            route.acceptor_gone(255, _joined(self.loss, self.remedy))
        elif self.state != READY:
            self.waiting.append(route)
        elif route.state != CLOSED:
            number = self._next_number
            self._next_number += 2
            self._routes[number] = route
            self._started_at[number] = time.time()
            route.connect(self, number)
            self.on_command(self, number, route, False)

    def _end_command(self, number: int) -> None:
        """The command of that channel is over here."""
        route = self._routes.pop(number, None)
        if route is not None:
            del self._started_at[number]
            self._stderr.pop(number, None)
            self._statuses.pop(number, None)
            self.on_command(self, number, route, True)

    def receive_data(self, data: bytes | memoryview) -> None:
        """Take bytes of the proxy's connection. Raises ProtocolError; the connection is of no use then."""
        link = self.link
        if link is None:
            return
        openers: set[Outlet] = set()
        try:
            for frame_type, channel, payload in link.receive_data(data):
                if self.state == LOST:
                    # By what came before in the same batch; what it still asks for, nobody would ever end.
                    return
                if channel == 0:
                    self._receive_own(frame_type, payload)
                elif channel % 2:
                    route = self._routes.get(channel)
                    if route is not None:
                        opener = route.opener
                        if isinstance(opener, Outlet) and opener not in openers:
                            openers.add(opener)
                            opener.hold()
                        self._receive_answer(frame_type, channel, route, payload)
                else:
                    self._receive_request(frame_type, channel, payload)
        finally:
            for each in openers:
                each.flush()
        self.flush()
        if link.failure is not None:
            # It waited behind the frames that were delivered.
            raise link.failure

    def _receive_own(self, frame_type: int, payload: bytes) -> None:
        if frame_type == frames.READY and self.state == CONTACTED:
            fields = [field.decode("utf-8", "replace") for field in unpack_fields(payload)]
            self.facts = dict(zip(fields[::2], fields[1::2], strict=False))
            self.state = READY
            self.was_ready = True
            waiting, self.waiting = self.waiting, []
            for route in waiting:
                self.start_command(route)
            self.on_ready(self)
        elif frame_type == frames.GOODBYE:
            reason = payload[:500].decode("utf-8", "replace")
            self.lose(
                f"the task on {self.name} ended: {reason}" if reason else f"the task on {self.name} ended"
            )

    def _receive_answer(self, frame_type: int, number: int, route: Route, payload: bytes) -> None:
        """A frame of a command that runs here."""
        try:
            status = _failure(frame_type, payload)
            if frame_type in (frames.CLOSE, frames.OPEN_FAILURE) and route.state != CLOSED:
                payload = self._last_word(number, route, payload)
            route.frame_from_acceptor(frame_type, payload)
        except ProtocolError as error:
            route.abort(255, f"the proxy on {self.name} broke the protocol: {error}")
            self._end_command(number)
            return
        if route.state == CLOSED:
            self._end_command(number)
        elif status:
            self._statuses[number] = status
            self.on_failed(self, route, status, self._stderr.get(number, b""))
        elif frame_type == frames.EXTENDED_DATA:
            self._stderr[number] = (self._stderr.get(number, b"") + payload)[-MAX_TOLD_STDERR:]

    def _last_word(self, number: int, route: Route, payload: bytes) -> bytes:
        """Return what the last frame of a command says to its opener: why it failed, and on which host."""
        reason = decode_reason(payload)
        if reason is not None:
            return encode_reason(reason[0], reason[1], self.name)
        status = self._statuses.get(number, 0)
        sentence = self.on_failed(self, route, status, self._stderr.get(number, b"")) if status else None
        return payload if sentence is None else encode_reason(status, sentence, self.name)

    def _receive_request(self, frame_type: int, number: int, payload: bytes) -> None:
        """A frame of a shim inside this host's task."""
        if frame_type == frames.OPEN and number not in self._opened:
            if self.link is not None and self.link.queued > MAX_ANSWERS:
                self.lose(f"the task on {self.name} asks for more and more commands, and takes no answer")
                return
            route = self.on_open(self, number, payload)
            self._opened = _live(self._opened)
            if route is not None and route.state != CLOSED:
                self._opened[number] = route
            return
        route = self._opened.get(number)
        if route is None:
            return
        try:
            route.frame_from_opener(frame_type, payload)
        except ProtocolError as error:
            log.warning("%s: %s", self.name, error)
            route.abort(255, f"the request broke the protocol: {error}")
        if route.state == CLOSED:
            del self._opened[number]

    def status(self) -> dict[str, Any]:
        """Return what `roujiamo status` shows of the host; times in seconds since the epoch."""
        return {
            "name": self.name,
            "alias": self.alias,
            "state": self.state,
            "slots": self.slots,
            "task_id": self.task_id,
            "agent_id": self.agent_id,
            "since": self.launched_at,
            "facts": self.facts,
            "callback_address": self.callback_address,
            "loss": _joined(self.loss, self.remedy),
            "commands": [
                {
                    "command": route.command[:MAX_TOLD_COMMAND].decode("utf-8", "replace"),
                    "since": self._started_at[number],
                }
                for number, route in self._routes.items()
                if route.state != CLOSED
            ],
        }

    @property
    def is_busy(self) -> bool:
        """Whether a remote command runs here."""
        return any(route.state != CLOSED for route in self._routes.values())

    def lose(self, sentence: str, remedy: str = "") -> None:
        """The host is gone: every command that runs there, or that was asked for from there, ends."""
        if self.state == LOST:
            return
        self.state = LOST
        self.loss, self.remedy = sentence, remedy
        self.token = None
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
        for route in [*self._routes.values(), *self.waiting]:
            route.acceptor_gone(255, _joined(sentence, remedy))
        for number in list(self._routes):
            self._end_command(number)
        for route in self._opened.values():
            route.opener_gone()
        self._opened.clear()
        self.waiting.clear()
        self.link = None
        log.info("host %s lost (%s): %s", self.name, "ready" if self.was_ready else "not ready yet", sentence)
        self.on_lost(self, sentence)


def _joined(sentence: str, remedy: str) -> str:
    return f"{sentence}; {remedy}" if remedy else sentence


def _live(routes: dict[int, Route]) -> dict[int, Route]:
    """Return `routes` without those that the other side has closed, when there are enough to be worth a look."""
    if len(routes) < 64 or len(routes) & (len(routes) - 1):
        return routes
    return {number: route for number, route in routes.items() if route.state != CLOSED}


def _failure(frame_type: int, payload: bytes) -> int:
    """Return the status, as a shell gives it, with which a frame says that a command failed; else 0.

    Raises ProtocolError where the frame is not well formed.
    """
    if frame_type == frames.EXIT_STATUS:
        return frames.unpack_u32(payload)
    if frame_type == frames.EXIT_SIGNAL:
        return 128 + frames.SIGNAL_NUMBERS.get(unpack_fields(payload, at_least=2)[0], 0)
    return 0
