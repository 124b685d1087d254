"""Byte strings in a row: what goes in comes out, and nothing else gets through."""

import random

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.protocol.fields import MAX_FIELDS, pack_fields, unpack_fields


@pytest.mark.parametrize("fields", [(), (b"",), (b"a", b"", b"\0\xff" * 300), (b"x",) * MAX_FIELDS])
def test_unpacking_gives_what_was_packed(fields: tuple[bytes, ...]) -> None:
    """The payload is self-contained."""
    assert unpack_fields(pack_fields(*fields)) == list(fields)


def test_too_few_fields_are_an_error() -> None:
    """A reader may index without looking."""
    with pytest.raises(ProtocolError, match="carries 1 fields where 2"):
        unpack_fields(pack_fields(b"only"), at_least=2)


def test_any_cut_or_longer_payload_is_an_error() -> None:
    """Nothing of a damaged payload is believed."""
    payload = pack_fields(b"host", b"command with blanks")
    for end in range(len(payload)):
        with pytest.raises(ProtocolError):
            unpack_fields(payload[:end], at_least=1)
    with pytest.raises(ProtocolError, match="behind its last field"):
        unpack_fields(payload + b"x")
    with pytest.raises(ProtocolError, match="last field is longer"):
        unpack_fields(payload[:-1])
    with pytest.raises(ProtocolError, match="missing, or longer"):
        unpack_fields(b"\2\xff\xff\xff\xffhost")
    with pytest.raises(ProtocolError, match="missing, or longer"):
        unpack_fields(payload[:11])


def test_garbage_raises_nothing_but_the_documented_error() -> None:
    """A peer's bytes never surface as an IndexError or a struct.error."""
    dice = random.Random(1)
    for _ in range(5_000):
        garbage = dice.randbytes(dice.randrange(40))
        try:
            unpack_fields(garbage)
        except ProtocolError:
            continue
