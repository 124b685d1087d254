"""Byte strings in a row: the payload of the frames that carry more than one thing.

Used by every process on the wire. JSON would need a module that costs the shim more time to load than all the rest of
it. The reader trusts nobody: counts and lengths are checked against the payload before anything is taken from it.

    u8 count, then count times: u32 length, bytes            (network byte order)
"""

from _struct import Struct

from roujiamo.errors import ProtocolError

MAX_FIELDS = 16

_LENGTH = Struct("!I")
_length_at = _LENGTH.unpack_from


def pack_fields(*fields: bytes) -> bytes:
    """Return the payload that holds `fields` (at most `MAX_FIELDS`) in order."""
    if len(fields) > MAX_FIELDS:
        raise ValueError("%d fields in one payload; the wire allows %d" % (len(fields), MAX_FIELDS))
    parts = [b"%c" % len(fields)]
    for field in fields:
        parts += (_LENGTH.pack(len(field)), field)
    return b"".join(parts)


def unpack_fields(payload: bytes, at_least: int = 0) -> "list[bytes]":
    """Return the byte strings that `payload` holds; missing ones up to `at_least` are an error.

    More fields than the reader knows are allowed: a newer peer may append some.

    Raises ProtocolError where the payload is not well formed.
    """
    if not payload:
        raise ProtocolError("a frame that must carry fields is empty")
    count = payload[0]
    if count > MAX_FIELDS:
        raise ProtocolError("a frame carries %d fields; the wire allows %d" % (count, MAX_FIELDS))
    if count < at_least:
        raise ProtocolError("a frame carries %d fields where %d are needed" % (count, at_least))
    fields = []
    size = len(payload)
    end = 1
    for _ in range(count):
        start = end + 4
        if start > size:
            raise ProtocolError("a frame's field is missing, or longer than the frame")
        end = start + _length_at(payload, end)[0]
        fields.append(payload[start:end])
    # Not at each: a slice that would reach beyond the end is only shorter.
    if end > size:
        raise ProtocolError("a frame's last field is longer than the frame")
    if end < size:
        raise ProtocolError("a frame has %d bytes behind its last field" % (size - end))
    return fields
