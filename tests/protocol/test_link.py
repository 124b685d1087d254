"""Links, always two real ones back to back: nothing is lost, doubled, altered or kept without bound."""

import random

import pytest

from roujiamo.errors import AuthenticationError, ProtocolError
from roujiamo.protocol import frames
from roujiamo.protocol.channel import ACCEPTOR, Channel
from roujiamo.protocol.fields import pack_fields
from roujiamo.protocol.link import MAX_UNACKNOWLEDGED, Link, drop_written

UP, DOWN = b"u" * 32, b"d" * 32


def pair() -> tuple[Link, Link]:
    return Link(UP, DOWN), Link(DOWN, UP)


def carry(sender: Link, receiver: Link) -> list[tuple[int, int, bytes]]:
    return receiver.receive_data(sender.data_to_send())


def test_frames_arrive_in_order_all_at_once_and_byte_by_byte() -> None:
    """A batch is a matter of the wire, not of who reads it."""
    for one_byte in (False, True):
        left, right = pair()
        sent = [(frames.DATA, n, bytes([n]) * n) for n in range(1, 60)]
        for frame in sent:
            left.send_frame(*frame)
        data = left.data_to_send()
        pieces = [data[i : i + 1] for i in range(len(data))] if one_byte else [data]
        assert [frame for piece in pieces for frame in right.receive_data(piece)] == sent


@pytest.mark.parametrize("seed", range(20))
def test_however_the_bytes_are_cut_the_same_frames_arrive(seed: int) -> None:
    """What is read at once ends anywhere: in a length, in a tag, in a payload, or some batches later."""
    dice = random.Random(seed)
    left, right = pair()
    sent, data = [], b""
    for number in range(40):
        sent.append((frames.DATA, number, dice.randbytes(dice.choice([0, 3, 5_000, 65_536]))))
        left.send_frame(*sent[-1])
        if dice.random() < 0.5:
            data += left.data_to_send()
    data += left.data_to_send()
    got, position = [], 0
    while position < len(data):
        size = dice.choice([1, 2, 7, 1_000, 70_000, 262_144])
        # The reader's buffer is used again for what comes next.
        buffer = bytearray(data[position : position + size])
        got += [(*frame[:2], bytes(frame[2])) for frame in right.receive_data(memoryview(buffer))]
        buffer[:] = bytes(len(buffer))
        position += size
    assert got == sent


def test_what_a_command_says_is_not_copied_on_its_way_out() -> None:
    """Each copy of a gigabyte costs a tenth of a second and more, on each of the three ways."""
    channel = Channel(1, ACCEPTOR)
    channel.receive_frame(frames.OPEN, pack_fields(frames.VERSION, b"host", b"command", b"", b"1048576"))
    channel.accept()
    left, right = pair()
    block = random.Random(0).randbytes(3 * frames.MAX_DATA + 5000)
    assert channel.send_data(block) == len(block)
    left.send_frames(channel.frames_to_send())
    pieces = left.pieces_to_send()
    shared = [piece for piece in pieces if isinstance(piece, memoryview) and piece.obj is block]
    assert sum(map(len, shared)) == len(block)
    arrived = right.receive_data(b"".join(pieces))
    assert b"".join(payload for kind, _, payload in arrived if kind == frames.DATA) == block


def test_pieces_that_are_written_in_part_go_on_where_that_ended() -> None:
    """A socket takes as much as it has room for, wherever that ends."""
    whole = [b"one", b"two, longer", b"3"]
    for size in range(len(b"".join(whole)) + 1):
        pieces = list(whole)
        drop_written(pieces, size)
        assert b"".join(pieces) == b"".join(whole)[size:]
        assert all(pieces)


def test_an_altered_repeated_or_swapped_batch_is_refused() -> None:
    """Nothing can be injected into a connection, not even its own earlier bytes."""
    left, right = pair()
    left.send_frame(frames.DATA, 1, b"first")
    first = left.data_to_send()
    left.send_frame(frames.DATA, 1, b"second")
    second = left.data_to_send()
    for position in range(4, len(first)):
        altered = bytearray(first)
        altered[position] ^= 1
        with pytest.raises(AuthenticationError):
            Link(DOWN, UP).receive_data(bytes(altered))
    with pytest.raises(AuthenticationError):
        Link(DOWN, UP).receive_data(second)
    right.receive_data(first)
    with pytest.raises(AuthenticationError):
        right.receive_data(first)


