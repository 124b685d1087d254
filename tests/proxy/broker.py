"""A broker for the proxy's tests: a real TCP socket, the real wire, and the real task command, run as Mesos would.

Imported by the test process only. One thread: it works while a test waits in `until`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from roujiamo.errors import AuthenticationError
from roujiamo.protocol import frames, handshake
from roujiamo.protocol.channel import CLOSED, OPENER, Channel
from roujiamo.protocol.fields import unpack_fields
from roujiamo.protocol.link import Link
from roujiamo.proxy.bootstrap import bootstrap_command
from roujiamo.proxy.carried import CarriedCode
from roujiamo.proxy.welcome import build_welcome
from tests.support import is_alive, scaled

CODE = CarriedCode()


class Remote:
    """A remote command as its opener sees it."""

    def __init__(self, broker: Broker, number: int, command: bytes, window: int) -> None:
        self.channel = Channel(number, OPENER, window)
        self.stdout = b""
        self.stderr = b""
        self.status: int | None = None
        self.signal: bytes | None = None
        self.failure: tuple[int, str] | None = None
        self.stdin = b""
        self.stdin_ends = False
        self.received = 0
        self.keep = True
        self.consume = True
        self._broker = broker
        self.channel.open(b"host", command)
        self.flush()

    @property
    def closed(self) -> bool:
        return self.channel.state == CLOSED

    def receive(self, frame_type: int, payload: bytes) -> None:
        event, value = self.channel.receive_frame(frame_type, payload)
        if event in (frames.DATA, frames.EXTENDED_DATA):
            self.received += len(value)
            if self.keep and event == frames.DATA:
                self.stdout += value
            elif self.keep:
                self.stderr += value
            if self.consume:
                self.channel.consume(len(value))
        elif event == frames.EXIT_STATUS:
            self.status = value
        elif event == frames.EXIT_SIGNAL:
            self.signal = value[0]
        elif event in (frames.OPEN_FAILURE, frames.CLOSE):
            # Behind them is the host's name, which a broker knows and a proxy leaves out.
            self.failure = value if value is None else value[:2]
        self.flush()

    def flush(self) -> None:
        if self.stdin:
            self.stdin = self.stdin[self.channel.send_data(self.stdin) :]
        if not self.stdin and self.stdin_ends and self.channel.state == "open":
            self.channel.send_eof()
        self._broker.link_send(self.channel.frames_to_send())

    def write(self, data: bytes, end: bool = False) -> None:
        self.stdin += data
        self.stdin_ends = end
        self.flush()

    def send_signal(self, name: bytes) -> None:
        self.channel.send_signal(name)
        self.flush()

    def close(self) -> None:
        self.channel.close()
        self.flush()


class Broker:
    """Listens, answers handshakes, speaks with one proxy; `until` makes it work."""

    def __init__(self, settings: Mapping[str, object], environment: Mapping[str, str]) -> None:
        self.token = os.urandom(32)
        self.resume = os.urandom(32)
        self.welcome = build_welcome(environment, settings) + self.resume
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.connection: socket.socket | None = None
        self.link: Link | None = None
        self.facts: dict[str, str] = {}
        self.remotes: dict[int, Remote] = {}
        self.requests: list[tuple[int, int, bytes]] = []
        self.goodbye: str | None = None
        self.contacts = 0
        self.resumes = 0
        self.pongs = 0
        self.reads = True
        self.token_used = False
        self.read_size = 1 << 18
        self.on_read: Callable[[], None] = lambda: None
        self._next = 1
        self._outgoing = b""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def open(self, command: str | bytes, window: int = frames.INITIAL_WINDOW) -> Remote:
        text = command.encode() if isinstance(command, str) else command
        remote = Remote(self, self._next, text, window)
        self.remotes[self._next] = remote
        self._next += 2
        return remote

    def run(self, command: str, stdin: bytes = b"", seconds: float = 20) -> Remote:
        """Run a command to its end."""
        remote = self.open(command)
        remote.write(stdin, end=True)
        self.until(lambda: remote.closed, seconds, f"the end of {command!r}")
        return remote

    def link_send(self, encoded: list[tuple[bytes, ...]]) -> None:
        assert self.link is not None
        self.link.send_frames(encoded)

    def until(self, condition: Callable[[], object], seconds: float = 20, what: str = "") -> None:
        deadline = time.monotonic() + scaled(seconds)
        while not condition():
            assert time.monotonic() < deadline, f"not within {scaled(seconds):g} s: {what or condition}"
            self.work(0.02)

    def work(self, seconds: float) -> None:
        """One round: accept, read, write."""
        with selectors.SelectSelector() as selector:
            if self.listener.fileno() >= 0:
                selector.register(self.listener, selectors.EVENT_READ)
            if self.connection is not None:
                self._fill()
                events = (selectors.EVENT_READ if self.reads else 0) | (
                    selectors.EVENT_WRITE if self._outgoing else 0
                )
                if events:
                    selector.register(self.connection, events)
            ready = {key.fileobj: mask for key, mask in selector.select(seconds)}
        if self.listener in ready:
            self._accept()
        elif self.connection is not None:
            mask = ready.get(self.connection, 0)
            if mask & selectors.EVENT_READ:
                self._read()
            if mask & selectors.EVENT_WRITE and self.connection is not None:
                self._write()

    def _fill(self) -> None:
        assert self.link is not None
        if not self._outgoing:
            self._outgoing = self.link.data_to_send()

    def _write(self) -> None:
        assert self.connection is not None
        with contextlib.suppress(BlockingIOError):
            try:
                self._outgoing = self._outgoing[self.connection.send(self._outgoing) :]
            except (BrokenPipeError, ConnectionResetError):
                self.cut()

    def _read(self) -> None:
        assert self.connection is not None
        assert self.link is not None
        try:
            data = self.connection.recv(self.read_size)
        except ConnectionResetError:
            data = b""
        if not data:
            self.cut()
            return
        for frame_type, channel, payload in self.link.receive_data(data):
            if frame_type == frames.PONG:
                self.pongs += 1
            elif frame_type == frames.READY:
                texts = [field.decode() for field in unpack_fields(payload)]
                self.facts = dict(zip(texts[::2], texts[1::2], strict=True))
            elif frame_type == frames.GOODBYE:
                self.goodbye = payload.decode()
            elif channel % 2 == 0:
                self.requests.append((frame_type, channel, payload))
            else:
                self.remotes[channel].receive(frame_type, payload)
        self.on_read()

    def _accept(self) -> None:
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        connection.settimeout(scaled(10))
        responder = handshake.Responder(self._find_secret, os.urandom(32))
        try:
            responder.receive_hello(_exactly(connection, handshake.HELLO_SIZE))
            connection.sendall(responder.challenge(self.link.received if self.link else 0))
            responder.receive_proof(_exactly(connection, handshake.PROOF_SIZE))
        except (AuthenticationError, OSError, EOFError):
            connection.close()
            return
        self.cut()
        self.connection = connection
        self.contacts += 1
        if responder.kind == handshake.FIRST_CONTACT:
            self.token_used = True
            connection.sendall(self.code(responder))
            self.link = Link(responder.send_key, responder.receive_key)
            self.link.send_frame(frames.WELCOME, 0, self.welcome)
        else:
            assert self.link is not None
            self.resumes += 1
            self.link.resume(responder.send_key, responder.receive_key, responder.peer_received)
        connection.setblocking(False)

    def code(self, responder: handshake.Responder) -> bytes:
        """What follows the proof of a first contact."""
        code, digest = CODE.of(responder.python)
        return responder.code_header(len(code), digest) + code

    def _find_secret(self, kind: int, identity: bytes, epoch: int) -> bytes | None:
        first = kind == handshake.FIRST_CONTACT and not self.token_used
        secret = self.token if first else self.resume
        return secret if handshake.identity(secret) == identity else None

    def cut(self) -> None:
        """Lose the connection, and what was on its way."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self._outgoing = b""

    def say_goodbye(self) -> None:
        assert self.link is not None
        self.link.send_frame(frames.GOODBYE, 0, b"the test is over")
        self.until(lambda: self._flushed(), what="the goodbye to be sent")

    def _flushed(self) -> bool:
        return self.connection is None or (
            self.link is not None and not self.link.queued and not self._outgoing
        )

    def close(self) -> None:
        self.cut()
        self.listener.close()


