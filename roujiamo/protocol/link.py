"""Link: the authenticated connection between a proxy and the broker, which outlives its TCP connections.

Runs in both. Frames are gathered into batches, each with a tag that only a holder of this connection's key can make;
batches that the peer has not acknowledged are kept, so that after a lost connection both sides go on where the other
really is. Trusts the peer only as far as its tag, and bounds what it keeps.

    batch:  u32 length of what follows, 16-byte tag, whole frames        (network byte order)
    tag:    HMAC-SHA256(key of this direction and connection, u64 number of the batch on this connection, frames)[:16]

A truncated tag of 128 bits is RFC 2104 section 5's. A connection's numbers start at 0 under its own keys; the counts
that both sides exchange in the handshake and in ACK frames go on over all connections of the session.
"""

import hashlib
import hmac
from _struct import Struct

from roujiamo.errors import AuthenticationError, ProtocolError
from roujiamo.protocol.frames import (
    ACK,
    HEADER,
    MAX_PAYLOAD,
    PING,
    PONG,
    Decoder,
    encode,
    pack_u64,
    unpack_u64,
)

TAG_SIZE = 16
# HMAC has a fixed cost; at 64 KiB and more it is the bytes that count.
MAX_BATCH = 256 << 10
# What may be on its way unacknowledged before no more data is sealed: some round trips of a fast network.
MAX_UNACKNOWLEDGED = 4 << 20
ACKNOWLEDGE_EVERY = 256 << 10
# Answers go out at any time, so only a peer that asks and asks, and acknowledges nothing, makes more than this.
MAX_KEPT = 4 * MAX_UNACKNOWLEDGED
# One frame may be larger than a batch should be, but no batch holds more than that one.
MAX_BATCH_LENGTH = TAG_SIZE + MAX_BATCH + MAX_PAYLOAD + 64

# A payload of this size and more is not copied behind its header.
_LARGE = 4096

_PONG = encode(PONG, 0)
_LENGTH = Struct("!I")
_NUMBER = Struct("!Q")


