"""Routes: two real channels with a route between them behave as if they were joined directly."""

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.protocol import frames
from roujiamo.protocol.channel import ACCEPTOR, CLOSED, OPENER, Channel
from roujiamo.protocol.route import Route


class Wire:
    """Collects what is sent on one connection."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []

    def send_frame(self, frame_type: int, channel: int, payload: bytes = b"") -> None:
        self.frames.append((frame_type, channel, payload))

    def take(self) -> list[tuple[int, int, bytes]]:
        taken, self.frames = self.frames, []
        return taken


class Passage:
    """opener (number 1) <-> route <-> acceptor (number 77)."""

    def __init__(self, window: int = 1000) -> None:
        self.opener, self.acceptor = Channel(1, OPENER, window), Channel(77, ACCEPTOR, window)
        self.to_opener, self.to_acceptor = Wire(), Wire()
        self.opener.open(b"host", b"command")
        ((_, _, payload),) = frames.Decoder().receive_data(self.opener.data_to_send())
        self.route = Route(self.to_opener, 1, payload)
        self.route.connect(self.to_acceptor, 77)
        ((frame_type, _, payload),) = self.to_acceptor.take()
        self.acceptor.receive_frame(frame_type, payload)

    def run(self) -> list[tuple[str, int, object]]:
        """Carry everything that is queued, through the route; return the events on both ends."""
        events: list[tuple[str, int, object]] = []
        for frame_type, _, payload in frames.Decoder().receive_data(self.opener.data_to_send()):
            self.route.frame_from_opener(frame_type, payload)
        for frame_type, number, payload in self.to_acceptor.take():
            assert number == 77
            events.append(("acceptor", *self.acceptor.receive_frame(frame_type, payload)))
        for frame_type, _, payload in frames.Decoder().receive_data(self.acceptor.data_to_send()):
            self.route.frame_from_acceptor(frame_type, payload)
        for frame_type, number, payload in self.to_opener.take():
            assert number == 1
            events.append(("opener", *self.opener.receive_frame(frame_type, payload)))
        return events


def test_a_whole_life_passes_renumbered() -> None:
    """Both ends see what they would see of each other."""
    passage = Passage()
    passage.acceptor.accept()
    assert passage.run() == [("opener", frames.OPEN_OK, None)]
    passage.opener.send_data(b"in")
    passage.opener.send_signal(b"INT")
    assert passage.run() == [("acceptor", frames.DATA, b"in"), ("acceptor", frames.SIGNAL, b"INT")]
    passage.acceptor.send_data(b"out")
    passage.acceptor.send_stderr(b"err")
    passage.acceptor.send_exit_status(3)
    passage.acceptor.close()
    assert passage.run() == [
        ("opener", frames.DATA, b"out"),
        ("opener", frames.EXTENDED_DATA, b"err"),
        ("opener", frames.EXIT_STATUS, 3),
        ("opener", frames.CLOSE, None),
    ]
    assert passage.route.state == CLOSED


def test_windows_go_end_to_end() -> None:
    """The reader at the far end is the one who grants."""
    passage = Passage(window=100)
    passage.acceptor.accept()
    passage.run()
    assert passage.acceptor.send_data(b"x" * 300) == 100
    passage.run()
    passage.opener.consume(50)
    passage.run()
    assert passage.acceptor.send_data(b"x" * 300) == 50
    assert [event[1] for event in passage.run()] == [frames.DATA]


def test_a_side_that_overruns_the_window_is_found_out_in_between() -> None:
    """What the broker holds for a slow reader is bounded even against a hostile task."""
    passage = Passage(window=10)
    passage.acceptor.accept()
    passage.run()
    for overrun in (passage.route.frame_from_acceptor, passage.route.frame_from_opener):
        with pytest.raises(ProtocolError, match="11 bytes came where the window had 10"):
            overrun(frames.DATA, b"x" * 11)


def test_data_without_bytes_does_not_pass() -> None:
    """It takes no window, so nothing would bound how much of it waits for who does not read."""
    passage = Passage()
    passage.acceptor.accept()
    passage.run()
    passage.route.frame_from_opener(frames.DATA, b"")
    passage.route.frame_from_acceptor(frames.DATA, b"")
    passage.route.frame_from_acceptor(frames.EXTENDED_DATA, b"")
    assert passage.run() == []
    passage.route.frame_from_opener(frames.DATA, b"x")
    assert passage.run() == [("acceptor", frames.DATA, b"x")]


def test_frames_of_the_wrong_side_or_state_do_not_pass() -> None:
    """A task cannot signal its opener, and nothing flows before the command was accepted."""
    passage = Passage()
    with pytest.raises(ProtocolError):
        passage.route.frame_from_acceptor(frames.DATA, b"early")
    with pytest.raises(ProtocolError):
        passage.route.frame_from_opener(frames.DATA, b"early")
    with pytest.raises(ProtocolError):
        passage.route.frame_from_acceptor(frames.SIGNAL, b"TERM")


def test_a_lost_opener_closes_the_command_and_a_lost_acceptor_gives_the_reason() -> None:
    """Before OPEN_OK the reason is a refusal, afterwards a close."""
    passage = Passage()
    passage.route.opener_gone()
    assert passage.run() == [("acceptor", frames.CLOSE, None)]

    passage = Passage()
    passage.route.acceptor_gone(255, "lost")
    assert passage.run() == [("opener", frames.OPEN_FAILURE, (255, "lost", ""))]

    passage = Passage()
    passage.acceptor.accept()
    passage.run()
    passage.route.acceptor_gone(255, "lost")
    assert passage.run() == [("opener", frames.CLOSE, (255, "lost", ""))]
    passage.route.acceptor_gone(255, "again")
    passage.route.opener_gone()
    assert passage.run() == []