class Task:
    """The task: the bootstrap command, run by `sh -c` in a sandbox, in the bare environment of Mesos."""

    def __init__(
        self,
        sandbox: Path,
        python: str | None,
        callback: str,
        token: bytes,
        environment: Mapping[str, str] | None = None,
        patience_seconds: float = 30,
        before: str = "",
    ) -> None:
        self.sandbox = sandbox / "sandbox"
        self.sandbox.mkdir()
        path = sandbox / "path"
        path.mkdir()
        if python is not None:
            (path / "python3").symlink_to(python)
        self._errors = os.open(sandbox / "stderr", os.O_RDWR | os.O_CREAT)
        # The command executor starts each task in a session of its own.
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", before + bootstrap_command(patience_seconds)],
            cwd=self.sandbox,
            env={
                "PATH": f"{path}:/usr/bin:/bin" if python is not None else str(path),
                "PWD": str(self.sandbox),
                "MESOS_SANDBOX": str(self.sandbox),
                "ROUJIAMO_TOKEN": token.hex(),
                "ROUJIAMO_CALLBACK": callback,
                "ROUJIAMO_HOST": "agent1.example",
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            start_new_session=True,
        )

    @property
    def errors(self) -> str:
        return os.pread(self._errors, os.fstat(self._errors).st_size, 0).decode(errors="replace")

    @property
    def folder(self) -> Path:
        (folder,) = self.sandbox.glob(".roujiamo-*")
        return folder

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._errors)


