"""Channel: one remote command as one side of the wire sees it.

Runs in the shim (opener) and in the proxy's worker (acceptor); the broker in between relays frames and keeps only the
two windows. Trusts nobody: a frame that the table does not have for the state raises ProtocolError.

                 opener                                     acceptor
    IDLE --open()--> OPENING                     IDLE --OPEN--> REQUESTED
    OPENING --OPEN_OK--> OPEN                    REQUESTED --accept()--> OPEN
    OPENING --OPEN_FAILURE--> CLOSED             REQUESTED --refuse()--> CLOSED
    any --close() or CLOSE--> CLOSED             any --close() or CLOSE--> CLOSED

Numbers are never used twice on a connection, so a closed channel needs no farewell in return: what was under way to it
is IGNORED. Windows are RFC 4254 section 5.2's: stdout and stderr share the one of their direction.
"""

from roujiamo.errors import ProtocolError
from roujiamo.protocol.fields import pack_fields, unpack_fields
from roujiamo.protocol.frames import (
    CLOSE,
    DATA,
    EOF,
    EXIT_SIGNAL,
    EXIT_STATUS,
    EXTENDED_DATA,
    INITIAL_WINDOW,
    LARGE,
    MAX_COMMAND,
    MAX_DATA,
    NAMES,
    OPEN,
    OPEN_FAILURE,
    OPEN_OK,
    SIGNAL,
    SIGNAL_NUMBERS,
    VERSION,
    WINDOW,
    encode_pieces,
    pack_u32,
    unpack_u32,
)

MYPY = False
if MYPY:
    from typing import Any

OPENER = "opener"
ACCEPTOR = "acceptor"

IDLE = "idle"
OPENING = "opening"
REQUESTED = "requested"
OPEN_STATE = "open"
CLOSED = "closed"

# The event of a frame that came too late to matter.
IGNORED = 0

MAX_WINDOW = 0xFFFF_FFFF

# role -> state -> frame -> next state. CLOSED is not in it: a closed channel ignores everything.
TRANSITIONS = {
    OPENER: {
        IDLE: {},
        OPENING: {OPEN_OK: OPEN_STATE, OPEN_FAILURE: CLOSED, CLOSE: CLOSED},
        OPEN_STATE: {
            DATA: OPEN_STATE,
            EXTENDED_DATA: OPEN_STATE,
            WINDOW: OPEN_STATE,
            EOF: OPEN_STATE,
            EXIT_STATUS: OPEN_STATE,
            EXIT_SIGNAL: OPEN_STATE,
            CLOSE: CLOSED,
        },
    },
    ACCEPTOR: {
        IDLE: {OPEN: REQUESTED},
        REQUESTED: {CLOSE: CLOSED},
        OPEN_STATE: {
            DATA: OPEN_STATE,
            WINDOW: OPEN_STATE,
            EOF: OPEN_STATE,
            SIGNAL: OPEN_STATE,
            CLOSE: CLOSED,
        },
    },
}  # type: dict[str, dict[str, dict[int, str]]]


def decode_open(payload: bytes) -> "tuple[bytes, bytes, bytes, int]":
    """Return (host, command, token, opener's receive window in bytes) of an OPEN frame.

    Raises ProtocolError for another version, an oversized command or a window that is no number.
    """
    version, host, command, token, window = unpack_fields(payload, at_least=5)[:5]
    if version != VERSION:
        raise ProtocolError(
            "the peer speaks version %s of the protocol, this side %s; install the same roujiamo on both"
            % (ascii(version[:20].decode("latin-1")), VERSION.decode())
        )
    if not host or len(host) > 255:
        raise ProtocolError("a request names no host, or one of more than 255 bytes")
    if len(command) > MAX_COMMAND:
        raise ProtocolError("a command of %d bytes; %d are allowed" % (len(command), MAX_COMMAND))
    return host, command, token, _decode_number(window)


def decode_reason(payload: bytes) -> "tuple[int, str, str] | None":
    """Return (exit status, sentence, host) of an OPEN_FAILURE or CLOSE frame; None where it gives no reason.

    The host is called as people call it, which its opener need not know; "" where nobody has said so.
    """
    if not payload:
        return None
    status, sentence, *more = unpack_fields(payload, at_least=2)
    host = more[0] if more else b""
    return _decode_number(status), sentence.decode("utf-8", "replace"), host.decode("utf-8", "replace")


