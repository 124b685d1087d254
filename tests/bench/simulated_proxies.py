"""Thousands of proxies in one process: they call back, prove their tokens, say READY, and run commands.

A process of its own in the benchmarks: `python -m tests.bench.simulated_proxies PORT SOCKET`, with the tasks' names and
tokens as JSON on stdin. It does what a proxy does on the wire, and no more: it does not look at the broker's tags, so
that one core of it keeps a broker busy. `ready` on its stdout: all have said READY; then a line on stdin has it ask for
a command on each host, as so many shims would, and `done` says that all have ended.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections import deque
from importlib.util import MAGIC_NUMBER

from roujiamo.protocol import frames
from roujiamo.protocol.channel import OPENER, Channel
from roujiamo.protocol.fields import pack_fields
from roujiamo.protocol.handshake import CHALLENGE_SIZE, CODE_HEADER_SIZE, FIRST_CONTACT, Initiator

# Connections on their way at once, and shims: as many as Open MPI starts (plm_rsh_num_concurrent).
CALLING = 512
SHIMS = 128
_NUMBER = struct.Struct("!Q")
_LENGTH = struct.Struct("!I")
_FACTS = pack_fields(b"address", b"10.0.0.1", b"python", b"3.11", b"user", b"root", b"kernel", b"6.1")


class Proxy:
    """One connection, from HELLO on."""

    __slots__ = ("_buffer", "_has_code", "_initiator", "_key", "_name", "_sent", "is_ready", "socket")

    def __init__(self, name: str, token: bytes) -> None:
        # Made before the clock runs: it is the broker that is measured.
        self._initiator: Initiator | None = Initiator(
            token, FIRST_CONTACT, os.urandom(32), python=MAGIC_NUMBER
        )
        self._has_code = False
        self._name = name
        self._buffer = b""
        self._key = b""
        self._sent = 0
        self.is_ready = False
        self.socket = socket.socket()

    def call(self, port: int) -> None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        assert self._initiator is not None
        self.socket.send(self._initiator.hello)

    def receive(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        assert data, f"the broker has dropped {self._name}"
        self._buffer += data
        if self._initiator is not None:
            if len(self._buffer) < CHALLENGE_SIZE:
                return
            self.socket.send(self._initiator.receive_challenge(self._buffer[:CHALLENGE_SIZE]))
            self._buffer = self._buffer[CHALLENGE_SIZE:]
            self._key = self._initiator.send_key
            self._initiator = None
        if not self._has_code:
            if len(self._buffer) < CODE_HEADER_SIZE:
                return
            end = CODE_HEADER_SIZE + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            self._buffer = self._buffer[end:]
            self._has_code = True
        while len(self._buffer) >= 4:
            end = 4 + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            self._receive_batch(self._buffer[20:end])
            self._buffer = self._buffer[end:]

    def _receive_batch(self, batch: bytes) -> None:
        answers = []
        position = 0
        while position < len(batch):
            frame_type, channel, length = frames.HEADER.unpack_from(batch, position)
            position += frames.HEADER.size + length
            if frame_type == frames.WELCOME:
                self.is_ready = True
                answers += [
                    frames.encode(frames.READY, 0, _FACTS),
                    frames.encode(frames.ACK, 0, _NUMBER.pack(1)),
                ]
            elif frame_type == frames.OPEN:
                answers += [
                    frames.encode(frames.OPEN_OK, channel, frames.pack_u32(frames.INITIAL_WINDOW)),
                    frames.encode(frames.EOF, channel),
                    frames.encode(frames.EXIT_STATUS, channel, frames.pack_u32(0)),
                    frames.encode(frames.CLOSE, channel),
                ]
        if answers:
            content = b"".join(answers)
            tag = hmac.digest(self._key, _NUMBER.pack(self._sent) + content, "sha256")[:16]
            self._sent += 1
            self.socket.send(_LENGTH.pack(16 + len(content)) + tag + content)


def call_back(proxies: list[Proxy], port: int, poll: select.epoll) -> None:
    """Have all of them connect and get ready."""
    by_descriptor = {}
    waiting = deque(proxies)
    calling = 0
    while waiting or calling:
        while waiting and calling < CALLING:
            proxy = waiting.popleft()
            proxy.call(port)
            poll.register(proxy.socket, select.EPOLLIN)
            by_descriptor[proxy.socket.fileno()] = proxy
            calling += 1
        for descriptor, _ in poll.poll():
            proxy = by_descriptor[descriptor]
            proxy.receive()
            if proxy.is_ready:
                poll.unregister(descriptor)
                calling -= 1


def run_commands(proxies: list[Proxy], names: list[str], path: str, poll: select.epoll) -> None:
    """A command on each host, so many at once."""
    by_descriptor: dict[int, Proxy] = {}
    for proxy in proxies:
        poll.register(proxy.socket, select.EPOLLIN)
        by_descriptor[proxy.socket.fileno()] = proxy
    shims: dict[int, socket.socket] = {}
    waiting = deque(names)
    while waiting or shims:
        while waiting and len(shims) < SHIMS:
            shim = socket.socket(socket.AF_UNIX)
            shim.connect(path)
            channel = Channel(1, OPENER)
            channel.open(waiting.popleft().encode(), b"true")
            shim.send(channel.data_to_send())
            shims[shim.fileno()] = shim
            poll.register(shim, select.EPOLLIN)
        for descriptor, _ in poll.poll():
            if descriptor in by_descriptor:
                by_descriptor[descriptor].receive()
                continue
            # The broker closes a shim's connection behind its CLOSE.
            data = shims[descriptor].recv(65536)
            assert frames.OPEN_FAILURE not in data[:1], data
            if not data:
                poll.unregister(descriptor)
                shims.pop(descriptor).close()


def main() -> None:
    """Do the two things, and say how long they took."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, path = int(sys.argv[1]), sys.argv[2]
    hosts = json.loads(sys.stdin.readline())
    assert hashlib.sha256
    proxies = [Proxy(name, bytes.fromhex(token)) for name, token in hosts]
    poll = select.epoll()
    print("prepared", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    call_back(proxies, port, poll)
    print("ready", time.perf_counter() - begun, flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    run_commands(proxies, [name for name, _ in hosts], path, poll)
    print("done", time.perf_counter() - begun, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