class Link:
    """One side. `send_frame`, then write what `data_to_send` returns; feed what was read to `receive_data`.

    ACK and PING frames are answered here (the caller sees PING and PONG, to know that the peer lives). After a lost
    connection and a new handshake call `resume`; nothing is lost or doubled.
    """

    __slots__ = (
        "_buffer",
        "_decoder",
        "_failure",
        "_out",
        "_out_bytes",
        "_receive_mac",
        "_received_number",
        "_replay",
        "_send_mac",
        "_sent",
        "_sent_number",
        "_unacknowledged",
        "_unreported",
        "_urgent",
        "received",
        "unacknowledged",
    )

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        """`send_key`, `receive_key`: the keys that the handshake gave, 32 bytes each."""
        # Lists, which are empty most of the time: a deque has room for 64 even then, and a broker has 10,000 links.
        # Whole frames wait, and whole batches are kept, as the pieces that they were given in: a WELCOME's code is the
        # same object for all hosts.
        self._out = []  # type: list[tuple[bytes, ...]]
        self._out_bytes = 0
        self._urgent = []  # type: list[bytes]
        self._replay = []  # type: list[tuple[bytes, ...]]
        self._unacknowledged = []  # type: list[tuple[bytes, ...]]
        self._sent = 0
        self._unreported = 0
        self._decoder = Decoder()
        self.received = 0
        self.unacknowledged = 0
        self._start_connection(send_key, receive_key)

    def _start_connection(self, send_key: bytes, receive_key: bytes) -> None:
        self._send_mac = hmac.new(send_key, None, hashlib.sha256)
        self._receive_mac = hmac.new(receive_key, None, hashlib.sha256)
        self._sent_number = 0
        self._received_number = 0
        self._buffer = bytearray()
        self._failure = None  # type: ProtocolError | None

    def send_frame(self, frame_type: int, channel: int, *payload: bytes) -> None:
        """Queue one frame; its payload may come in pieces."""
        size = sum(map(len, payload))
        if size < _LARGE:
            self.send_encoded(encode(frame_type, channel, b"".join(payload)))
        else:
            self._out.append((HEADER.pack(frame_type, channel, size), *payload))
            self._out_bytes += HEADER.size + size

    def send_encoded(self, frames: bytes) -> None:
        """Queue whole frames that are encoded already (what `Channel.data_to_send` returns)."""
        if frames:
            self._out.append((frames,))
            self._out_bytes += len(frames)

    def acknowledge(self) -> None:
        """Queue an ACK now, where the peer keeps something large that it need not keep any longer."""
        if self._unreported:
            self._unreported = 0
            self._urgent.append(encode(ACK, 0, pack_u64(self.received)))

    @property
    def queued(self) -> int:
        """Bytes of frames that wait to be sealed."""
        return self._out_bytes

    def data_to_send(self) -> bytes:
        """Return the sealed batches that may be written now. Call again after `receive_data`: an ACK frees more."""
        sealed = []  # type: list[bytes]
        if self._replay:
            for batch in self._replay:
                self._seal(batch, sealed)
            self._replay = []
        if self._urgent:
            # Never held back: two sides that both wait for an ACK would wait for ever.
            self._keep(tuple(self._urgent), sealed)
            self._urgent = []
        if self._out:
            taken = 0
            while taken < len(self._out) and self.unacknowledged < MAX_UNACKNOWLEDGED:
                size = 0
                pieces = []  # type: list[bytes]
                while taken < len(self._out):
                    following = sum(map(len, self._out[taken]))
                    if pieces and size + following > MAX_BATCH:
                        break
                    size += following
                    pieces += self._out[taken]
                    taken += 1
                self._out_bytes -= size
                self._keep(tuple(pieces), sealed)
            del self._out[:taken]
        return b"".join(sealed)

    def _keep(self, batch: "tuple[bytes, ...]", sealed: "list[bytes]") -> None:
        """Seal a batch for the first time, and keep it until the peer has it."""
        self._unacknowledged.append(batch)
        self.unacknowledged += sum(map(len, batch))
        self._sent += 1
        self._seal(batch, sealed)

    def _seal(self, batch: "tuple[bytes, ...]", sealed: "list[bytes]") -> None:
        tag = self._send_mac.copy()
        tag.update(_NUMBER.pack(self._sent_number))
        for piece in batch:
            tag.update(piece)
        self._sent_number += 1
        sealed.append(_LENGTH.pack(TAG_SIZE + sum(map(len, batch))))
        sealed.append(tag.digest()[:TAG_SIZE])
        sealed += batch

    def receive_data(self, data: "bytes | memoryview") -> "list[tuple[int, int, bytes]]":
        """Take bytes of the connection; return the frames of the batches they complete.

        Raises AuthenticationError at a wrong tag and ProtocolError at anything else the wire does not allow; the TCP
        connection is of no use after either. Good batches in front of a bad one are counted, and a resumed peer will
        not send them again: they are returned, and the error comes with the next call (`receive_data(b"")` will do).
        """
        if self._failure is not None:
            raise self._failure
        buffer = self._buffer
        buffer += data
        frames = []  # type: list[tuple[int, int, bytes]]
        position = 0
        size = len(buffer)
        try:
            while size - position >= 4:
                length = int(_LENGTH.unpack_from(buffer, position)[0])
                if not TAG_SIZE <= length <= MAX_BATCH_LENGTH:
                    raise ProtocolError("a batch of %d bytes" % length)
                end = position + 4 + length
                if end > size:
                    break
                # Released whatever comes of it: a kept error would hold the views, and with them the buffer's size.
                with memoryview(buffer) as view, view[position + 20 : end] as batch:
                    frames.extend(self._open(bytes(view[position + 4 : position + 4 + TAG_SIZE]), batch))
                position = end
        except ProtocolError as error:
            if not frames:
                raise
            self._failure = error
        if position:
            del buffer[:position]
        return frames

    def _open(self, tag: bytes, batch: memoryview) -> "list[tuple[int, int, bytes]]":
        expected = self._receive_mac.copy()
        expected.update(_NUMBER.pack(self._received_number))
        expected.update(batch)
        genuine = hmac.compare_digest(expected.digest()[:TAG_SIZE], tag)
        size = len(batch)
        frames = self._decoder.receive_data(batch) if genuine else []
        if not genuine:
            raise AuthenticationError("a batch whose tag is wrong")
        if self._decoder.pending:
            raise ProtocolError("a batch that ends inside a frame")
        self._received_number += 1
        self.received += 1
        self._unreported += size
        frames = [frame for frame in frames if not self._answer(*frame)]
        if self._unreported >= ACKNOWLEDGE_EVERY:
            self.acknowledge()
        return frames

    def _answer(self, frame_type: int, channel: int, payload: bytes) -> bool:
        """Do what the link itself does with a frame; return whether it is nobody else's business."""
        if channel == 0 and frame_type == ACK:
            count = unpack_u64(payload)
            # An ACK in a batch that is sent again may have been overtaken by the handshake's count.
            if count >= self._sent - len(self._unacknowledged):
                self._forget(count)
            return True
        if channel == 0 and frame_type == PING:
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
        self._decoder = Decoder()
        self._unreported = 0
        self._replay = list(self._unacknowledged)
