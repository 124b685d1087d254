"""Frames: the unit of everything that shim, broker and proxy say to one another.

Runs in all three. Modelled on SSH's connection protocol (RFC 4254 section 5): channels with windows, stderr as
extended data, exit status and exit signal as messages. Trusts nobody: a length is checked before it is waited for.

    u8 type, u32 channel, u32 length, payload                 (network byte order)

Channel 0 belongs to the connection itself. See `fields` for payloads of several byte strings.
"""

from _struct import Struct

from roujiamo.errors import ProtocolError

VERSION = b"1"

# One command of one shim to one host.
OPEN = 1  # fields: version, host, command, token, opener's receive window (decimal), launcher (reserved)
OPEN_OK = 2  # u32: the acceptor's receive window
OPEN_FAILURE = 3  # fields: exit status (decimal), sentence, the host's name where it is known
DATA = 4  # opener to acceptor: stdin; acceptor to opener: stdout
EXTENDED_DATA = 5  # stderr
WINDOW = 6  # u32: so many bytes more may be sent to me
EOF = 7  # no more DATA from this side
SIGNAL = 8  # a signal's name without SIG
EXIT_STATUS = 9  # u32
EXIT_SIGNAL = 10  # fields: a signal's name without SIG, b"1" where a core was dumped
CLOSE = 11  # empty, or fields as of OPEN_FAILURE

# The connection between proxy and broker (channel 0).
WELCOME = (
    32  # what `roujiamo.proxy.welcome` makes: environment, settings; then the resume credential, 32 bytes
)
PING = 33  # empty
PONG = 34  # empty
ACK = 35  # u64: so many batches have arrived
GOODBYE = 36  # a sentence: this side ends the session and does not come back
READY = 37  # fields: facts about the host, name and value in turn (proxy to broker)
CONTROL = 38  # JSON: requests of our own programs to the broker

NAMES = {
    OPEN: "OPEN",
    OPEN_OK: "OPEN_OK",
    OPEN_FAILURE: "OPEN_FAILURE",
    DATA: "DATA",
    EXTENDED_DATA: "EXTENDED_DATA",
    WINDOW: "WINDOW",
    EOF: "EOF",
    SIGNAL: "SIGNAL",
    EXIT_STATUS: "EXIT_STATUS",
    EXIT_SIGNAL: "EXIT_SIGNAL",
    CLOSE: "CLOSE",
    WELCOME: "WELCOME",
    PING: "PING",
    PONG: "PONG",
    ACK: "ACK",
    GOODBYE: "GOODBYE",
    READY: "READY",
    CONTROL: "CONTROL",
}

# A command is one argument of `sh -c`: Linux refuses one above 128 KiB (execve(2), MAX_ARG_STRLEN).
MAX_COMMAND = 131_071
# The largest frame is a WELCOME (the user's environment); Linux bounds an environment to 2 MiB by default.
MAX_PAYLOAD = 4 << 20
# A pipe's capacity (pipe(7)): one read fills at most one frame.
MAX_DATA = 65_536
# The window a channel starts with, in bytes. It bounds what one stopped reader can make the broker keep.
INITIAL_WINDOW = 1 << 20

# A payload of this size and more is not copied behind its header, nor anywhere else on its way to the socket.
LARGE = 4096

HEADER = Struct("!BII")
_STREAMS = (DATA, EXTENDED_DATA)
_U32 = Struct("!I")
_U64 = Struct("!Q")

# The numbers that x86 and Arm Linux share (signal(7)); the wire carries names, as RFC 4254 section 6.9 does.
SIGNAL_NUMBERS = {
    b"HUP": 1,
    b"INT": 2,
    b"QUIT": 3,
    b"ILL": 4,
    b"TRAP": 5,
    b"ABRT": 6,
    b"BUS": 7,
    b"FPE": 8,
    b"KILL": 9,
    b"USR1": 10,
    b"SEGV": 11,
    b"USR2": 12,
    b"PIPE": 13,
    b"ALRM": 14,
    b"TERM": 15,
    b"STKFLT": 16,
    b"CHLD": 17,
    b"CONT": 18,
    b"STOP": 19,
    b"TSTP": 20,
    b"TTIN": 21,
    b"TTOU": 22,
    b"URG": 23,
    b"XCPU": 24,
    b"XFSZ": 25,
    b"VTALRM": 26,
    b"PROF": 27,
    b"WINCH": 28,
    b"IO": 29,
    b"PWR": 30,
    b"SYS": 31,
}
SIGNAL_NAMES = {number: name for name, number in SIGNAL_NUMBERS.items()}


def encode(frame_type: int, channel: int, payload: bytes = b"") -> bytes:
    """Return one frame as bytes."""
    return HEADER.pack(frame_type, channel, len(payload)) + payload


