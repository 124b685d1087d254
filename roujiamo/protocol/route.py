"""Route: a channel that passes through, from a shim's connection to a proxy's and back.

Runs in the broker (shim or proxy on one side, proxy on the other) and in a proxy's worker (in-task shim on one side,
the broker on the other). Frames are passed on with the other side's number; both windows go end to end, so a route
stores nothing, and what is on its way is bounded by what the two ends have granted. Trusts neither side: each frame is
held against the channel's table, and against the window, before it is passed on.
"""

from roujiamo.errors import ProtocolError
from roujiamo.protocol.channel import (
    ACCEPTOR,
    CLOSED,
    MAX_WINDOW,
    OPENER,
    OPENING,
    REQUESTED,
    TRANSITIONS,
    decode_open,
    encode_reason,
)
from roujiamo.protocol.fields import pack_fields
from roujiamo.protocol.frames import (
    CLOSE,
    DATA,
    EXTENDED_DATA,
    NAMES,
    OPEN,
    OPEN_FAILURE,
    OPEN_OK,
    VERSION,
    WINDOW,
    unpack_u32,
)

MYPY = False
if MYPY:
    from typing import Protocol

    class Sender(Protocol):
        """A connection as a route sees it."""

        def send_frame(self, frame_type: int, channel: int, payload: bytes = b"") -> None:
            """Queue one frame."""


class Route:
    """One remote command on its way through. Create it with the OPEN frame's payload; then `connect` it.

    `state` is the acceptor's view of the channel: REQUESTED until OPEN_OK has passed, then open, then CLOSED. `name`:
    what people call the host that the opener has named, once that is known.
    """

    __slots__ = (
        "_credit_to_acceptor",
        "_credit_to_opener",
        "acceptor",
        "acceptor_number",
        "command",
        "host",
        "name",
        "opener",
        "opener_number",
        "state",
        "token",
    )

    def __init__(self, opener: "Sender", opener_number: int, open_payload: bytes) -> None:
        """Raises ProtocolError where the payload is no OPEN frame's."""
        self.opener = opener
        self.opener_number = opener_number
        self.acceptor = None  # type: Sender | None
        self.acceptor_number = 0
        self.host, self.command, self.token, self._credit_to_opener = decode_open(open_payload)
        self._credit_to_acceptor = 0
        self.name = ""
        self.state = REQUESTED

    def connect(self, acceptor: "Sender", number: int, token: bytes = b"") -> None:
        """Ask `acceptor` to run the command as its channel `number`; `token` is the one that it wants to see, if any.

        The opener's own token was for this side of the route and stays here.
        """
        self.acceptor = acceptor
        self.acceptor_number = number
        window = b"%d" % self._credit_to_opener
        acceptor.send_frame(OPEN, number, pack_fields(VERSION, self.host, self.command, token, window))

    def frame_from_opener(self, frame_type: int, payload: bytes) -> None:
        """Check a frame of the opener and pass it on. Raises ProtocolError; `abort` then."""
        if self.state == CLOSED:
            return
        self._check(ACCEPTOR, self.state, frame_type)
        if frame_type == DATA:
            if not payload:
                # It costs no window, so nothing would bound how many wait for who does not read.
                return
            self._credit_to_acceptor = _spend(self._credit_to_acceptor, payload)
        elif frame_type == WINDOW:
            self._credit_to_opener = _grant(self._credit_to_opener, payload)
        if self.acceptor is not None:
            self.acceptor.send_frame(frame_type, self.acceptor_number, payload)
        if frame_type == CLOSE:
            self.state = CLOSED

    def frame_from_acceptor(self, frame_type: int, payload: bytes) -> None:
        """Check a frame of the acceptor and pass it on. Raises ProtocolError; `abort` then."""
        if self.state == CLOSED:
            return
        self._check(OPENER, OPENING if self.state == REQUESTED else self.state, frame_type)
        if frame_type in (DATA, EXTENDED_DATA):
            if not payload:
                return
            self._credit_to_opener = _spend(self._credit_to_opener, payload)
        elif frame_type in (OPEN_OK, WINDOW):
            self._credit_to_acceptor = _grant(self._credit_to_acceptor, payload)
        self.opener.send_frame(frame_type, self.opener_number, payload)
        if frame_type == OPEN_OK:
            self.state = TRANSITIONS[OPENER][OPENING][OPEN_OK]
        elif frame_type in (CLOSE, OPEN_FAILURE):
            self.state = CLOSED

    def opener_gone(self) -> None:
        """The opener's connection is lost: its command is to be ended."""
        if self.state != CLOSED:
            self.state = CLOSED
            if self.acceptor is not None:
                self.acceptor.send_frame(CLOSE, self.acceptor_number)

    def acceptor_gone(self, status: int, sentence: str) -> None:
        """The command cannot run or go on: tell the opener why."""
        if self.state != CLOSED:
            refused = self.state == REQUESTED
            self.state = CLOSED
            self.opener.send_frame(
                OPEN_FAILURE if refused else CLOSE,
                self.opener_number,
                encode_reason(status, sentence, self.name),
            )

    def abort(self, status: int, sentence: str) -> None:
        """A side broke the rules: the command is to be ended, and its opener told why."""
        if self.state != CLOSED:
            if self.acceptor is not None:
                self.acceptor.send_frame(CLOSE, self.acceptor_number)
            self.acceptor_gone(status, sentence)

    @staticmethod
    def _check(role: str, state: str, frame_type: int) -> None:
        if frame_type not in TRANSITIONS[role][state]:
            raise ProtocolError(
                "a %s frame for a channel that is %s" % (NAMES.get(frame_type, frame_type), state)
            )


def _spend(credit: int, payload: bytes) -> int:
    if len(payload) > credit:
        raise ProtocolError("%d bytes came where the window had %d" % (len(payload), credit))
    return credit - len(payload)


def _grant(credit: int, payload: bytes) -> int:
    granted = credit + unpack_u32(payload)
    if granted > MAX_WINDOW:
        raise ProtocolError("a window of more than %d bytes" % MAX_WINDOW)
    return granted
