"""The fuzz targets of our own wire: frames, fields, channels, routes, the handshake, the link, a host's proxy.

Each function plays one case: it draws an input from `chance`, feeds it, and raises AssertionError where a rule is
broken. Only the documented error may come out; any other exception is a finding too. The rules: what is taken whole and
what is taken in pieces agree, what is kept is bounded, a sentence for people is short.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from roujiamo.broker.hosts import CONTACTED, Host
from roujiamo.errors import ProtocolError
from roujiamo.protocol import frames
from roujiamo.protocol.channel import ACCEPTOR, IDLE, MAX_WINDOW, OPEN_STATE, OPENER, REQUESTED, Channel
from roujiamo.protocol.fields import pack_fields, unpack_fields
from roujiamo.protocol.handshake import FIRST_CONTACT, RESUME, Initiator, Responder
from roujiamo.protocol.link import MAX_BATCH_LENGTH, Link
from roujiamo.protocol.route import Route
from tests.fuzz.mutation import mutated, pieces

MAX_SENTENCE = 400
SMALL = 300
OPEN_PAYLOAD = pack_fields(frames.VERSION, b"agent1", b"orted -mca ess env", b"t" * 32, b"65536")
PAYLOADS = [
    OPEN_PAYLOAD,
    frames.pack_u32(65536),
    frames.pack_u32(0),
    frames.pack_u32(0xFFFF_FFFF),
    pack_fields(b"255", b"no such host"),
    pack_fields(b"TERM", b"1"),
    pack_fields(),
    b"TERM",
    b"some bytes of output\n",
    b"",
    frames.pack_u64(3),
]
FRAMES = [
    frames.encode(kind, number, payload)
    for kind in frames.NAMES
    for number in (0, 1, 2)
    for payload in PAYLOADS
]


def refusal(action: Callable[[], object]) -> str | None:
    """The sentence with which `action` was refused, None where it was not."""
    try:
        action()
    except ProtocolError as error:
        sentence = str(error)
    else:
        return None
    assert len(sentence) <= MAX_SENTENCE, f"a sentence of {len(sentence)} characters"
    return sentence


def decoder(chance: random.Random) -> None:
    """Frames out of bytes."""
    stream = mutated(chance, b"".join(chance.choices(FRAMES, k=chance.randint(1, 8))), FRAMES)
    whole, piecewise = frames.Decoder(SMALL), frames.Decoder(SMALL)
    at_once: list[Any] = []
    in_turn: list[Any] = []
    first = refusal(lambda: at_once.extend(whole.receive_data(stream)))

    def feed() -> None:
        for piece in pieces(chance, stream):
            in_turn.extend(piecewise.receive_data(piece))
            assert piecewise.pending < SMALL + frames.HEADER.size

    assert refusal(feed) == first
    assert first is not None or (at_once == in_turn and whole.pending == piecewise.pending)


def fields(chance: random.Random) -> None:
    """Byte strings out of a payload; what is taken packs to the same again."""
    payload = mutated(chance, chance.choice(PAYLOADS), PAYLOADS)
    taken: list[bytes] = []
    if refusal(lambda: taken.extend(unpack_fields(payload))) is None:
        assert pack_fields(*taken) == payload


def channel(chance: random.Random) -> None:
    """One end of a channel against a peer that says anything in any order."""
    role = chance.choice((OPENER, ACCEPTOR))
    ours = Channel(1, role, receive_window=chance.choice((0, 100, 1 << 20)))
    granted = ours._receive_window
    received = 0
    if role == OPENER:
        ours.open(b"agent1", b"true")
    for _ in range(chance.randint(1, 40)):
        kind = chance.choice(
            (*frames.NAMES, frames.OPEN, frames.OPEN_OK, frames.DATA, frames.DATA, frames.WINDOW)
        )
        payload = mutated(chance, chance.choice(PAYLOADS), PAYLOADS)
        before = ours.state
        events: list[Any] = []
        if refusal(lambda kind=kind, payload=payload: events.append(ours.receive_frame(kind, payload))):
            assert ours.state == before
            return
        if events[0][0] in (frames.DATA, frames.EXTENDED_DATA):
            received += len(payload)
            assert received <= granted
            ours.consume(len(payload))
            granted = received + ours._receive_window
        if ours.state == REQUESTED and chance.randrange(2):
            ours.accept()
        if ours.state == OPEN_STATE and chance.randrange(3) == 0:
            room = ours.sendable
            assert ours.send_data(bytes(200)) == min(200, room) if not ours.send_eof_done else True
            if chance.randrange(5) == 0:
                ours.send_eof()
        assert 0 <= ours.sendable <= MAX_WINDOW
        assert ours.state == IDLE or frames.Decoder().receive_data(ours.data_to_send()) is not None


def channel_stream(chance: random.Random) -> None:
    """One end of a channel, told everything at once and in pieces: the same events, answers, state and refusal."""
    role = chance.choice((OPENER, ACCEPTOR))
    kinds = [*frames.NAMES, *[frames.OPEN_OK, frames.OPEN, frames.DATA, frames.WINDOW, frames.EOF] * 4]
    payload_of = {frames.OPEN: OPEN_PAYLOAD, frames.EOF: b"", frames.OPEN_OK: frames.pack_u32(65536)}
    said = [chance.choice(kinds) for _ in range(chance.randint(1, 20))]
    said = [frames.OPEN if role == ACCEPTOR else frames.OPEN_OK, *said]
    stream = b"".join(frames.encode(kind, 1, payload_of.get(kind, chance.choice(PAYLOADS))) for kind in said)
    if chance.randrange(2):
        stream = mutated(chance, stream, FRAMES)
    window = chance.choice((0, 100, 1 << 20))

    def told(parts: Iterable[bytes]) -> tuple[list[Any], str | None, str, int, bytes]:
        ours = Channel(1, role, receive_window=window)
        if role == OPENER:
            ours.open(b"agent1", b"true")
        decoder = frames.Decoder(SMALL)
        events: list[Any] = []

        def feed() -> None:
            for part in parts:
                for kind, number, payload in decoder.receive_data(part):
                    if number == 1:
                        events.append(ours.receive_frame(kind, payload))
                        if ours.state == REQUESTED:
                            ours.accept()

        refused = refusal(feed)
        return events, refused, ours.state, ours.sendable, ours.data_to_send()

    whole, piecewise = told([stream]), told(pieces(chance, stream))
    if whole[1] == piecewise[1] is None:
        assert whole == piecewise
    else:
        # A decoder that is told all at once finds what is wrong in the end before what is wrong in a frame is seen.
        assert whole[1] is not None
        assert piecewise[1] is not None
        assert whole[0] == piecewise[0][: len(whole[0])]


class Sink:
    """A connection that only counts."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int, bytes]] = []

    def send_frame(self, frame_type: int, number: int, payload: bytes = b"") -> None:
        self.sent.append((frame_type, number, payload))


