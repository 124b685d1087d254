"""The call-back handshake, two sides back to back; and everybody who should not get in."""

import hashlib

import pytest

from roujiamo.errors import AuthenticationError
from roujiamo.protocol import handshake
from roujiamo.protocol.handshake import FIRST_CONTACT, RESUME, Initiator, Responder

SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))


def responder(*secrets: bytes) -> Responder:
    known = {handshake.identity(secret): secret for secret in secrets}
    return Responder(lambda kind, who, epoch: known.get(who), b"B" * 32)


def test_both_sides_end_with_the_same_keys_and_each_others_counts() -> None:
    """What one seals the other opens, and a resumed link knows where the other is."""
    proxy, broker = Initiator(SECRET, RESUME, b"A" * 32, epoch=3, received=17), responder(SECRET)
    broker.receive_hello(proxy.hello)
    proof = proxy.receive_challenge(broker.challenge(received=23))
    broker.receive_proof(proof)
    assert (broker.send_key, broker.receive_key) == (proxy.receive_key, proxy.send_key)
    assert proxy.send_key != proxy.receive_key
    assert (broker.kind, broker.epoch, broker.peer_received) == (RESUME, 3, 17)
    assert proxy.peer_received == 23


def test_sizes_are_the_ones_both_sides_read() -> None:
    """The messages have fixed sizes, so a peer's bytes are bounded before it is known."""
    proxy, broker = Initiator(SECRET, FIRST_CONTACT, b"A" * 32), responder(SECRET)
    broker.receive_hello(proxy.hello)
    challenge = broker.challenge(0)
    assert (len(proxy.hello), len(challenge), len(proxy.receive_challenge(challenge))) == (101, 72, 32)


def test_an_unknown_or_wrong_secret_gets_no_challenge() -> None:
    """The broker answers nothing to who cannot show knowledge at once."""
    with pytest.raises(AuthenticationError, match="knows no secret"):
        responder(SECRET).receive_hello(Initiator(OTHER, FIRST_CONTACT, b"A" * 32).hello)
    known = {handshake.identity(OTHER): SECRET}
    broker = Responder(lambda kind, who, epoch: known.get(who), b"B" * 32)
    with pytest.raises(AuthenticationError, match="wrong secret"):
        broker.receive_hello(Initiator(OTHER, FIRST_CONTACT, b"A" * 32).hello)


def test_one_changed_bit_anywhere_is_refused() -> None:
    """Nothing that the messages say can be altered on the way."""
    proxy = Initiator(SECRET, FIRST_CONTACT, b"A" * 32)
    for position in range(len(proxy.hello)):
        altered = bytearray(proxy.hello)
        altered[position] ^= 1
        with pytest.raises(AuthenticationError):
            responder(SECRET).receive_hello(bytes(altered))
    broker = responder(SECRET)
    broker.receive_hello(proxy.hello)
    challenge = broker.challenge(5)
    for position in range(len(challenge)):
        altered = bytearray(challenge)
        altered[position] ^= 1
        with pytest.raises(AuthenticationError):
            proxy.receive_challenge(bytes(altered))
    proof = bytearray(proxy.receive_challenge(challenge))
    proof[0] ^= 1
    with pytest.raises(AuthenticationError, match="repeated"):
        broker.receive_proof(bytes(proof))


def test_a_replayed_conversation_fails_at_the_proof() -> None:
    """The broker's nonce is fresh, so a recorded proof fits no other connection."""
    proxy, first = Initiator(SECRET, FIRST_CONTACT, b"A" * 32), responder(SECRET)
    first.receive_hello(proxy.hello)
    recorded = proxy.receive_challenge(first.challenge(0))
    second = Responder(lambda kind, who, epoch: SECRET, b"C" * 32)
    second.receive_hello(proxy.hello)
    second.challenge(0)
    with pytest.raises(AuthenticationError):
        second.receive_proof(recorded)


def test_the_brokers_silence_is_its_callers_choice_of_secrets() -> None:
    """Kind, identity and epoch reach the one who knows which secrets are still good."""
    asked = []

    def find(kind: int, who: bytes, epoch: int) -> bytes | None:
        asked.append((kind, who, epoch))
        return None

    with pytest.raises(AuthenticationError):
        Responder(find, b"B" * 32).receive_hello(Initiator(SECRET, RESUME, b"A" * 32, epoch=9).hello)
    assert asked == [(RESUME, handshake.identity(SECRET), 9)]


def test_the_code_is_proved_with_what_the_connection_alone_knows() -> None:
    """A proxy runs what it gets: the MAC is over the code's hash, and fits no other code and no other connection."""
    digest = hashlib.sha256(b"the code").digest()
    headers = []
    for nonce in (b"A" * 32, b"B" * 32):
        proxy, broker = Initiator(SECRET, FIRST_CONTACT, nonce, python=b"3495"), responder(SECRET)
        broker.receive_hello(proxy.hello)
        challenge = broker.challenge(0)
        broker.receive_proof(proxy.receive_challenge(challenge))
        assert broker.python == b"3495"
        headers.append(broker.code_header(8, digest))
        assert headers[-1] != broker.code_header(8, hashlib.sha256(b"other").digest())
        tag = handshake.mac(handshake.keyed_hash(SECRET), b"roujiamo code", proxy.hello, challenge, digest)
        assert headers[-1] == (8).to_bytes(4, "big") + tag
        assert len(headers[-1]) == handshake.CODE_HEADER_SIZE
    assert headers[0] != headers[1]
