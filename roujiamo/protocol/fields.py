"""Byte strings in a row: the payload of the frames that carry more than one thing.

Used by every process on the wire. JSON would need a module that costs the shim more time to load than all the rest of
it. The reader trusts nobody: counts and lengths are checked against the payload before anything is taken from it.

    u8 count, then count times: u32 length, bytes            (network byte order)
"""

from _struct import Struct

from roujiamo.errors import ProtocolError

MAX_FIELDS = 16

_LENGTH = Struct("!I")


def pack_fields(*fields: bytes) -> bytes:
    """Return the payload that holds `fields` (at most `MAX_FIELDS`) in order."""
    if len(fields) > MAX_FIELDS:
        raise ValueError("%d fields in one payload; the wire allows %d" % (len(fields), MAX_FIELDS))
    parts = [bytes((len(fields),))]
    for field in fields:
        parts.append(_LENGTH.pack(len(field)))
        parts.append(field)
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
    position = 1
    for _ in range(count):
        start = position + _LENGTH.size
        if start > len(payload):
            raise ProtocolError("a frame's fields end early")
        end = start + int(_LENGTH.unpack_from(payload, position)[0])
        if end > len(payload):
            raise ProtocolError("a frame's field is longer than the frame")
        fields.append(bytes(payload[start:end]))
        position = end
    if position != len(payload):
        raise ProtocolError("a frame has %d bytes behind its last field" % (len(payload) - position))
    return fields
