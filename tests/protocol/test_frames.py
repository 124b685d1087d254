"""The frame codec: every split of the stream gives the same frames; a length is checked before it is waited for."""

import random

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.protocol import frames
from roujiamo.protocol.frames import Decoder, encode

STREAM = [
    (frames.OPEN, 1, b"payload"),
    (frames.DATA, 7, b""),
    (frames.DATA, 0xFFFFFFFF, bytes(range(256)) * 300),
    (frames.CLOSE, 1, b"\0"),
]


def encoded() -> bytes:
    return b"".join(encode(*frame) for frame in STREAM)


def test_frames_survive_being_fed_all_at_once() -> None:
    """One read may hold many frames."""
    decoder = Decoder()
    assert decoder.receive_data(encoded()) == STREAM
    assert decoder.pending == 0


def test_frames_survive_being_fed_one_byte_at_a_time() -> None:
    """A stream has no message boundaries."""
    decoder = Decoder()
    received = []
    for byte in encoded():
        received += decoder.receive_data(bytes((byte,)))
    assert received == STREAM


@pytest.mark.parametrize("seed", range(20))
def test_frames_come_out_of_one_buffer_that_is_used_again(seed: int) -> None:
    """Whatever is left of one read is none of the buffer's any more; a whole payload is, until the next read."""
    dice = random.Random(seed)
    sent = [
        (dice.choice([frames.DATA, frames.CLOSE]), 1, dice.randbytes(dice.choice([0, 4, 5_000, 65_536])))
        for _ in range(40)
    ]
    data = b"".join(encode(*frame) for frame in sent)
    decoder, buffer = Decoder(), bytearray(262_144)
    got, position = [], 0
    while position < len(data):
        size = min(dice.choice([1, 8, 9, 10, 5_000, 70_000, 262_144]), len(data) - position)
        buffer[:size] = data[position : position + size]
        for kind, number, payload in decoder.receive_data(memoryview(buffer)[:size]):
            got.append((kind, number, bytes(payload)))
        position += size
    assert got == sent
    assert decoder.pending == 0


def test_a_cut_frame_is_seen_as_pending() -> None:
    """The owner can tell an end of stream between frames from one inside a frame."""
    decoder = Decoder()
    decoder.receive_data(encode(frames.DATA, 1, b"abc")[:-1])
    assert decoder.pending > 0


def test_an_oversized_length_is_refused_from_its_header_alone() -> None:
    """Nothing is collected for a frame that would be refused when complete."""
    header = frames.HEADER.pack(frames.DATA, 1, frames.MAX_PAYLOAD + 1)
    with pytest.raises(ProtocolError, match=r"DATA frame of 4194305 bytes"):
        Decoder().receive_data(header)


def test_an_unknown_type_is_refused() -> None:
    """A peer that speaks something else is found out at its first byte."""
    with pytest.raises(ProtocolError, match="unknown type 71"):
        Decoder().receive_data(b"GET / HTTP/1.1\r\n")


def test_garbage_raises_only_protocol_errors_and_keeps_bounded_bytes() -> None:
    """Random input neither crashes the decoder nor fills it."""
    dice = random.Random(2)
    for _ in range(2_000):
        decoder = Decoder(max_payload=1000)
        try:
            for _ in range(10):
                decoder.receive_data(dice.randbytes(dice.randrange(200)))
        except ProtocolError:
            pass
        assert decoder.pending <= 1000 + frames.HEADER.size + 200


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_number_of_another_size_is_an_error(size: int) -> None:
    """A window or a status is exactly four bytes."""
    with pytest.raises(ProtocolError):
        frames.unpack_u32(b"\0" * size)
    with pytest.raises(ProtocolError):
        frames.unpack_u64(b"\0" * size)


def test_signal_numbers_are_this_systems() -> None:
    """The wire's names mean the same number at both ends."""
    import signal

    for name, number in frames.SIGNAL_NUMBERS.items():
        assert signal.Signals["SIG" + name.decode()] == number