def test_a_batch_of_the_own_direction_is_refused() -> None:
    """Each direction has a key of its own, so nothing can be reflected."""
    left, _ = pair()
    left.send_frame(frames.PING, 0)
    with pytest.raises(AuthenticationError):
        left.receive_data(left.data_to_send())


def test_a_ping_is_answered_and_acknowledges() -> None:
    """The keepalive also frees what the peer keeps."""
    left, right = pair()
    left.send_frame(frames.DATA, 1, b"x" * 1000)
    left.send_frame(frames.PING, 0)
    assert carry(left, right)[-1] == (frames.PING, 0, b"")
    assert left.unacknowledged > 1000
    assert carry(right, left) == [(frames.PONG, 0, b"")]
    assert left.unacknowledged == 0


def test_what_is_unacknowledged_is_bounded_and_the_rest_waits() -> None:
    """A peer that is away costs a fixed amount of memory."""
    left, right = pair()
    block = b"x" * frames.MAX_DATA
    total = 200
    for _ in range(total):
        left.send_frame(frames.DATA, 1, block)
    data = left.data_to_send()
    assert len(data) <= MAX_UNACKNOWLEDGED + (1 << 20)
    assert left.data_to_send() == b""
    received = len(right.receive_data(data))
    for _ in range(20):
        carry(right, left)
        received += len(carry(left, right))
    assert received == total


def test_an_acknowledgement_goes_along_with_what_is_sent_anyway() -> None:
    """By itself it would wake the peer once more, four thousand times a gigabyte."""
    left, right = pair()
    for _ in range(4):
        left.send_frame(frames.DATA, 1, b"x" * frames.MAX_DATA)
        carry(left, right)
    assert right.data_to_send() == b""
    right.send_frame(frames.WINDOW, 1, frames.pack_u32(1 << 18))
    batches = right.data_to_send()
    assert len(batches) == 4 + int.from_bytes(batches[:4], "big")
    assert left.receive_data(batches) == [(frames.WINDOW, 1, frames.pack_u32(1 << 18))]
    assert left.unacknowledged == 0


def test_two_sides_that_both_send_much_do_not_wait_for_each_other() -> None:
    """An ACK is never held back behind the data that it would set free."""
    left, right = pair()
    block = b"x" * frames.MAX_DATA
    for _ in range(150):
        left.send_frame(frames.DATA, 1, block)
        right.send_frame(frames.DATA, 1, block)
    got_left = got_right = 0
    for _ in range(20):
        to_right, to_left = left.data_to_send(), right.data_to_send()
        got_right += len(right.receive_data(to_right))
        got_left += len(left.receive_data(to_left))
    assert (got_left, got_right) == (150, 150)


@pytest.mark.parametrize("seed", range(30))
def test_lost_connections_lose_and_double_nothing(seed: int) -> None:
    """Both directions, cut at random bytes again and again, deliver exactly what was sent."""
    dice = random.Random(seed)
    left, right = pair()
    sent: dict[Link, list[bytes]] = {left: [], right: []}
    got: dict[Link, list[bytes]] = {left: [], right: []}

    def deliver(sender: Link, receiver: Link, share: float) -> None:
        data = sender.data_to_send()
        for frame_type, _, payload in receiver.receive_data(data[: int(len(data) * share)]):
            if frame_type == frames.DATA:
                got[receiver].append(payload)

    for round_number in range(40):
        for link in (left, right):
            for _ in range(dice.randrange(6)):
                payload = dice.randbytes(dice.choice([0, 10, 5_000, 60_000]))
                sent[link].append(payload)
                link.send_frame(frames.DATA, 1, payload)
        cut = dice.random() < 0.4
        deliver(left, right, dice.random() if cut else 1.0)
        deliver(right, left, dice.random() if cut else 1.0)
        if cut:
            up, down = b"%032d" % round_number, b"%031dx" % round_number
            left_received = left.received
            left.resume(up, down, right.received)
            right.resume(down, up, left_received)
    deliver(left, right, 1.0)
    deliver(right, left, 1.0)
    for _ in range(10):
        deliver(left, right, 1.0)
        deliver(right, left, 1.0)
    assert got[right] == sent[left]
    assert got[left] == sent[right]


