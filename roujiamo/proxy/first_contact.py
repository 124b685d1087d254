"""First contact: all that a Mesos task carries of roujiamo. It calls back, and receives the rest.

Runs as the task, on Python 3.6 and later, in the short form that `bootstrap` makes of this text: each byte travels
through Mesos once per host, so only what is needed is in here. It trusts whoever proves to know this task's token
(it is the proxy's side of `roujiamo.protocol.handshake`), nobody before, and takes nothing without a bound.
"""

import hashlib
import hmac
import json
import os
import shutil
import socket
import sys
import time
import zlib


def mac(key: bytes, *parts: bytes) -> bytes:
    """Return HMAC-SHA256 of the parts in a row."""
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def fail(status: int, sentence: str) -> None:
    """Say what went wrong, and end the task."""
    print("roujiamo-proxy: %s: %s" % (os.environ.get("ROUJIAMO_HOST"), sentence), file=sys.stderr)
    sys.exit(status)


def check(condition: object, problem: str) -> None:
    """Give this address up where the condition does not hold."""
    if not condition:
        raise OSError(problem)


def contact(address: str, token: bytes, deadline: float) -> "tuple[socket.socket, bytes, bytes, bytes]":
    """Call back to one address; return the connection, the keys to send and to receive with, and the first batch."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host.strip("[]"), int(port)), 5)

    def receive(size: int) -> bytes:
        received = b""
        while len(received) < size:
            piece = connection.recv(size - len(received))
            check(piece and time.monotonic() < deadline, "no answer")
            received += piece
        return received

    def verify(tag: bytes, *parts: bytes) -> None:
        check(hmac.compare_digest(tag, mac(*parts)[: len(tag)]), "not our broker")

    try:
        hello = b"RJM\1\1" + mac(token, b"roujiamo id")[:16] + bytes(12) + os.urandom(32)
        hello += mac(token, b"roujiamo hello", hello)
        connection.sendall(hello)
        challenge = receive(72)
        verify(challenge[40:], token, b"roujiamo challenge", hello, challenge[:40])
        connection.sendall(mac(token, b"roujiamo proof", hello, challenge))
        length = receive(4)
        size = int.from_bytes(length, "big")
        check(24 < size < 5 << 20, "a welcome of %d bytes" % size)
        batch = receive(size)
        receive_key = mac(token, b"roujiamo down", hello, challenge)
        verify(batch[:16], receive_key, bytes(8), batch[16:])
        return connection, mac(token, b"roujiamo up", hello, challenge), receive_key, length + batch
    except OSError:
        connection.close()
        raise


def main(patience_seconds: float) -> None:
    """Call back until it works or patience is over, unpack the code that comes, and become its init."""
    if sys.version_info < (3, 6):
        fail(127, "python3 is %s here; install 3.6 or later on this agent" % sys.version.split()[0])
    deadline = time.monotonic() + patience_seconds
    connection = None
    while not connection:
        problems = ""
        for address in os.environ["ROUJIAMO_CALLBACK"].split(","):
            try:
                token = bytes.fromhex(os.environ["ROUJIAMO_TOKEN"])
                connection, send_key, receive_key, batch = contact(address, token, deadline)
                break
            except OSError as error:
                problems += " %s (%s)" % (address, error)
        else:
            if time.monotonic() > deadline:
                fail(1, "cannot call back to%s; check the firewall, or use --callback-address" % problems)
            time.sleep(0.5)
    folder = os.path.abspath(os.environ.get("MESOS_SANDBOX", "")) + "/.roujiamo-" + os.urandom(8).hex()
    mask = os.umask(0o77)
    try:
        # The WELCOME's payload comes after 4 + 16 bytes of the batch (protocol.link) and 9 of the frame (.frames).
        modules = json.loads(zlib.decompressobj().decompress(batch[29:], 1 << 26).decode())["modules"]
        for name in modules:
            path = folder + "/" + name.replace(".", "/") + ".py"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(modules[name].encode())
    except OSError as error:
        shutil.rmtree(folder, True)
        problems = "cannot unpack: %s" % error
        # A GOODBYE frame in a batch of its own: where the disk is full, nobody would read of it in the sandbox.
        batch = b"$\0\0\0\0" + len(problems).to_bytes(4, "big") + problems.encode()
        length = (16 + len(batch)).to_bytes(4, "big")
        try:
            connection.sendall(length + mac(send_key, bytes(8), batch)[:16] + batch)
        finally:
            fail(1, problems)
    os.umask(mask)
    sys.path.insert(0, folder)
    from roujiamo.proxy import init

    init.main(connection, folder, send_key, receive_key, batch)
