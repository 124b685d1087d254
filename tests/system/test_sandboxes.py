"""Reading from masters and agents: a secret goes to who asks for it, and what is no Mesos is said to be none."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from roujiamo.errors import MasterError
from roujiamo.system import sandboxes
from roujiamo.system.sandboxes import Reader, find_logs

CREDENTIAL = {"principal": "me", "secret": "hush"}


class Server:
    """Wants a principal, then answers with `answer`, bytes as they are; `seen`: what it was shown."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []
        self.answer = b"HTTP/1.0 200 OK\r\n\r\n{}"
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown = self.headers.get("Authorization")
                server.seen.append(shown)
                self.wfile.write(server.answer if shown else b"HTTP/1.0 401 Unauthorized\r\n\r\n")

            def log_message(self, *_: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_port}"


@contextlib.contextmanager
def served() -> Iterator[Server]:
    """A server that answers while this lasts."""
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()


def test_no_proxy_of_the_environment_is_shown_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masters and agents are near; http_proxy is for what is far."""
    monkeypatch.delenv("no_proxy", raising=False)
    with served() as proxy, served() as server:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        assert Reader(CREDENTIAL).get(f"http://{server.address}/") == {}
        assert (len(server.seen), proxy.seen) == (2, [])


def test_a_redirect_takes_no_secret_to_another_server() -> None:
    """Nobody but who was asked is shown it."""
    with served() as other, served() as server:
        server.answer = f"HTTP/1.0 307 There\r\nLocation: http://{other.address}/\r\n\r\n".encode()
        with pytest.raises(MasterError, match="401"):
            Reader(CREDENTIAL).get(f"http://{server.address}/")
        assert server.seen[-1] is not None
        assert other.seen == [None]


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.0 200 OK\r\n\r\n{}", b'HTTP/1.0 200 OK\r\n\r\n{"slaves": [1]}'],
)
def test_what_is_no_mesos_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """Another service at the port, or another service's JSON."""
    monkeypatch.setattr(sandboxes, "ask", lambda *_: CREDENTIAL)
    with served() as server:
        server.answer = answer
        status = {"master": server.address, "hosts": [], "framework_id": "f"}
        with pytest.raises(MasterError, match=server.address):
            list(find_logs(Path("/"), status, (), ("stdout",), lambda _: None))