def route(chance: random.Random) -> None:
    """A channel that passes through, with a liar at either end; no side gets more than it has granted."""
    opener, acceptor = Sink(), Sink()
    made: list[Route] = []
    if refusal(lambda: made.append(Route(opener, 1, mutated(chance, OPEN_PAYLOAD, PAYLOADS)))):
        return
    passing = made[0]
    passing.connect(acceptor, 3)
    for _ in range(chance.randint(1, 40)):
        receive = chance.choice((passing.frame_from_opener, passing.frame_from_acceptor))
        kind = chance.choice((*frames.NAMES, frames.OPEN_OK, frames.DATA, frames.WINDOW))
        payload = mutated(chance, chance.choice(PAYLOADS), PAYLOADS)
        if refusal(lambda receive=receive, kind=kind, payload=payload: receive(kind, payload)):
            passing.acceptor_gone(255, "broken")
        assert 0 <= passing._credit_to_acceptor <= MAX_WINDOW
        assert 0 <= passing._credit_to_opener <= MAX_WINDOW
    for sink in (opener, acceptor):
        assert sum(kind in (frames.CLOSE, frames.OPEN_FAILURE) for kind, _, _ in sink.sent) <= 1


def handshake(chance: random.Random) -> None:
    """A changed message of the handshake proves nothing, whichever it is."""
    secret = chance.randbytes(32)
    kind = chance.choice((FIRST_CONTACT, RESUME))
    initiator = Initiator(secret, kind, chance.randbytes(32), epoch=chance.randrange(3))
    responder = Responder(lambda *_: secret, chance.randbytes(32))
    messages = [initiator.hello]
    hello = mutated(chance, initiator.hello, messages)
    if refusal(lambda: responder.receive_hello(hello)):
        assert hello != initiator.hello
        return
    assert hello == initiator.hello
    genuine = responder.challenge(0)
    challenge = mutated(chance, genuine, messages)
    proofs: list[bytes] = []
    if refusal(lambda: proofs.append(initiator.receive_challenge(challenge))):
        assert challenge != genuine
        return
    assert challenge == genuine
    proof = mutated(chance, proofs[0], messages)
    assert (refusal(lambda: responder.receive_proof(proof)) is None) == (proof == proofs[0])


