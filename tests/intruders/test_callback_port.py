"""Intruders at the call-back port of a real session: who they are, what they hear (nothing), what they cost."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roujiamo.broker.callback import HANDSHAKE_SECONDS, PENDING_LIMIT
from roujiamo.protocol.handshake import FIRST_CONTACT, HELLO_SIZE, PROOF_SIZE, RESUME, Initiator
from tests.broker.conftest import Session, session_with
from tests.intruders.wire_tap import WireTap
from tests.support import scaled, until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to listen on the wire")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Target:
    """A ready session, its call-back port, and what its proxies have said on the wire so far."""

    def __init__(self, session: Session, port: int, conversations: list[bytes]) -> None:
        self.session = session
        self.address = ("127.0.0.1", port)
        self.conversations = conversations

    def assert_silent(self, *pieces: bytes) -> None:
        """Whoever sends that hears nothing and is shown out."""
        with socket.create_connection(self.address, timeout=scaled(20)) as intruder:
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    intruder.sendall(piece)
            assert heard(intruder) == b""

    def assert_serves(self) -> None:
        """Its own proxies are served as before."""
        for host in self.session.hosts:
            assert self.session.rsh(host["name"], "echo fine").stdout == b"fine\n"

    def token(self) -> bytes:
        """The first-contact token of a task, as Mesos shows it to who may read it."""
        environment = Path(f"/proc/{self.session.hosts[0]['facts']['pid']}/environ").read_bytes()
        found = re.search(rb"(?:^|\0)ROUJIAMO_TOKEN=([0-9a-f]{64})", environment)
        assert found is not None
        return bytes.fromhex(found[1].decode())


def heard(intruder: socket.socket) -> bytes:
    """All that comes until the connection ends; socket.timeout where it does not end."""
    said = b""
    try:
        while piece := intruder.recv(4096):
            said += piece
    except ConnectionError:
        pass
    return said


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """One session for all intruders."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="rj-") as path, contextlib.ExitStack() as stack:
        tap = stack.enter_context(WireTap(port)) if os.geteuid() == 0 else None
        session = stack.enter_context(session_with(Path(path), callback_ports=(port, port)))
        session.wait_until_ready()
        yield Target(session, port, tap.conversations() if tap is not None else [])


def hello(secret: bytes, kind: int, epoch: int = 0) -> bytes:
    return Initiator(secret, kind, os.urandom(32), epoch).hello


def test_no_secret_and_a_wrong_one_are_refused_in_silence(target: Target) -> None:
    """Random bytes, another protocol, a hello under a secret that this session never had, an oversized frame."""
    target.assert_silent(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 9)
    target.assert_silent(b"\x16\x03\x01\x02\x00" + os.urandom(512))
    target.assert_silent(hello(os.urandom(32), FIRST_CONTACT))
    target.assert_silent(hello(os.urandom(32), RESUME, 1))
    target.assert_silent(b"\xff" * (1 << 20))
    for _ in range(50):
        target.assert_silent(os.urandom(HELLO_SIZE + PROOF_SIZE + 1))
    target.assert_serves()


def test_a_token_is_worthless_once_it_was_used(target: Target) -> None:
    """Mesos shows a task's environment to who may read its state: what stands there opens nothing any more."""
    token = target.token()
    target.assert_silent(hello(token, FIRST_CONTACT))
    target.assert_silent(hello(token, RESUME, 1))
    target.assert_serves()


def test_another_sessions_token_opens_nothing(target: Target, folder: Path) -> None:
    """Two sessions of one user share nothing."""
    with session_with(folder, nodes=1, processes=1) as other:
        other.wait_until_ready()
        target.assert_silent(hello(Target(other, 0, []).token(), FIRST_CONTACT))
    target.assert_serves()


@needs_root
def test_what_was_heard_on_the_wire_is_refused_when_it_is_said_again(target: Target) -> None:
    """The hello, hello and proof, the whole conversation, and each with a changed bit."""
    recorded = [said for said in target.conversations if len(said) > HELLO_SIZE + PROOF_SIZE]
    assert len(recorded) == 2, "the two proxies' conversations were not recorded"
    for said in recorded:
        greeting, proof = said[:HELLO_SIZE], said[HELLO_SIZE : HELLO_SIZE + PROOF_SIZE]
        target.assert_silent(greeting)
        target.assert_silent(greeting, proof)
        target.assert_silent(said)
        for position in range(0, HELLO_SIZE, 8):
            changed = bytearray(greeting)
            changed[position] ^= 1
            target.assert_silent(bytes(changed))
    assert target.token() not in b"".join(target.conversations), "a secret went over the wire"
    target.assert_serves()


def test_who_says_a_hello_slowly_is_shown_out_in_time(target: Target) -> None:
    """A byte now and then does not stretch the ten seconds that a handshake may take."""
    started = time.monotonic()
    slow = [socket.create_connection(target.address, timeout=scaled(20)) for _ in range(20)]
    ended = threading.Event()

    def dribble() -> None:
        while not ended.wait(0.3):
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.send(b"R")

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        assert {heard(connection) for connection in slow} == {b""}
        assert time.monotonic() - started < scaled(HANDSHAKE_SECONDS + 5)
    finally:
        ended.set()
        thread.join()
        for connection in slow:
            connection.close()
    target.assert_serves()


def test_a_crowd_that_stays_keeps_no_proxy_out_and_costs_little(folder: Path) -> None:
    """1,500 idle connections, there before the first task: the session comes, and keeps at most its bound of them."""
    port = free_port()
    crowd: list[socket.socket] = []
    ended = threading.Event()

    def gather() -> None:
        while not ended.is_set() and len(crowd) < 1500:
            with contextlib.suppress(OSError):
                crowd.append(socket.create_connection(("127.0.0.1", port), timeout=scaled(5)))
                continue
            ended.wait(0.005)

    with session_with(folder, callback_ports=(port, port)) as session:
        thread = threading.Thread(target=gather)
        thread.start()
        try:
            session.wait_until_ready()
            until(lambda: len(crowd) == 1500, 30, "the whole crowd")
            descriptors = Path(f"/proc/{session.client.pid}/fd")
            until(lambda: len(list(descriptors.iterdir())) < PENDING_LIMIT + 100, 10, "the bound")
            assert memory_mb(session.client.pid) < 100
            assert session.rsh(session.hosts[0]["name"], "echo fine").stdout == b"fine\n"
        finally:
            ended.set()
            thread.join()
            for connection in crowd:
                connection.close()


def memory_mb(pid: int) -> float:
    """The resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