class Bench:
    """One broker, one task, ready to run commands."""

    def __init__(
        self,
        folder: Path,
        python: str,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        task_environment: Mapping[str, str] | None = None,
        before: str = "",
    ) -> None:
        self.broker = Broker(settings or {}, environment or {})
        self.task = Task(
            folder, python, self.broker.address, self.broker.token, task_environment, before=before
        )

    def ready(self) -> Bench:
        self.broker.until(
            lambda: self.broker.facts or self.task.has_ended(), what=f"the host: {self.task.errors}"
        )
        assert self.broker.facts, self.task.errors
        return self

    def worker(self) -> int:
        return int(self.broker.facts["pid"])

    def wait_for_end(self, seconds: float = 20) -> int:
        """Wait for the task's end; return its status."""
        self.broker.until(self.task.has_ended, seconds, f"the task's end: {self.task.errors}")
        return self.task.process.returncode

    def close(self) -> None:
        """End the session as a broker does; the fixture of all tests looks for what is left."""
        if self.broker.connection is not None and not self.task.has_ended():
            self.broker.say_goodbye()
        self.broker.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.task.process.wait(scaled(15))
        ended = self.task.has_ended()
        left = list(self.task.sandbox.glob(".roujiamo-*"))
        errors = self.task.errors
        self.task.close()
        assert ended, f"the proxy did not end: {errors}"
        assert not left, f"{left} was left: {errors}"


@contextlib.contextmanager
def bench(folder: Path, python: str, **more: Mapping[str, object]) -> Iterator[Bench]:
    """A broker and a ready host for the time of a with-block."""
    made = Bench(folder, python, **more)  # type: ignore[arg-type]
    try:
        yield made.ready()
    finally:
        made.close()


def children_gone(*pids: int) -> bool:
    """Whether none of these runs any more."""
    return not any(is_alive(pid) for pid in pids)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
