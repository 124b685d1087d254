"""The connection to the broker: made only with the right one, and outliving its TCP connections."""

from __future__ import annotations

import hashlib
import marshal
import os
import random
import signal
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from roujiamo.protocol import frames
from roujiamo.protocol.handshake import HELLO_SIZE, Responder
from tests.proxy.broker import Bench, Broker, Task
from tests.support import is_alive, requires_python36, until


@pytest.mark.parametrize("seed", range(4))
def test_no_byte_is_lost_or_doubled_over_lost_connections(host: Bench, seed: int) -> None:
    """Cuts at random points, with and without a reset, while a command echoes and another one talks."""
    chance = random.Random(seed)
    sent = chance.randbytes(1_500_000)
    echo = host.broker.open("cat; exit 5")
    talk = host.broker.open("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done")
    echo.write(sent, end=True)
    cuts = 12
    next_cut = chance.randrange(200_000)
    host.broker.read_size = 1 << 14

    def cut_sometimes() -> None:
        nonlocal cuts, next_cut
        if cuts and echo.received + talk.received >= next_cut and host.broker.connection is not None:
            cuts -= 1
            next_cut += chance.randrange(150_000)
            if chance.random() < 0.5:
                linger = struct.pack("ii", 1, 0)
                host.broker.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            host.broker.cut()

    host.broker.on_read = cut_sometimes
    host.broker.until(lambda: echo.closed and talk.closed, 60)
    assert host.broker.resumes >= 3
    assert echo.stdout == sent
    assert (echo.status, talk.status) == (5, 0)
    assert talk.stdout == b"".join(b"%d\n" % i for i in range(20000))


def test_commands_go_on_while_the_connection_is_lost(host: Bench) -> None:
    """A switch that restarts must not end a healthy job."""
    remote = host.broker.open("read line; echo got $line; touch here; sleep 1000")
    host.broker.until(lambda: remote.channel.state == "open")
    remote.write(b"word\n")
    host.broker.until(lambda: remote.stdout)
    host.broker.cut()
    until((host.task.sandbox / "here").exists, what="the command's next step")
    until(lambda: "lost the broker" in host.task.errors, what="the loss to be seen")
    host.broker.until(lambda: host.broker.resumes)
    assert host.broker.run("echo on").stdout == b"on\n"
    assert "the broker at 127.0.0.1 port" in host.task.errors
    remote.close()


def test_a_connection_lost_before_the_first_word_is_resumed_too(make_bench: Callable[..., Bench]) -> None:
    """The token is good once; from the welcome on it is the resume credential that counts."""
    host = make_bench()
    host.broker.until(lambda: host.broker.contacts == 1)
    host.broker.until(lambda: host.broker.link is not None and not host.broker.link.queued)
    until(lambda: "ready for" in host.task.errors, what="the worker")
    host.broker.cut()
    host.ready()
    assert host.broker.resumes == 1
    assert host.broker.run("exit 3").status == 3


def test_a_ping_is_answered(host: Bench) -> None:
    """The broker finds a dead host by it."""
    assert host.broker.link is not None
    host.broker.link.send_frame(frames.PING, 0)
    host.broker.until(lambda: host.broker.pongs == 1)


def test_a_silent_broker_is_looked_for_again(make_bench: Callable[..., Bench]) -> None:
    """A connection that died without a word (a cable, a firewall's table) looks alive from here."""
    host = make_bench(settings={"silence_seconds": 0.3}).ready()
    host.broker.until(lambda: host.broker.resumes >= 2)
    assert "it has been silent" in host.task.errors
    assert host.broker.run("exit 3").status == 3


def test_a_worker_that_was_stopped_does_not_take_that_for_silence(make_bench: Callable[..., Bench]) -> None:
    """What waits in the socket is read first: SIGSTOP and SIGCONT of a host must not cost its connection."""
    host = make_bench(settings={"silence_seconds": 2}).ready()
    os.kill(host.worker(), signal.SIGSTOP)
    assert host.broker.link is not None
    stopped_until = threading.Event()
    threading.Timer(2.5, stopped_until.set).start()
    host.broker.link.send_frame(frames.PING, 0)
    host.broker.until(stopped_until.is_set)
    os.kill(host.worker(), signal.SIGCONT)
    host.broker.until(lambda: host.broker.pongs)
    assert host.broker.resumes == 0


def test_damaged_bytes_cost_the_connection_and_not_the_session(host: Bench) -> None:
    """Someone on the path can cut it anyway; a tag that is wrong must do no more than that."""
    remote = host.broker.open("read line; exit 4")
    host.broker.until(lambda: remote.channel.state == "open")
    assert host.broker.connection is not None
    host.broker.connection.sendall(struct.pack("!I", 40) + bytes(40))
    host.broker.until(lambda: host.broker.resumes)
    remote.write(b"\n")
    host.broker.until(lambda: remote.closed)
    assert remote.status == 4
    assert "a batch whose tag is wrong" in host.task.errors


def test_a_peer_that_always_sends_garbage_is_given_up(host: Bench) -> None:
    """Coming back for ever would be a loop."""

    def damage() -> bool:
        resumes = host.broker.resumes
        if host.broker.connection is not None:
            try:
                host.broker.connection.sendall(bytes(64))
            except OSError:
                host.broker.cut()
        host.broker.until(lambda: host.broker.resumes > resumes or host.task.has_ended())
        return host.task.has_ended()

    host.broker.until(damage, 60)
    assert "again and again" in host.task.errors