def encode_pieces(frame_type: int, channel: int, payload: "bytes | memoryview") -> "tuple[bytes, ...]":
    """Return one frame as the pieces that it is to be written in, without a copy of a large payload."""
    size = len(payload)
    if size < LARGE:
        return (HEADER.pack(frame_type, channel, size) + payload,)
    return HEADER.pack(frame_type, channel, size), payload  # type: ignore[return-value]


def pack_u32(value: int) -> bytes:
    """Return the payload of a frame that carries one 32-bit number."""
    return _U32.pack(value)


def unpack_u32(payload: bytes) -> int:
    """Return the number a 4-byte payload carries; ProtocolError where it has another length."""
    if len(payload) != 4:
        raise ProtocolError("a frame that carries one number has %d bytes" % len(payload))
    return int(_U32.unpack(payload)[0])


def pack_u64(value: int) -> bytes:
    """Return the payload of a frame that carries one 64-bit number."""
    return _U64.pack(value)


def unpack_u64(payload: bytes) -> int:
    """Return the number an 8-byte payload carries; ProtocolError where it has another length."""
    if len(payload) != 8:
        raise ProtocolError("a frame that carries one long number has %d bytes" % len(payload))
    return int(_U64.unpack(payload)[0])


def cut(
    data: "bytes | memoryview", max_payload: int = MAX_PAYLOAD
) -> "tuple[list[tuple[int, int, bytes]], int]":
    """Return the whole frames that `data` begins with, as (type, channel, payload), and where what is left begins.

    A large payload of a stream is not copied out of a view (0.4 s a gigabyte): it is a view itself, good for as long as
    `data` is, which whoever keeps it makes bytes of.

    Raises ProtocolError at an unknown type or an oversized length.
    """
    frames = []  # type: list[tuple[int, int, bytes]]
    position = 0
    size = len(data)
    while size - position >= 9:
        frame_type, channel, length = HEADER.unpack_from(data, position)
        if length > max_payload or frame_type not in NAMES:
            raise _refused(frame_type, length, max_payload)
        end = position + 9 + length
        if end > size:
            break
        payload = data[position + 9 : end]  # type: bytes  # type: ignore[assignment]
        if length < LARGE or frame_type not in _STREAMS:
            payload = bytes(payload)
        frames.append((frame_type, channel, payload))
        position = end
    return frames, position


def _refused(frame_type: int, length: int, max_payload: int) -> ProtocolError:
    """Return what is wrong with a header."""
    if frame_type not in NAMES:
        return ProtocolError("a frame of the unknown type %d" % frame_type)
    return ProtocolError("a %s frame of %d bytes; %d are allowed" % (NAMES[frame_type], length, max_payload))


class Decoder:
    """Cuts a byte stream into frames.

    `receive_data(data)` returns the frames that are complete, as (type, channel, payload) tuples; what is left waits
    for the next call. A large payload may be a view of `data` (see `cut`). Keeps at most one frame, so at most
    `max_payload` bytes and a header.
    """

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._max_payload = max_payload
        self._buffer = bytearray()

    def receive_data(self, data: "bytes | memoryview") -> "list[tuple[int, int, bytes]]":
        """Take bytes from the peer; return the frames they complete.

        Raises ProtocolError at an unknown type or an oversized length; the decoder is of no use after it.
        """
        if len(data) < LARGE and not self._buffer:
            # Slices of so little cost less than views of it.
            data = bytes(data)
            frames, end = cut(data, self._max_payload)
            if end < len(data):
                self._buffer += data[end:]
            return frames
        first = []  # type: list[tuple[int, int, bytes]]
        with memoryview(data) as view:
            start = self._complete(view, first) if self._buffer else 0
            # Whole frames are cut out of what came; only what is left of it is copied.
            frames, end = cut(view[start:], self._max_payload)
            if start + end < len(view):
                self._buffer += view[start + end :]
        return first + frames if first else frames

    def _complete(self, view: memoryview, frames: "list[tuple[int, int, bytes]]") -> int:
        """Add to the frame that has begun what it lacks, and take it if that is all; return how much that was."""
        buffer = self._buffer
        taken = max(0, min(9 - len(buffer), len(view)))
        buffer += view[:taken]
        if len(buffer) < 9:
            return taken
        frame_type, _, length = HEADER.unpack_from(buffer)
        if length > self._max_payload or frame_type not in NAMES:
            raise _refused(frame_type, length, self._max_payload)
        size = 9 + int(length)
        more = min(size - len(buffer), len(view) - taken)
        buffer += view[taken : taken + more]
        if len(buffer) == size:
            self._buffer = bytearray()
            frames += cut(memoryview(buffer), self._max_payload)[0]
        return taken + more

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are kept: not 0 at end of stream means that it was cut."""
        return len(self._buffer)