def link(chance: random.Random) -> None:
    """Somebody on the path: what arrives is a beginning of what was sent, or nothing."""
    keys = chance.randbytes(32), chance.randbytes(32)
    sender = Link(*keys)
    sent = []
    batches = []
    for _ in range(chance.randint(1, 6)):
        kind, payload = chance.choice((frames.DATA, frames.WINDOW, frames.CLOSE)), chance.choice(PAYLOADS)
        sent.append((kind, 1, payload))
        sender.send_frame(kind, 1, payload)
        if chance.randrange(2):
            batches.append(sender.data_to_send())
    batches.append(sender.data_to_send())
    if chance.randrange(4) == 0:
        chance.shuffle(batches)
    stream = mutated(chance, b"".join(batches), batches)
    whole, piecewise = Link(*reversed(keys)), Link(*reversed(keys))
    at_once: list[Any] = []
    in_turn: list[Any] = []

    def feed_all() -> None:
        at_once.extend(whole.receive_data(stream))
        whole.receive_data(b"")

    def feed() -> None:
        for piece in pieces(chance, stream):
            in_turn.extend(piecewise.receive_data(piece))
            assert len(piecewise._buffer) < MAX_BATCH_LENGTH + 4
        piecewise.receive_data(b"")

    assert refusal(feed_all) == refusal(feed)
    assert at_once == in_turn == sent[: len(at_once)]


def host(chance: random.Random) -> None:
    """The broker and a proxy that has proved itself, and then says anything: its host may be lost, no more."""
    told: list[str] = []
    opener, elsewhere = Sink(), Sink()

    def on_open(_: Host, number: int, payload: bytes) -> Route | None:
        made: list[Route] = []
        if refusal(lambda: made.append(Route(opener, number, payload))):
            return None
        made[0].connect(elsewhere, number + 1)
        return made[0]

    def note(*_: object) -> None:
        told.append("told")

    subject = Host(
        "agent1", agent_id="A", task_id="T", slots=1, token=bytes(32), resume=bytes(32),
        on_ready=note, on_lost=note, on_open=on_open, on_failed=note, on_command=note,
    )  # fmt: skip
    keys = chance.randbytes(32), chance.randbytes(32)
    subject.link, proxy = Link(*keys), Link(*reversed(keys))
    subject.state = CONTACTED
    # No loop runs here: what is queued for the proxy is flushed by hand.
    subject._flush_scheduled = True
    shim = Sink()
    subject.start_command(Route(shim, 1, OPEN_PAYLOAD))
    proxy.send_frame(frames.READY, 0, pack_fields(b"pid", b"1", b"user", b"u"))
    if chance.randrange(2):
        proxy.send_frame(frames.OPEN_OK, 1, frames.pack_u32(65536))
    for _ in range(chance.randint(1, 40)):
        kind = chance.choice(
            (*frames.NAMES, frames.OPEN_OK, frames.EXIT_STATUS, frames.EXIT_SIGNAL, frames.OPEN)
        )
        payload = mutated(chance, chance.choice(PAYLOADS), PAYLOADS)
        proxy.send_frame(kind, chance.choice((0, 1, 1, 1, 2, 2, 3, 4, 0xFFFF_FFFF)), payload)
    data = proxy.data_to_send()
    refusal(lambda: subject.receive_data(data))
    assert len(subject._opened) <= 64
    for number in {number for _, number, _ in elsewhere.sent}:
        kinds = [kind for kind, of, _ in elsewhere.sent if of == number]
        is_served = any(each.acceptor_number == number for each in subject._opened.values())
        assert is_served or frames.CLOSE in kinds, "a command that nobody asks for any more goes on elsewhere"
