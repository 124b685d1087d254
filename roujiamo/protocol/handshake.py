"""The call-back handshake: a proxy and the broker each prove that they know one secret.

Runs in the broker (Responder) and in the proxy (Initiator; the bootstrap in the task carries a compact form of the
same steps). Neither trusts the other before the last step, and the broker says nothing to a peer whose hello does not
verify, so a port scan learns nothing.

    1  proxy  -> broker  HELLO      who, which kind of secret, what it has received so far, a nonce, a MAC
    2  broker -> proxy   CHALLENGE  what it has received so far, a nonce, a MAC over hello and challenge
    3  proxy  -> broker  PROOF      a MAC over both
    4  broker -> proxy   CODE       only at first contact: u32 length, a MAC over hello, challenge and the SHA-256 of
                                    what follows; then the proxy's code (`roujiamo.proxy.carried`)

Every MAC is HMAC-SHA256 (RFC 2104, FIPS 180-4) under the 32-byte secret, each over a text of its own, so none can
stand in for another. The keys of the connection are MACs over both nonces: a recording of it is of no use in another.
The secret is either the task's first-contact token, good once, or the resume credential that came after it; with the
latter the epoch must rise, so a recorded hello gets no answer either. The hello also says what bytecode its Python
runs, which chooses the form of the code.

The code's MAC is over its hash, not over itself: the code is the same for all hosts, so it is hashed once a session and
not once a host. Who could put other code under that MAC would have found two texts of one SHA-256, or could forge the
MAC of 32 bytes; HMAC itself rests on the same hash. Its key and both nonces are in it, so it fits one connection.
"""

from _struct import Struct

from roujiamo.errors import AuthenticationError
from roujiamo.protocol.hashing import is_same, keyed_hash, mac

MYPY = False
if MYPY:
    from collections.abc import Callable

    from roujiamo.protocol.hashing import Hash

VERSION = 2
FIRST_CONTACT = 1
RESUME = 2

SECRET_SIZE = 32
NONCE_SIZE = 32
MAC_SIZE = 32
IDENTITY_SIZE = 16
PYTHON_SIZE = 4

_HELLO = Struct("!3sBB16sIQ4s32s")
_CHALLENGE = Struct("!32sQ")
_CODE = Struct("!I32s")

HELLO_SIZE = _HELLO.size + MAC_SIZE
CHALLENGE_SIZE = _CHALLENGE.size + MAC_SIZE
PROOF_SIZE = MAC_SIZE
CODE_HEADER_SIZE = _CODE.size
# What a proxy takes of code; it has some 100 kB.
MAX_CODE = (1 << 20) - 1

_MAGIC = b"RJM"


def identity(secret: bytes) -> bytes:
    """Return the 16 bytes by which a hello names the secret it was made with. They tell nothing about it."""
    return mac(keyed_hash(secret), b"roujiamo id")[:IDENTITY_SIZE]


class Initiator:
    """The proxy's side. Send `hello`, feed the challenge, send the proof; then the keys are there."""

    def __init__(
        self,
        secret: bytes,
        kind: int,
        nonce: bytes,
        epoch: int = 0,
        received: int = 0,
        python: bytes = bytes(PYTHON_SIZE),
    ) -> None:
        """`nonce`: 32 fresh random bytes. `received`: how many of the peer's batches have arrived so far.

        `python`: what stands at the head of the bytecode that its Python runs (importlib.util.MAGIC_NUMBER).
        """
        self._keyed = keyed_hash(secret)
        body = _HELLO.pack(_MAGIC, VERSION, kind, identity(secret), epoch, received, python, nonce)
        self.hello = body + mac(self._keyed, b"roujiamo hello", body)
        self.send_key = b""
        self.receive_key = b""
        self.peer_received = 0

    def receive_challenge(self, challenge: bytes) -> bytes:
        """Check the broker's challenge (72 bytes) and return the proof.

        Raises AuthenticationError where the peer does not know the secret.
        """
        if len(challenge) != CHALLENGE_SIZE:
            raise AuthenticationError("the broker's challenge has %d bytes" % len(challenge))
        body = challenge[: _CHALLENGE.size]
        expected = mac(self._keyed, b"roujiamo challenge", self.hello, body)
        if not is_same(expected, challenge[_CHALLENGE.size :]):
            raise AuthenticationError("the program that answers there is not this session's broker")
        self.peer_received = int(_CHALLENGE.unpack(body)[1])
        self.send_key, self.receive_key = _keys(self._keyed, self.hello, challenge)
        return mac(self._keyed, b"roujiamo proof", self.hello, challenge)