def test_an_acknowledgement_that_a_handshake_has_overtaken_is_harmless() -> None:
    """It comes again with a batch that was lost, and says less than is known by then."""
    left, right = pair()
    left.send_frame(frames.DATA, 1, b"one")
    carry(left, right)
    right.acknowledge()
    right.data_to_send()
    left.send_frame(frames.DATA, 1, b"two")
    carry(left, right)
    left.resume(b"1" * 32, b"2" * 32, right.received)
    right.resume(b"2" * 32, b"1" * 32, left.received)
    assert carry(right, left) == []
    left.send_frame(frames.DATA, 1, b"three")
    assert carry(left, right) == [(frames.DATA, 1, b"three")]


def test_good_batches_in_front_of_a_bad_one_are_delivered() -> None:
    """They are counted as received, so a resumed peer would never send them again."""
    left, right = pair()
    left.send_frame(frames.DATA, 1, b"good")
    data = left.data_to_send()
    left.send_frame(frames.DATA, 1, b"bad")
    damaged = bytearray(left.data_to_send())
    damaged[-1] ^= 1
    assert right.receive_data(data + bytes(damaged)) == [(frames.DATA, 1, b"good")]
    assert right.received == 1
    with pytest.raises(AuthenticationError):
        right.receive_data(b"")
    left_received = left.received
    left.resume(b"1" * 32, b"2" * 32, right.received)
    right.resume(b"2" * 32, b"1" * 32, left_received)
    assert carry(left, right) == [(frames.DATA, 1, b"bad")]


def test_good_batches_in_front_of_a_genuine_one_that_breaks_the_wire_are_delivered() -> None:
    """The error is kept for the next call, and holds nothing of the buffer."""
    left, right = pair()
    left.send_frame(frames.DATA, 1, b"good")
    data = left.data_to_send()
    left.send_frame(99, 1, b"no such frame")
    assert right.receive_data(data + left.data_to_send()) == [(frames.DATA, 1, b"good")]
    with pytest.raises(ProtocolError):
        right.receive_data(b"")


def test_good_frames_of_a_batch_that_breaks_the_wire_are_delivered() -> None:
    """The batch counts as received, be it a small one or a large one, so what is in it would be lost."""
    for size in (1, frames.LARGE):
        left, right = pair()
        left.send_frame(frames.DATA, 1, bytes(size))
        left.send_frame(frames.ACK, 0, frames.pack_u64(7))
        assert [len(payload) for _, _, payload in carry(left, right)] == [size]
        assert right.received == 1
        with pytest.raises(ProtocolError, match="7 batches of 0"):
            right.receive_data(b"")


def test_an_impossible_count_of_the_peer_is_an_error() -> None:
    """A peer that claims what was never sent, or less than it has acknowledged, is not followed."""
    left, right = pair()
    with pytest.raises(ProtocolError, match="1 batches of 0"):
        left.resume(UP, DOWN, 1)
    left.send_frame(frames.PING, 0)
    carry(left, right)
    carry(right, left)
    with pytest.raises(ProtocolError, match="0 batches of 1"):
        left.resume(UP, DOWN, 0)


def test_lengths_that_cannot_be_are_refused_at_once() -> None:
    """Nothing is collected for a batch that is too small or too large."""
    for length in (0, 15, 2**31):
        with pytest.raises(ProtocolError):
            Link(DOWN, UP).receive_data(length.to_bytes(4, "big"))


def test_a_genuine_batch_of_malformed_frames_is_a_protocol_error() -> None:
    """A peer with the key is still held to the rules."""
    for malformed in (b"\x63" * 40, frames.encode(frames.DATA, 1, b"abc")[:-1]):
        left, right = pair()
        left.send_frames([(malformed,)])
        with pytest.raises(ProtocolError):
            carry(left, right)


def test_a_peer_that_asks_for_ever_and_acknowledges_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Answers are never held back, so they are what such a peer could fill a memory with."""
    monkeypatch.setattr("roujiamo.protocol.link.MAX_KEPT", 1 << 14)
    left, right = pair()

    def ask() -> None:
        left.send_frame(frames.PING, 0)
        right.receive_data(left.data_to_send())
        # The answers are written, and nobody reads them; the asker takes it for granted that its own have arrived.
        right.data_to_send()
        left._forget(left._sent)

    while right.unacknowledged <= 1 << 14:
        ask()
    with pytest.raises(ProtocolError, match="acknowledges nothing"):
        ask()


def test_many_questions_have_one_answer() -> None:
    """A ping asks whether the other side lives; what is asked twice before an answer goes is answered once."""
    left, right = pair()
    for _ in range(1000):
        left.send_frame(frames.PING, 0)
    right.receive_data(left.data_to_send())
    assert [kind for kind, _, _ in left.receive_data(right.data_to_send())] == [frames.PONG]
