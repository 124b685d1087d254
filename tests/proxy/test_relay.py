"""Shims inside a task: their requests reach the broker, and nobody else's do."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from roujiamo.protocol import frames
from roujiamo.protocol.channel import OPENER, Channel
from roujiamo.protocol.route import Route
from tests.proxy.broker import Bench, Broker
from tests.support import until


class Between:
    """The broker's part between two hosts: what a shim on the first one asks for runs on the second."""

    def __init__(self, first: Broker, second: Broker) -> None:
        self.first = first
        self.second = second
        self.routes: dict[int, Route] = {}
        self.hosts: list[bytes] = []
        self.tokens: list[bytes] = []

    def work(self) -> None:
        self.first.work(0.001)
        self.second.work(0.001)
        assert self.first.link is not None
        assert self.second.link is not None
        requests, self.first.requests = self.first.requests, []
        for frame_type, number, payload in requests:
            if frame_type == frames.OPEN:
                route = Route(self.first.link, number, payload)
                self.routes[number] = route
                self.hosts.append(route.host)
                self.tokens.append(route.token)
                there = self.second._next
                self.second._next += 2
                route.connect(self.second.link, there)
                self.second.remotes[there] = _Passed(route)  # type: ignore[assignment]
            else:
                self.routes[number].frame_from_opener(frame_type, payload)

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        def worked() -> bool:
            self.work()
            return bool(condition())

        until(worked, 30, what)


class _Passed:
    def __init__(self, route: Route) -> None:
        self.receive = route.frame_from_acceptor


@pytest.fixture
def between(make_bench: Callable[..., Bench]) -> tuple[Between, Bench, Bench]:
    first, second = make_bench().ready(), make_bench().ready()
    return Between(first.broker, second.broker), first, second


def test_a_shim_in_a_task_runs_a_command_on_another_host(between: tuple[Between, Bench, Bench]) -> None:
    """Tree spawn: the daemon on one host starts the daemon on the next."""
    broker, first, second = between
    remote = first.broker.open("roujiamo-rsh host9 'pwd; cat; echo err >&2; exit 7'; echo status $?")
    remote.write(b"input\n", end=True)
    broker.until(lambda: remote.closed, f"the inner command: {remote.stderr!r} {first.task.errors}")
    assert remote.stderr == b"err\n"
    assert remote.stdout == f"{second.task.sandbox}\ninput\nstatus 7\n".encode()
    assert remote.stderr == b"err\n"
    assert broker.hosts == [b"host9"]
    assert broker.tokens == [b""]


def test_a_shim_in_a_task_starts_no_session(between: tuple[Between, Bench, Bench]) -> None:
    """What it would take is not there; one sentence says so, whatever variables a rank has set."""
    broker, first, _ = between
    bare = "env -u ROUJIAMO_SOCKET ROUJIAMO_MASTER=m1:5050 roujiamo-rsh"
    remote = first.broker.open(f"{bare} host9 true; echo status $?")
    broker.until(lambda: remote.closed)
    assert remote.stdout == b"status 255\n"
    assert remote.stderr.startswith(b"roujiamo-rsh: host9: no session was found: ROUJIAMO_SOCKET is not set")
    assert remote.stderr.count(b"\n") == 1


def test_much_goes_both_ways_between_two_hosts(between: tuple[Between, Bench, Bench]) -> None:
    """Windows go from end to end, so neither host keeps more than one."""
    broker, first, _ = between
    remote = first.broker.open("head -c 8000000 /dev/zero | roujiamo-rsh host9 cat | wc -c")
    remote.write(b"", end=True)
    broker.until(lambda: remote.closed)
    assert remote.stdout.split() == [b"8000000"]


def test_an_inner_shim_that_is_killed_ends_its_command(between: tuple[Between, Bench, Bench]) -> None:
    """The same rule as on the launch host."""
    broker, first, second = between
    remote = first.broker.open("roujiamo-rsh host9 'echo here > started; exec sleep 1000' & echo $!; wait")
    broker.until((second.task.sandbox / "started").exists)
    pid = int(remote.stdout)
    os.kill(pid, 9)
    broker.until(lambda: remote.closed)
    broker.until(lambda: not _sleeps(second), "the end of the far command")


def _sleeps(host: Bench) -> bool:
    from roujiamo.system.processes import descendants, running_processes

    return bool(descendants(host.worker(), running_processes()))


def _connect(host: Bench) -> socket.socket:
    name = host.broker.run("echo $ROUJIAMO_SOCKET").stdout.decode().strip()
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect("\0" + name[1:])
    return connection


def _closed(host: Bench, connection: socket.socket) -> bool:
    """Whether the worker has closed it, without a word."""
    connection.setblocking(False)
    answer = b"?"

    def look() -> bool:
        nonlocal answer
        with contextlib.suppress(BlockingIOError):
            try:
                answer = connection.recv(100)
            except ConnectionResetError:
                answer = b""
            return True
        return False

    host.broker.until(look, what="an answer or the end")
    return answer == b""


def test_a_wrong_token_gets_no_answer(host: Bench) -> None:
    """Another task of the same uid can see the socket's name, and must get nothing by it."""
    with _connect(host) as connection:
        channel = Channel(1, OPENER)
        channel.open(b"host", b"id", b"f" * 32)
        connection.sendall(channel.data_to_send())
        assert _closed(host, connection)
    assert host.broker.requests == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frames.encode(frames.DATA, 1, b"x"),
        frames.HEADER.pack(frames.OPEN, 1, 1 << 30),
        frames.encode(frames.OPEN, 1, b"\xff" * 40),
    ],
)
def test_garbage_gets_no_answer(host: Bench, garbage: bytes) -> None:
    """Nothing that is not a request costs more than its connection."""
    with _connect(host) as connection:
        connection.sendall(garbage)
        assert _closed(host, connection)
    assert host.broker.run("exit 3").status == 3


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_uid_gets_no_answer(host: Bench) -> None:
    """The uid is the first wall, the token the second."""
    text = host.broker.run("echo $ROUJIAMO_SOCKET $ROUJIAMO_TOKEN").stdout.decode()
    name, token = text.split()
    channel = Channel(1, OPENER)
    channel.open(b"host", b"id", token.encode())
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.settimeout(20);"
        " s.connect('\\0' + sys.argv[1][1:]); s.sendall(bytes.fromhex(sys.argv[2])); print(s.recv(9))"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, name, channel.data_to_send().hex()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    host.broker.until(lambda: process.poll() is not None)
    output, errors = process.communicate()
    assert output == b"b''\n" or b"Reset" in errors or b"Broken" in errors
    assert host.broker.requests == []