def encode_reason(status: int, sentence: str, host: str = "") -> bytes:
    """Return the payload of an OPEN_FAILURE or CLOSE frame."""
    return pack_fields(b"%d" % status, *(text.encode("utf-8", "replace") for text in (sentence, host)))


def _decode_number(field: bytes) -> int:
    if not field.isdigit() or len(field) > 10 or int(field) > MAX_WINDOW:
        raise ProtocolError("a frame has %s where a number is needed" % ascii(field[:20].decode("latin-1")))
    return int(field)


class Channel:
    """One side of a channel.

    Feed it the frames that carry its number (`receive_frame`), call `send_*`, and write what `data_to_send` returns.
    After each received byte has been passed on, say so with `consume`, or the peer stops at the end of its window.
    """

    __slots__ = (
        "_out",
        "_receive_limit",
        "_receive_window",
        "_unreported",
        "number",
        "receive_eof",
        "role",
        "send_eof_done",
        "sendable",
        "state",
    )

    def __init__(self, number: int, role: str, receive_window: int = INITIAL_WINDOW) -> None:
        """`receive_window`: how many bytes the peer may send before the first `consume`."""
        self.number = number
        self.role = role
        self.state = IDLE
        self.sendable = 0
        self.receive_eof = False
        self.send_eof_done = False
        self._receive_limit = receive_window
        self._receive_window = receive_window
        self._unreported = 0
        self._out = []  # type: list[tuple[bytes, ...]]

    def receive_frame(self, frame_type: int, payload: bytes) -> "tuple[int, Any]":
        """Take one frame of this channel; return the event (frame type, value).

        OPEN: (host, command, token). OPEN_FAILURE: (exit status, sentence, host). CLOSE: the same or None. DATA and
        EXTENDED_DATA: the bytes. SIGNAL: its name. EXIT_STATUS: the number. EXIT_SIGNAL: (name, whether a core was
        dumped). The others: None. (IGNORED, None) on a closed channel.

        Raises ProtocolError where the peer breaks the rules; the connection cannot go on.
        """
        if self.state == CLOSED:
            return IGNORED, None
        following = TRANSITIONS[self.role][self.state].get(frame_type)
        if following is None:
            raise ProtocolError(
                "a %s frame for a channel that is %s" % (NAMES.get(frame_type, frame_type), self.state)
            )
        value = self._decode(frame_type, payload)
        self.state = following
        return frame_type, value

    def _decode(self, frame_type: int, payload: bytes) -> "Any":
        if frame_type in (DATA, EXTENDED_DATA):
            if len(payload) > self._receive_window:
                raise ProtocolError(
                    "%d bytes came where the window had %d" % (len(payload), self._receive_window)
                )
            if self.receive_eof and frame_type == DATA:
                raise ProtocolError("data came after the end of the stream")
            self._receive_window -= len(payload)
            return payload
        if frame_type == WINDOW:
            self._widen(unpack_u32(payload))
            return None
        if frame_type == EOF:
            self.receive_eof = True
            return None
        if frame_type == OPEN:
            host, command, token, window = decode_open(payload)
            self._widen(window)
            return host, command, token
        if frame_type == OPEN_OK:
            self._widen(unpack_u32(payload))
            return None
        if frame_type == EXIT_STATUS:
            return unpack_u32(payload)
        if frame_type == EXIT_SIGNAL:
            name, core = unpack_fields(payload, at_least=2)[:2]
            return name, core == b"1"
        if frame_type == SIGNAL:
            if payload not in SIGNAL_NUMBERS:
                raise ProtocolError("a signal of the unknown name %s" % ascii(payload[:20].decode("latin-1")))
            return payload
        reason = decode_reason(payload)
        if frame_type == OPEN_FAILURE and reason is None:
            raise ProtocolError("an OPEN_FAILURE frame without a reason")
        return reason

    def _widen(self, increment: int) -> None:
        if self.sendable + increment > MAX_WINDOW:
            raise ProtocolError("a window of more than %d bytes" % MAX_WINDOW)
        self.sendable += increment

    def consume(self, count: int) -> None:
        """Say that `count` received bytes have been passed on, so that the peer may send as many again."""
        self._unreported += count
        # Reporting each write would cost a frame each; a quarter keeps the pipe full.
        if self._unreported * 4 >= self._receive_limit and self.state in (OPEN_STATE, OPENING):
            self._receive_window += self._unreported
            self._put(WINDOW, pack_u32(self._unreported))
            self._unreported = 0

    def open(self, host: bytes, command: bytes, token: bytes = b"") -> None:
        """Ask for `command` to be run on `host`. Opener, once."""
        self._require(OPENER, IDLE)
        self.state = OPENING
        window = b"%d" % self._receive_limit
        self._put(OPEN, pack_fields(VERSION, host, command, token, window))

    def accept(self) -> None:
        """Say that the command is running. Acceptor, after OPEN."""
        self._require(ACCEPTOR, REQUESTED)
        self.state = OPEN_STATE
        self._put(OPEN_OK, pack_u32(self._receive_limit))

    def refuse(self, status: int, sentence: str) -> None:
        """Say that the command will not run, and why. Acceptor, after OPEN."""
        self._require(ACCEPTOR, REQUESTED)
        self.state = CLOSED
        self._put(OPEN_FAILURE, encode_reason(status, sentence))

    def send_data(self, data: "bytes | memoryview") -> int:
        """Queue stdin (opener) or stdout (acceptor); return how many bytes the window took."""
        if self.send_eof_done:
            raise ValueError("data after the end of the stream")
        return self._send(DATA, data)

    def send_stderr(self, data: "bytes | memoryview") -> int:
        """Queue stderr; return how many bytes the window took. Acceptor."""
        self._require(ACCEPTOR, OPEN_STATE)
        return self._send(EXTENDED_DATA, data)

    def _send(self, frame_type: int, data: "bytes | memoryview") -> int:
        if self.state != OPEN_STATE:
            return 0
        taken = min(len(data), self.sendable)
        if taken == len(data) < LARGE:
            if taken:
                self._put(frame_type, data)
                self.sendable -= taken
            return taken
        # What cannot change is not copied.
        view = memoryview(data if isinstance(data, bytes) else bytes(data[:taken]))
        for start in range(0, taken, MAX_DATA):
            self._put(frame_type, view[start : min(start + MAX_DATA, taken)])
        self.sendable -= taken
        return taken

    def send_eof(self) -> None:
        """Say that no more `send_data` follows. A second call does nothing."""
        if self.state == OPEN_STATE and not self.send_eof_done:
            self.send_eof_done = True
            self._put(EOF, b"")

    def send_signal(self, name: bytes) -> None:
        """Ask for the signal to be delivered to the command. Opener."""
        self._require(OPENER, OPEN_STATE)
        if name not in SIGNAL_NUMBERS:
            raise ValueError("no signal %r" % name)
        self._put(SIGNAL, name)

    def send_exit_status(self, status: int) -> None:
        """Say how the command's process ended. Acceptor."""
        self._require(ACCEPTOR, OPEN_STATE)
        self._put(EXIT_STATUS, pack_u32(status))

    def send_exit_signal(self, name: bytes, core_dumped: bool) -> None:
        """Say that a signal ended the command's process. Acceptor."""
        self._require(ACCEPTOR, OPEN_STATE)
        self._put(EXIT_SIGNAL, pack_fields(name, b"1" if core_dumped else b"0"))

    def close(self, status: "int | None" = None, sentence: str = "") -> None:
        """End the channel; with `status` and `sentence` where a failure of ours ends it. Idempotent."""
        if self.state in (CLOSED, IDLE):
            self.state = CLOSED
            return
        self.state = CLOSED
        self._put(CLOSE, b"" if status is None else encode_reason(status, sentence))

    def data_to_send(self) -> bytes:
        """Return all queued frames, and forget them."""
        if not self._out:
            return b""
        return b"".join([b"".join(frame) for frame in self.frames_to_send()])

    def frames_to_send(self) -> "list[tuple[bytes, ...]]":
        """Return the queued frames, each as the pieces that it is to be written in, and forget them."""
        frames = self._out
        if frames:
            self._out = []
        return frames

    def _put(self, frame_type: int, payload: "bytes | memoryview") -> None:
        self._out.append(encode_pieces(frame_type, self.number, payload))

    def _require(self, role: str, state: str) -> None:
        if self.role != role or self.state != state:
            raise ValueError("not for a channel that is %s on the %s's side" % (self.state, self.role))
