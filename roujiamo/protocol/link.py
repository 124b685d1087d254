"""Link: the authenticated connection between a proxy and the broker, which outlives its TCP connections.

Runs in both. Frames are gathered into batches, each with a tag that only a holder of this connection's key can make;
batches that the peer has not acknowledged are kept, so that after a lost connection both sides go on where the other
really is. Trusts the peer only as far as its tag, and bounds what it keeps.

    batch:  u32 length of what follows, 16-byte tag, whole frames        (network byte order)
    tag:    HMAC-SHA256(key of this direction and connection, u64 number of the batch on this connection, frames)[:16]

A truncated tag of 128 bits is RFC 2104 section 5's. A connection's numbers start at 0 under its own keys; the counts
that both sides exchange in the handshake and in ACK frames go on over all connections of the session.
"""

from _struct import Struct

from roujiamo.errors import AuthenticationError, ProtocolError
from roujiamo.protocol.frames import (
    ACK,
    HEADER,
    LARGE,
    MAX_PAYLOAD,
    PING,
    PONG,
    cut,
    encode,
    pack_u64,
    unpack_u64,
)
from roujiamo.protocol.hashing import is_same, keyed_hash

TAG_SIZE = 16
# HMAC has a fixed cost; at 64 KiB and more it is the bytes that count.
MAX_BATCH = 256 << 10
# What may be on its way unacknowledged before no more data is sealed: some round trips of a fast network.
MAX_UNACKNOWLEDGED = 4 << 20
# An ACK by itself wakes the peer: so there is one for so many bytes at the latest, and where there is a batch to send
# anyway, in that one, for so many.
ACKNOWLEDGE_EVERY = 512 << 10
ACKNOWLEDGE_ALONG = 128 << 10
# Answers go out at any time, so only a peer that asks and asks, and acknowledges nothing, makes more than this.
MAX_KEPT = 4 * MAX_UNACKNOWLEDGED
# One frame may be larger than a batch should be, but no batch holds more than that one.
MAX_BATCH_LENGTH = TAG_SIZE + MAX_BATCH + MAX_PAYLOAD + 64

_PONG = encode(PONG, 0)
_LENGTH = Struct("!I")
_NUMBER = Struct("!Q")
# Where a batch's frames begin, and the least that a batch with a frame has.
_CONTENT = _LENGTH.size + TAG_SIZE
_SMALLEST = _CONTENT + HEADER.size


