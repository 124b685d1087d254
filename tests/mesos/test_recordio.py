"""RecordIO, as a Mesos master frames its event stream."""

import random

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.mesos.recordio import RecordIODecoder, encode

EVENTS = [b'{"type":"HEARTBEAT"}', b"", b"x" * 70_000, b"1\n2\n3", "h\u00e9llo".encode()]


def test_a_record_is_its_decimal_length_a_newline_and_its_bytes() -> None:
    """The form that the traces show: `20\\n{"type":"HEARTBEAT"}`."""
    assert encode(b'{"type":"HEARTBEAT"}') == b'20\n{"type":"HEARTBEAT"}'
    assert encode(b"") == b"0\n"


@pytest.mark.parametrize("step", [1, 2, 7, 4096, 1 << 20])
def test_records_come_back_whole_however_the_stream_is_cut(step: int) -> None:
    """TCP cuts where it likes: inside a length, inside a record, or not at all."""
    stream = b"".join(map(encode, EVENTS))
    decoder = RecordIODecoder()
    records = []
    for start in range(0, len(stream), step):
        records += decoder.receive_data(stream[start : start + step])
    assert records == EVENTS
    assert decoder.is_between_records


def test_a_stream_that_ends_inside_a_record_is_noticed() -> None:
    """The reader can tell a cut stream from a finished one."""
    for cut in (b"2", b"20\n", b'20\n{"type"'):
        decoder = RecordIODecoder()
        assert decoder.receive_data(cut) == []
        assert not decoder.is_between_records


@pytest.mark.parametrize(
    "garbage",
    [b"{", b"\n", b"-1\n", b"+5\n", b" 5\n", b"5 \n", b"5\r\n", b"0x10\n", b"\xd9\xa1\n", b"HTTP/1.1"],
)
def test_what_is_no_length_is_refused_at_once_and_for_ever(garbage: bytes) -> None:
    """Nothing behind a wrong length can be trusted, so the decoder does not go on."""
    decoder = RecordIODecoder()
    with pytest.raises(ProtocolError):
        decoder.receive_data(encode(b"good") + garbage)
    with pytest.raises(ProtocolError):
        decoder.receive_data(encode(b"good"))


@pytest.mark.parametrize("length", [b"101\n", b"999\n", b"1000", b"00000000000"])
def test_a_record_above_the_bound_is_refused_before_it_is_stored(length: bytes) -> None:
    """A hostile length must not make the reader wait for, or hold, gigabytes."""
    with pytest.raises(ProtocolError):
        RecordIODecoder(max_record=100).receive_data(length)
    assert RecordIODecoder(max_record=100).receive_data(encode(b"x" * 100)) == [b"x" * 100]


def test_random_bytes_end_in_records_or_in_the_documented_error() -> None:
    """All at once and byte by byte agree on mutated streams, whatever they hold."""
    source = random.Random(2)
    for _ in range(300):
        stream = bytearray(b"".join(encode(source.randbytes(source.randrange(40))) for _ in range(4)))
        for _ in range(source.randrange(3)):
            stream[source.randrange(len(stream))] = source.randrange(256)
        outcomes = []
        for step in (len(stream), 1):
            decoder, records, failed = RecordIODecoder(max_record=1000), [], False
            try:
                for start in range(0, len(stream), step):
                    records += decoder.receive_data(bytes(stream[start : start + step]))
            except ProtocolError:
                failed = True
            outcomes.append((failed, records))
        # The whole stream at once loses the records in front of the error; their count may differ, the verdict not.
        assert outcomes[0][0] == outcomes[1][0]
        if not outcomes[0][0]:
            assert outcomes[0][1] == outcomes[1][1]