def _first_contact(
    tmp_path: Path, python: str, callback: str, token: bytes, patience_seconds: float = 30
) -> Task:
    tmp_path.joinpath("host").mkdir()
    return Task(tmp_path / "host", python, callback, token, patience_seconds=patience_seconds)


@pytest.mark.parametrize("python", ["current", pytest.param("3.6", marks=requires_python36)], indirect=True)
def test_addresses_are_tried_in_turn(tmp_path: Path, python: str) -> None:
    """The launch host names all it has; some lead nowhere, or to another program, from here."""
    broker = Broker({}, {})
    stranger = socket.create_server(("127.0.0.1", 0))
    free = socket.create_server(("127.0.0.1", 0))
    dead = free.getsockname()[1]
    free.close()

    def answer_nonsense() -> None:
        connection, _ = stranger.accept()
        with connection:
            connection.recv(HELLO_SIZE)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(60))

    thread = threading.Thread(target=answer_nonsense)
    thread.start()
    callback = f"127.0.0.1:{dead},127.0.0.1:{stranger.getsockname()[1]},{broker.address}"
    task = _first_contact(tmp_path, python, callback, broker.token)
    try:
        broker.until(lambda: broker.facts, what="the call-back")
        assert broker.run("exit 3").status == 3
        broker.say_goodbye()
        broker.until(task.has_ended)
    finally:
        thread.join()
        stranger.close()
        broker.close()
        task.close()


def test_an_ipv6_address_is_called_back(tmp_path: Path) -> None:
    """Written as [address]:port."""
    broker = Broker({}, {})
    broker.listener.close()
    try:
        broker.listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    broker.listener.setblocking(False)
    python = os.path.realpath("/proc/self/exe")
    task = _first_contact(tmp_path, python, f"[::1]:{broker.listener.getsockname()[1]}", broker.token)
    try:
        broker.until(lambda: broker.facts, what="the call-back")
        assert broker.facts["interface"] == "lo"
        broker.cut()
        broker.until(lambda: broker.resumes)
        broker.say_goodbye()
        broker.until(task.has_ended)
    finally:
        broker.close()
        task.close()


def test_a_wrong_token_gets_nothing(tmp_path: Path, python: str) -> None:
    """Neither side tells the other anything."""
    broker = Broker({}, {})
    refused = 0
    original = broker._find_secret

    def find(kind: int, identity: bytes, epoch: int) -> bytes | None:
        nonlocal refused
        refused += 1
        return original(kind, identity, epoch)

    broker._find_secret = find  # type: ignore[method-assign]
    task = _first_contact(tmp_path, python, broker.address, os.urandom(32))
    try:
        broker.until(lambda: refused >= 3, what="several tries")
        assert broker.contacts == 0
        assert not list(task.sandbox.glob(".roujiamo-*"))
    finally:
        broker.close()
        task.close()


class Impostor(Broker):
    """Has code of its own, and makes its header with another secret or of another code: it took over the connection."""

    def __init__(self, change: str) -> None:
        super().__init__({}, {})
        self._change = change

    def code(self, responder: Responder) -> bytes:
        code = zlib.compress(marshal.dumps({"": "open('ran', 'w'); start = print"}, 2))
        digest = hashlib.sha256(code).digest()
        if self._change == "code":
            digest = hashlib.sha256(super().code(responder)).digest()
        header = responder.code_header(len(code), digest)
        return (header[:-1] + bytes([header[-1] ^ 1]) if self._change == "tag" else header) + code


@pytest.mark.parametrize("change", ["tag", "code", ""])
def test_code_that_is_not_genuine_is_not_run(tmp_path: Path, python: str, change: str) -> None:
    """It is the one thing that must be genuine; what is, is run as it comes."""
    broker = Impostor(change)
    task = _first_contact(tmp_path, python, broker.address, broker.token)
    ran = task.sandbox / "ran"
    try:
        if change:
            broker.until(lambda: broker.contacts == 1 and broker.connection is None, what="the refusal")
            assert not list(task.sandbox.iterdir())
        else:
            broker.until(ran.exists, what="the code's run")
    finally:
        broker.close()
        task.close()


def test_a_first_contact_that_never_succeeds_ends_with_a_sentence(tmp_path: Path, python: str) -> None:
    """It names the host, the addresses, what happened, and what to try."""
    free = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
    free.close()
    task = _first_contact(tmp_path, python, address, os.urandom(32), patience_seconds=0.8)
    try:
        until(task.has_ended, 60, "the end of the tries")
        assert task.process.returncode == 1
        assert task.errors == (
            f"roujiamo-proxy: agent1.example: cannot call back to {address} ([Errno 111] Connection refused); "
            "check the firewall, or use --callback-address\n"
        )
    finally:
        task.close()


def test_an_idle_host_sleeps(host: Bench) -> None:
    """Ten thousand of them must cost nothing: no timer ticks while nothing happens."""

    def switches() -> int:
        text = Path(f"/proc/{host.worker()}/status").read_text()
        return int(text.split("voluntary_ctxt_switches:")[1].split()[0])

    host.broker.run("true")
    until(lambda: _state(host.worker()) == "S", what="the worker to sleep")
    before = switches()
    done = threading.Event()
    threading.Timer(1.0, done.set).start()
    host.broker.until(done.is_set)
    assert switches() - before <= 2
    assert is_alive(host.worker())


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