class Link:
    """One side. `send_frame`, then write what `data_to_send` returns; feed what was read to `receive_data`.

    ACK and PING frames are answered here (the caller sees PING and PONG, to know that the peer lives). After a lost
    connection and a new handshake call `resume`; nothing is lost or doubled. `queued`: bytes of frames that wait to be
    sealed.
    """

    __slots__ = (
        "_buffer",
        "_out",
        "_receive_mac",
        "_received_number",
        "_replay",
        "_send_mac",
        "_sent",
        "_sent_number",
        "_unacknowledged",
        "_unreported",
        "_urgent",
        "failure",
        "queued",
        "received",
        "unacknowledged",
    )

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        """`send_key`, `receive_key`: the keys that the handshake gave, 32 bytes each."""
        # Lists, which are empty most of the time: a deque has room for 64 even then, and a broker has 10,000 links.
        # Whole frames wait, and whole batches are kept, as the pieces that they were given in: most of a WELCOME is the
        # same object for all hosts.
        self._out = []  # type: list[tuple[bytes, ...]]
        self.queued = 0
        self._urgent = []  # type: list[bytes]
        self._replay = []  # type: list[tuple[bytes, ...]]
        self._unacknowledged = []  # type: list[tuple[bytes, ...]]
        self._sent = 0
        self._unreported = 0
        self.received = 0
        self.unacknowledged = 0
        self._start_connection(send_key, receive_key)

    def _start_connection(self, send_key: bytes, receive_key: bytes) -> None:
        self._send_mac = keyed_hash(send_key)
        self._receive_mac = keyed_hash(receive_key)
        self._sent_number = 0
        self._received_number = 0
        self._buffer = bytearray()
        self.failure = None  # type: ProtocolError | None

    def send_frame(self, frame_type: int, channel: int, payload: bytes = b"", *more: bytes) -> None:
        """Queue one frame; its payload may come in pieces."""
        size = len(payload) + sum(map(len, more)) if more else len(payload)
        if size < LARGE:
            # A copy, as a view is when bytes are added to.
            self._out.append((b"".join((HEADER.pack(frame_type, channel, size), payload, *more)),))
        else:
            # It is kept until the peer has it, which may be longer than a view is good.
            kept = [piece if isinstance(piece, bytes) else bytes(piece) for piece in (payload, *more)]
            self._out.append((HEADER.pack(frame_type, channel, size), *kept))
        self.queued += HEADER.size + size

    def send_frames(self, frames: "list[tuple[bytes, ...]]") -> None:
        """Queue frames that are encoded already (what `Channel.frames_to_send` returns)."""
        for frame in frames:
            self._out.append(frame)
            self.queued += sum(map(len, frame))

    def acknowledge(self) -> None:
        """Queue an ACK now, where the peer keeps something large that it need not keep any longer."""
        if self._unreported:
            self._unreported = 0
            self._urgent.append(encode(ACK, 0, pack_u64(self.received)))

    def data_to_send(self) -> bytes:
        """Return what `pieces_to_send` does, in one piece."""
        return b"".join(self.pieces_to_send())

    def pieces_to_send(self) -> "list[bytes]":
        """Return the sealed batches that may be written now, in pieces: what was queued is not copied.

        Call again after `receive_data`: an ACK frees more.
        """
        sealed = []  # type: list[bytes]
        out = self._out
        if not (out or self._urgent or self._replay):
            return sealed
        if self._replay:
            for batch in self._replay:
                self._seal(batch, sum(map(len, batch)), sealed)
            self._replay = []
        has_room = self.unacknowledged < MAX_UNACKNOWLEDGED
        if out and has_room and self._unreported >= ACKNOWLEDGE_ALONG:
            self.acknowledge()
        if self._urgent and not (out and has_room):
            # Never held back: two sides that both wait for an ACK would wait for ever.
            urgent, self._urgent = tuple(self._urgent), []
            self._keep(urgent, sum(map(len, urgent)), sealed)
        elif has_room and len(out) == 1 and not self._urgent:
            # One frame for one wake-up, as when somebody types.
            size, self.queued = self.queued, 0
            self._keep(out.pop(), size, sealed)
        elif has_room:
            self._seal_queued(sealed)
        return sealed

    def _seal_queued(self, sealed: "list[bytes]") -> None:
        """Seal what is queued, in batches, as far as the peer's acknowledgements let it."""
        taken = 0
        while taken < len(self._out) and self.unacknowledged < MAX_UNACKNOWLEDGED:
            size = 0
            pieces, self._urgent = self._urgent, []
            urgent_size = sum(map(len, pieces))
            while taken < len(self._out):
                following = sum(map(len, self._out[taken]))
                if pieces and size + following > MAX_BATCH:
                    break
                size += following
                pieces += self._out[taken]
                taken += 1
            self.queued -= size
            self._keep(tuple(pieces), urgent_size + size, sealed)
        del self._out[:taken]

    def _keep(self, batch: "tuple[bytes, ...]", size: int, sealed: "list[bytes]") -> None:
        """Seal a batch of so many bytes for the first time, and keep it until the peer has it."""
        self._unacknowledged.append(batch)
        self.unacknowledged += size
        self._sent += 1
        self._seal(batch, size, sealed)

    def _seal(self, batch: "tuple[bytes, ...]", size: int, sealed: "list[bytes]") -> None:
        tag = self._send_mac.copy()
        number = _NUMBER.pack(self._sent_number)
        self._sent_number += 1
        length = _LENGTH.pack(TAG_SIZE + size)
        if size < LARGE:
            # In one piece: to copy so little costs less than pieces do, here and in the system.
            content = b"".join(batch)
            tag.update(number + content)
            sealed.append(length + tag.digest()[:TAG_SIZE] + content)
            return
        tag.update(number)
        for piece in batch:
            tag.update(piece)
        sealed.append(length)
        sealed.append(tag.digest()[:TAG_SIZE])
        sealed += batch

    def receive_data(self, data: "bytes | memoryview") -> "list[tuple[int, int, bytes]]":
        """Take bytes of the connection; return the frames of the batches they complete.

        A large payload may be a view of `data` (see `frames.cut`).

        Raises AuthenticationError at a wrong tag and ProtocolError at anything else the wire does not allow; the TCP
        connection is of no use after either. Good batches in front of a bad one are counted, and a resumed peer will
        not send them again: they are returned, and the error, which `failure` is then, comes with the next call
        (`receive_data(b"")` will do).
        """
        if self.failure is not None:
            raise self.failure
        frames = []  # type: list[tuple[int, int, bytes]]
        size = len(data)
        try:
            if _SMALLEST <= size < LARGE and not self._buffer:
                # One small batch, whole, as most are: slices of so little cost less than views of it.
                batch = bytes(data)
                if _batch_size(batch, 0) == size:
                    self._open(batch[4:_CONTENT], batch[_CONTENT:], frames)
                    return frames
            if size:
                self._open_all(data, frames)
        except ProtocolError as error:
            if not frames:
                raise
            self.failure = error
        return frames

    def _open_all(self, data: "bytes | memoryview", frames: "list[tuple[int, int, bytes]]") -> None:
        """Open whole batches where they are; only what is left is copied."""
        # Released whatever comes of it: a kept error would hold the views, and with them the size of what they show.
        with memoryview(data) as view:
            position = self._complete(view, frames) if self._buffer else 0
            while len(view) - position >= 4:
                end = position + _batch_size(view, position)
                if end > len(view):
                    break
                self._open_view(view, position, end, frames)
                position = end
            if position < len(view):
                self._buffer += view[position:]

    def _complete(self, view: memoryview, frames: "list[tuple[int, int, bytes]]") -> int:
        """Add to the batch that has begun what it lacks, open it if that is all; return how much of `view` it took."""
        buffer = self._buffer
        taken = 0
        if len(buffer) < 4:
            taken = min(4 - len(buffer), len(view))
            buffer += view[:taken]
            if len(buffer) < 4:
                return taken
        size = _batch_size(buffer, 0)
        more = min(size - len(buffer), len(view) - taken)
        buffer += view[taken : taken + more]
        if len(buffer) == size:
            self._buffer = bytearray()
            with memoryview(buffer) as view:
                self._open_view(view, 0, size, frames)
        return taken + more

    def _open_view(
        self, view: memoryview, start: int, end: int, frames: "list[tuple[int, int, bytes]]"
    ) -> None:
        with view[start + 4 : start + _CONTENT] as tag, view[start + _CONTENT : end] as content:
            self._open(tag, content, frames)

    def _open(
        self, tag: "bytes | memoryview", content: "bytes | memoryview", frames: "list[tuple[int, int, bytes]]"
    ) -> None:
        """Check a whole batch, and add its frames but for those that are the link's own."""
        expected = self._receive_mac.copy()
        expected.update(_NUMBER.pack(self._received_number))
        expected.update(content)
        if not is_same(expected.digest()[:TAG_SIZE], tag):
            raise AuthenticationError("a batch whose tag is wrong")
        arrived, end = cut(content)
        if end != len(content):
            raise ProtocolError("a batch that ends inside a frame")
        self._received_number += 1
        self.received += 1
        self._unreported += end
        for frame in arrived:
            if frame[1] or not self._answer(frame[0], frame[2]):
                frames.append(frame)
        if self._unreported >= ACKNOWLEDGE_EVERY:
            self.acknowledge()

    def _answer(self, frame_type: int, payload: bytes) -> bool:
        """Do what the link itself does with a frame of channel 0; return whether it is nobody else's business."""
        if frame_type == ACK:
            count = unpack_u64(payload)
            # An ACK in a batch that is sent again may have been overtaken by the handshake's count.
            if count >= self._sent - len(self._unacknowledged):
                self._forget(count)
            return True
        if frame_type == PING:
            if self.unacknowledged > MAX_KEPT:
                raise ProtocolError("a peer that acknowledges nothing of %d bytes" % self.unacknowledged)
            # One answer does for all that were asked before it goes.
            if _PONG not in self._urgent:
                self._urgent.append(_PONG)
            self.acknowledge()
        return False

    def _forget(self, peer_received: int) -> None:
        """Drop the batches that the peer has."""
        first = self._sent - len(self._unacknowledged)
        if not first <= peer_received <= self._sent:
            raise ProtocolError("the peer says it has %d batches of %d" % (peer_received, self._sent))
        count = peer_received - first
        for batch in self._unacknowledged[:count]:
            self.unacknowledged -= sum(map(len, batch))
        del self._unacknowledged[:count]

    def resume(self, send_key: bytes, receive_key: bytes, peer_received: int) -> None:
        """Go on over a new connection, with its keys. `peer_received`: the peer's count in the handshake.

        Raises ProtocolError where that count cannot be.
        """
        self._forget(peer_received)
        self._start_connection(send_key, receive_key)
        self._unreported = 0
        self._replay = list(self._unacknowledged)


def _batch_size(data: "bytes | bytearray | memoryview", position: int) -> int:
    """Return the size in bytes of the batch that begins there, with its length. Raises ProtocolError."""
    length = int(_LENGTH.unpack_from(data, position)[0])
    if not TAG_SIZE <= length <= MAX_BATCH_LENGTH:
        raise ProtocolError("a batch of %d bytes" % length)
    return 4 + length


def drop_written(pieces: "list[bytes]", size: int) -> None:
    """Take the first `size` bytes from `pieces`: they are written."""
    count = 0
    for piece in pieces:
        if len(piece) > size:
            break
        size -= len(piece)
        count += 1
    del pieces[:count]
    if size:
        pieces[0] = memoryview(pieces[0])[size:]  # type: ignore[call-overload]
