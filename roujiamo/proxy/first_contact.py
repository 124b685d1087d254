"""First contact: all that a Mesos task carries of roujiamo. It calls back, and receives the rest.

Runs as the task, on Python 3.6 and later, in the short form that `bootstrap` makes of this text: each byte travels
through Mesos once per host, so only what is needed is in here. It trusts whoever proves to know this task's token
(it is the proxy's side of `roujiamo.protocol.handshake`), nobody before, and takes nothing without a bound.

What it imports is in C, or loaded already: `socket`, `json` and `hmac` would take 25 ms of CPU, more than all the rest.
"""

import _frozen_importlib_external
import _operator
import _socket
import marshal
import os
import sys
import time
import zlib

try:
    # What hashlib is made of, where its Python has OpenSSL.
    from _hashlib import openssl_sha256 as sha256
except ImportError:
    from hashlib import sha256


def mac(key: bytes, *parts: bytes) -> bytes:
    """Return HMAC-SHA256 of the parts in a row (RFC 2104; a key of 32 bytes is shorter than the hash's block)."""
    key += bytes(32)
    inner = sha256(bytes(byte ^ 54 for byte in key) + b"".join(parts)).digest()
    return sha256(bytes(byte ^ 92 for byte in key) + inner).digest()


def fail(status: int, sentence: str) -> None:
    """Say what went wrong, and end the task."""
    print("roujiamo-proxy: %s: %s" % (os.environ.get("ROUJIAMO_HOST"), sentence), file=sys.stderr)
    sys.exit(status)


def check(condition: object, problem: str) -> None:
    """Give this address up where the condition does not hold."""
    if not condition:
        raise OSError(problem)


def contact(address: str, token: bytes, deadline: float) -> "tuple[_socket.socket, bytes, bytes, bytes]":
    """Call back to one address; return the connection, the keys to send and to receive with, and the code."""
    host, _, port = address.rpartition(":")
    problem = OSError("no such address")
    # In bytes: for a text Python loads its codec for international names, which takes 6 ms.
    for *kind, _, target in _socket.getaddrinfo(host.strip("[]").encode(), port, 0, _socket.SOCK_STREAM):
        connection = _socket.socket(*kind)
        connection.settimeout(5)
        try:
            connection.connect(target)
            break
        except OSError as error:
            connection.close()
            problem = error
    else:
        raise problem

    def receive(size: int) -> bytes:
        received = b""
        while len(received) < size:
            piece = connection.recv(size - len(received))
            check(piece and time.monotonic() < deadline, "no answer")
            received += piece
        return received

    def verify(tag: bytes, *parts: bytes) -> None:
        check(_operator._compare_digest(tag, mac(*parts)), "not our broker")

    try:
        hello = b"RJM\2\1" + mac(token, b"roujiamo id")[:16] + bytes(12)
        hello += _frozen_importlib_external.MAGIC_NUMBER + os.urandom(32)
        hello += mac(token, b"roujiamo hello", hello)
        connection.sendall(hello)
        challenge = receive(72)
        verify(challenge[40:], token, b"roujiamo challenge", hello, challenge[:40])
        connection.sendall(mac(token, b"roujiamo proof", hello, challenge))
        header = receive(36)
        size = int.from_bytes(header[:4], "big")
        check(size < 1 << 20, "%d bytes of code" % size)
        code = receive(size)
        verify(header[4:], token, b"roujiamo code", hello, challenge, sha256(code).digest())
        keys = [mac(token, text, hello, challenge) for text in (b"roujiamo up", b"roujiamo down")]
        return connection, keys[0], keys[1], code
    except OSError:
        connection.close()
        raise


def main(patience_seconds: float) -> None:
    """Call back until it works or patience is over, and run the code that comes."""
    if sys.version_info < (3, 6):
        fail(127, "python3 is %s here; install 3.6 or later on this agent" % sys.version.split()[0])
    deadline = time.monotonic() + patience_seconds
    contacted = None
    while not contacted:
        problems = ""
        for address in os.environ["ROUJIAMO_CALLBACK"].split(","):
            try:
                contacted = contact(address, bytes.fromhex(os.environ["ROUJIAMO_TOKEN"]), deadline)
                break
            except OSError as error:
                problems += " %s (%s)" % (address, error)
        else:
            if time.monotonic() > deadline:
                fail(1, "cannot call back to%s; check the firewall, or use --callback-address" % problems)
            time.sleep(0.5)
    connection, send_key, receive_key, code = contacted
    modules = marshal.loads(zlib.decompressobj().decompress(code, 1 << 26))
    # The nameless one is `roujiamo.proxy.importer`, which makes modules of the others.
    scope = {}  # type: dict[str, object]
    exec(modules[""], scope)
    scope["start"](modules, connection, send_key, receive_key)  # type: ignore[operator]