class Responder:
    """The broker's side: feed it the hello, send the challenge it returns, feed it the proof."""

    __slots__ = (
        "_challenge",
        "_find_secret",
        "_hello",
        "_nonce",
        "_keyed",
        "epoch",
        "identity",
        "kind",
        "peer_received",
        "python",
        "receive_key",
        "send_key",
    )

    def __init__(self, find_secret: "Callable[[int, bytes, int], bytes | None]", nonce: bytes) -> None:
        """`find_secret(kind, identity, epoch)`: the secret, or None where none is valid. `nonce`: 32 fresh bytes."""
        self._find_secret = find_secret
        self._nonce = nonce
        self._hello = b""
        self._challenge = b""
        self.kind = 0
        self.identity = b""
        self.epoch = 0
        self.peer_received = 0
        self.python = b""
        self.send_key = b""
        self.receive_key = b""

    def receive_hello(self, hello: bytes) -> None:
        """Check the hello (101 bytes). Raises AuthenticationError; then nothing is to be answered."""
        if len(hello) != HELLO_SIZE:
            raise AuthenticationError("a hello of %d bytes" % len(hello))
        body = hello[: _HELLO.size]
        magic, version, kind, who, epoch, received, python, _ = _HELLO.unpack(body)
        if magic != _MAGIC or version != VERSION:
            raise AuthenticationError("a peer that does not speak version %d of the call-back" % VERSION)
        secret = self._find_secret(kind, who, epoch)
        if secret is None:
            raise AuthenticationError("a peer that knows no secret of this session")
        keyed = keyed_hash(secret)
        if not is_same(mac(keyed, b"roujiamo hello", body), hello[_HELLO.size :]):
            raise AuthenticationError("a peer with a wrong secret")
        self._keyed = keyed
        self._hello = hello
        self.kind = kind
        self.identity = who
        self.epoch = epoch
        self.peer_received = received
        self.python = python

    def challenge(self, received: int) -> bytes:
        """Return the challenge (72 bytes). `received`: how many of the peer's batches have arrived so far."""
        body = _CHALLENGE.pack(self._nonce, received)
        self._challenge = body + mac(self._keyed, b"roujiamo challenge", self._hello, body)
        return self._challenge

    def receive_proof(self, proof: bytes) -> None:
        """Check the proof (32 bytes); the keys are there afterwards. Raises AuthenticationError."""
        if not is_same(mac(self._keyed, b"roujiamo proof", self._hello, self._challenge), bytes(proof)):
            raise AuthenticationError("a peer that repeated somebody's hello")
        self.receive_key, self.send_key = _keys(self._keyed, self._hello, self._challenge)

    def code_header(self, size: int, digest: bytes) -> bytes:
        """Return what comes in front of the code, after the proof. `digest`: the SHA-256 of its `size` bytes."""
        tag = mac(self._keyed, b"roujiamo code", self._hello, self._challenge, digest)
        return _CODE.pack(size, tag)


def _keys(keyed: "Hash", hello: bytes, challenge: bytes) -> "tuple[bytes, bytes]":
    """Return the keys of this connection: (proxy to broker, broker to proxy)."""
    return mac(keyed, b"roujiamo up", hello, challenge), mac(keyed, b"roujiamo down", hello, challenge)
