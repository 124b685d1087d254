"""Channels, always two real ones back to back."""

import random
from typing import Any

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.protocol import frames
from roujiamo.protocol.channel import (
    ACCEPTOR,
    CLOSED,
    IGNORED,
    OPEN_STATE,
    OPENER,
    OPENING,
    Channel,
)


def exchange(sender: Channel, receiver: Channel, one_byte: bool = False) -> list[tuple[int, Any]]:
    """Carry what `sender` has queued to `receiver`; return the events."""
    decoder = frames.Decoder()
    data = sender.data_to_send()
    pieces = [data[i : i + 1] for i in range(len(data))] if one_byte else [data]
    return [
        receiver.receive_frame(frame_type, payload)
        for piece in pieces
        for frame_type, number, payload in decoder.receive_data(piece)
        if number == receiver.number
    ]


def opened(window: int = frames.INITIAL_WINDOW) -> tuple[Channel, Channel]:
    """Return (opener, acceptor) of an open channel whose windows are `window` bytes each way."""
    opener, acceptor = Channel(1, OPENER, window), Channel(1, ACCEPTOR, window)
    opener.open(b"host", b"true")
    exchange(opener, acceptor)
    acceptor.accept()
    exchange(acceptor, opener)
    return opener, acceptor


@pytest.mark.parametrize("one_byte", [False, True])
def test_a_command_lives_its_whole_life(one_byte: bool) -> None:
    """Open, both streams, half-close, signal, exit status, close."""
    opener, acceptor = Channel(3, OPENER), Channel(3, ACCEPTOR)
    opener.open(b"agent1", b"orted --mca x 'y z'", b"token")
    assert opener.state == OPENING
    assert exchange(opener, acceptor, one_byte) == [
        (frames.OPEN, (b"agent1", b"orted --mca x 'y z'", b"token"))
    ]
    acceptor.accept()
    assert exchange(acceptor, opener, one_byte) == [(frames.OPEN_OK, None)]
    assert opener.send_data(b"input") == 5
    opener.send_eof()
    opener.send_signal(b"TERM")
    assert exchange(opener, acceptor, one_byte) == [
        (frames.DATA, b"input"),
        (frames.EOF, None),
        (frames.SIGNAL, b"TERM"),
    ]
    assert acceptor.receive_eof
    acceptor.send_data(b"out")
    acceptor.send_stderr(b"err")
    acceptor.send_exit_status(7)
    acceptor.close()
    assert exchange(acceptor, opener, one_byte) == [
        (frames.DATA, b"out"),
        (frames.EXTENDED_DATA, b"err"),
        (frames.EXIT_STATUS, 7),
        (frames.CLOSE, None),
    ]
    assert (opener.state, acceptor.state) == (CLOSED, CLOSED)


def test_a_refusal_carries_status_and_sentence() -> None:
    """The shim prints what the other side knows."""
    opener, acceptor = Channel(1, OPENER), Channel(1, ACCEPTOR)
    opener.open(b"nowhere", b"true")
    exchange(opener, acceptor)
    acceptor.refuse(255, "no host nowhere in this session; it has agent1")
    assert exchange(acceptor, opener) == [
        (frames.OPEN_FAILURE, (255, "no host nowhere in this session; it has agent1", ""))
    ]
    assert opener.state == CLOSED


def test_an_exit_signal_and_a_failure_of_ours_are_told_apart() -> None:
    """128+n is the command's end, a CLOSE with a reason ours."""
    opener, acceptor = opened()
    acceptor.send_exit_signal(b"KILL", core_dumped=False)
    acceptor.close(255, "the task was lost")
    assert exchange(acceptor, opener) == [
        (frames.EXIT_SIGNAL, (b"KILL", False)),
        (frames.CLOSE, (255, "the task was lost", "")),
    ]


def test_the_sender_stops_at_the_window_and_goes_on_when_it_is_consumed() -> None:
    """A reader that does not read bounds what is on its way."""
    opener, acceptor = opened(window=100)
    assert acceptor.send_data(b"x" * 60) == 60
    assert acceptor.send_stderr(b"y" * 60) == 40, "both streams share the window"
    assert acceptor.send_data(b"z") == 0
    received = sum(len(value) for _, value in exchange(acceptor, opener))
    assert received == 100
    opener.consume(20)
    assert exchange(opener, acceptor) == [], "small credits are gathered"
    opener.consume(30)
    assert exchange(opener, acceptor) == [(frames.WINDOW, None)]
    assert acceptor.sendable == 50


def test_large_data_is_cut_into_frames_of_a_pipes_size() -> None:
    """No frame makes another channel wait for long."""
    opener, acceptor = opened()
    payload = random.Random(3).randbytes(300_000)
    assert opener.send_data(payload) == 300_000
    events = exchange(opener, acceptor)
    assert max(len(value) for _, value in events) == frames.MAX_DATA
    assert b"".join(value for _, value in events) == payload


def test_a_peer_that_overruns_the_window_is_an_error() -> None:
    """The bound does not rest on the peer's good will."""
    opener, _ = opened(window=10)
    with pytest.raises(ProtocolError, match="11 bytes came where the window had 10"):
        opener.receive_frame(frames.DATA, b"x" * 11)


def test_data_after_end_of_stream_is_an_error() -> None:
    """A half-closed stream stays closed."""
    opener, acceptor = opened()
    acceptor.receive_frame(frames.EOF, b"")
    with pytest.raises(ProtocolError, match="after the end"):
        acceptor.receive_frame(frames.DATA, b"x")
    opener.send_eof()
    with pytest.raises(ValueError, match="after the end"):
        opener.send_data(b"x")


@pytest.mark.parametrize("frame_type", sorted(frames.NAMES))
@pytest.mark.parametrize("role", [OPENER, ACCEPTOR])
def test_every_frame_in_every_state_is_in_the_table_or_an_error(role: str, frame_type: int) -> None:
    """No pair of state and frame is left to chance."""
    from roujiamo.protocol.channel import TRANSITIONS

    for state, allowed in TRANSITIONS[role].items():
        channel = Channel(1, role)
        channel.state = state
        if frame_type not in allowed:
            with pytest.raises(ProtocolError):
                channel.receive_frame(frame_type, b"")


def test_a_closed_channel_ignores_what_was_under_way() -> None:
    """Numbers are not used twice, so late frames are harmless."""
    opener, acceptor = opened()
    acceptor.send_data(b"late")
    opener.close()
    assert exchange(acceptor, opener) == [(IGNORED, None)]
    opener.close()
    assert exchange(opener, acceptor) == [(frames.CLOSE, None)], "closed once, however often it is said"


def test_another_version_is_named() -> None:
    """Two installations that do not fit say so."""
    from roujiamo.protocol.fields import pack_fields

    with pytest.raises(ProtocolError, match="speaks version '9'"):
        Channel(1, ACCEPTOR).receive_frame(frames.OPEN, pack_fields(b"9", b"h", b"c", b"", b"1"))


def test_random_frames_raise_only_the_documented_error() -> None:
    """Whatever a peer sends, the machine answers with an event or a ProtocolError."""
    dice = random.Random(4)
    for _ in range(4_000):
        channel = Channel(1, dice.choice([OPENER, ACCEPTOR]))
        channel.state = OPEN_STATE
        try:
            for _ in range(5):
                channel.receive_frame(dice.choice(sorted(frames.NAMES)), dice.randbytes(dice.randrange(12)))
        except ProtocolError:
            pass
