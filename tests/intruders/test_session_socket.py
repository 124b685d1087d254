"""Intruders at the session's unix socket: programs of the same user that say what no shim says.

Another user does not get here: the folder is closed and the peer's uid is checked (`tests/broker/test_faults.py`,
`tests/system/test_runtime_folder.py`, and for the sockets inside tasks `tests/proxy/test_relay.py`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from roujiamo.protocol import frames
from roujiamo.protocol.fields import pack_fields
from tests.broker.conftest import Session, session_with
from tests.intruders.test_callback_port import heard, memory_mb
from tests.support import children_of, scaled, until


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """One session for all."""
    with tempfile.TemporaryDirectory(prefix="rj-") as path, session_with(Path(path)) as session:
        session.wait_until_ready()
        yield session


@contextlib.contextmanager
def connected(session: Session) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(scaled(20))
        connection.connect(session.request.folder + "/socket")
        yield connection


def assert_serves(session: Session) -> None:
    assert session.rsh(session.hosts[0]["name"], "echo fine").stdout == b"fine\n"


@pytest.mark.parametrize(
    "said",
    [
        os.urandom(4096),
        frames.HEADER.pack(frames.OPEN, 1, 0xFFFF_FFFF),
        frames.encode(frames.CONTROL, 0, b"[" * 100_000),
        frames.encode(frames.CONTROL, 0, b"9" * 10_000),
        frames.encode(frames.CONTROL, 0, b"[]"),
        frames.encode(frames.DATA, 1, b"before any OPEN"),
        frames.encode(frames.OPEN, 1, pack_fields(b"9" * 100_000, b"a", b"b", b"", b"1")),
        frames.encode(frames.OPEN, 1, pack_fields(b"1", b"a" * 256, b"b", b"", b"1")),
        frames.encode(frames.OPEN, 1, pack_fields(b"1", b"a", b"b" * 200_000, b"", b"1")),
    ],
    ids=lambda said: f"{frames.NAMES.get(said[0], 'noise')}-{len(said)}",
)
def test_what_is_no_request_ends_its_connection_alone(session: Session, said: bytes) -> None:
    """The broker shows it out with nothing in its log but a sentence."""
    log = Path(session.request.folder) / "log"
    with connected(session) as connection:
        connection.sendall(said)
        heard(connection)
    assert "Traceback" not in log.read_text()
    assert_serves(session)


def test_a_request_that_breaks_off_into_nonsense_ends_its_command(session: Session) -> None:
    """Nobody would ever end that command otherwise."""
    name = session.hosts[0]["name"].encode()
    before = children_of(session.client.pid)
    with connected(session) as connection:
        request = pack_fields(frames.VERSION, name, b"sleep 1000", b"", b"1000")
        connection.sendall(frames.encode(frames.OPEN, 1, request))
        until(lambda: children_of(session.client.pid) - before, 10, "the command")
        connection.sendall(frames.encode(frames.EXIT_STATUS, 1, frames.pack_u32(0)))
        assert b"the request broke the protocol" in heard(connection)
    until(lambda: children_of(session.client.pid) <= before, 10, "its end")


def test_a_thousand_connections_that_say_nothing_are_no_hindrance(session: Session) -> None:
    """They cost a descriptor each, of the user's own."""
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connected(session))
        assert_serves(session)
        assert memory_mb(session.client.pid) < 100


def test_a_reader_that_never_reads_costs_its_window_and_no_more(session: Session) -> None:
    """Output that nobody takes stops at its source."""
    name = session.hosts[0]["name"].encode()
    with connected(session) as connection:
        request = pack_fields(frames.VERSION, name, b"yes", b"", b"%d" % frames.INITIAL_WINDOW)
        connection.sendall(frames.encode(frames.OPEN, 1, request))
        connection.recv(100)
        for _ in range(10):
            assert_serves(session)
        assert memory_mb(session.client.pid) < 100


def test_the_sessions_folder_is_its_owners_alone(session: Session) -> None:
    """The log in it names hosts and commands; the socket runs them."""
    state = Path(session.request.folder).lstat()
    assert (state.st_uid, stat.S_IMODE(state.st_mode)) == (os.geteuid(), 0o700)
