"""One short HTTP exchange with a master: a call and its answer, or a whole subscription torn down at once.

Runs in the driver, in threads that may block. Every exchange has a connection of its own: one that was kept open and
that the master closed meanwhile would leave in doubt whether a call arrived, and an ACCEPT must not be sent twice.
Time limits hold for the exchange, not for one read: a master that answers a byte a second is a master that hangs.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

from roujiamo.errors import ProtocolError
from roujiamo.mesos.http_response import ResponseParser
from roujiamo.pymesos_driver.trouble import INTERNAL, UNREACHABLE, MasterTrouble
from roujiamo.system.resolver import resolvable

# Answers to calls are empty or a sentence.
MAX_ANSWER = 1 << 20
# GET /slaves of ten thousand agents is some 20 MB.
MAX_LIST_ANSWER = 256 << 20

SCHEDULER_PATH = "/api/v1/scheduler"


class Exchange:
    """A request on its way; `interrupt` may be called from any thread."""

    def __init__(self, master: str, seconds: float) -> None:
        self.master = master
        self._deadline = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._is_interrupted = False

    def interrupt(self) -> None:
        """End it now: its caller gets a MasterTrouble."""
        with self._lock:
            self._is_interrupted = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Send `body` and return the answer's status and text.

        Raises MasterTrouble where there is no whole answer in time.
        """
        status, text, _ = self.ask("POST", path, headers, body)
        return status, text

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", limit: int = MAX_ANSWER
    ) -> tuple[int, str, Mapping[str, str]]:
        """Return the status, the text and the headers (names in small letters) of the answer.

        Raises MasterTrouble where there is no whole answer in time.
        """
        parser = ResponseParser()
        text = self._whole(self.stream(path, body, headers, parser, method=method), limit)
        return parser.status, text, parser.headers

    def get_agents(self, headers: Mapping[str, str]) -> list[Any]:
        """Return the agents that the master knows. Raises MasterTrouble where it does not tell."""
        return self._get_list("/slaves", "slaves", "agents", headers)

    def get_roles(self, headers: Mapping[str, str]) -> list[Any]:
        """Return the roles that the master knows, with their quotas. Raises MasterTrouble where it does not tell."""
        return self._get_list("/master/roles", "roles", "roles", headers)

    def _get_list(self, path: str, name: str, what: str, headers: Mapping[str, str]) -> list[Any]:
        status, text, _ = self.ask("GET", path, headers, limit=MAX_LIST_ANSWER)
        if status == 200:
            with suppress(ValueError, KeyError, TypeError):
                return list(json.loads(text)[name])
        raise MasterTrouble(
            INTERNAL, f"the master at {self.master} does not tell its {what} (GET {path}: {status})"
        )

    def _whole(self, pieces: Generator[bytes, None, None], limit: int) -> str:
        answer = bytearray()
        for piece in pieces:
            answer += piece
            if len(answer) > limit:
                raise MasterTrouble(
                    UNREACHABLE, f"the master at {self.master} answered with more than {limit} bytes"
                )
        return answer.decode("utf-8", "replace")

    def stream(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        parser: ResponseParser,
        method: str = "POST",
    ) -> Generator[bytes, None, None]:
        """Send `body` and give the answer's body in pieces as they come; `parser` holds status and headers.

        Raises MasterTrouble as `post` does.
        """
        try:
            self._connect()
            self._send(self._request(method, path, body, headers))
            while not parser.is_complete:
                self._set_time_limit()
                assert self._socket is not None
                data = self._socket.recv(65_536)
                if data:
                    parser.receive_data(data)
                else:
                    parser.receive_eof()
                if parser.has_body_bytes:
                    yield parser.take_body()
        except TimeoutError as error:
            raise MasterTrouble(UNREACHABLE, f"the master at {self.master} did not answer in time") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise MasterTrouble(
                UNREACHABLE, f"the master at {self.master} cannot be reached: {reason}"
            ) from error
        except ProtocolError as error:
            raise MasterTrouble(
                UNREACHABLE, f"the master at {self.master} gave no usable answer: {error}"
            ) from error
        finally:
            with self._lock:
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None

    def _connect(self) -> None:
        host, _, port = self.master.rpartition(":")
        # It takes what getaddrinfo takes.
        address = (resolvable(host), int(port))
        connection = socket.create_connection(address, timeout=max(self._remaining(), 0.01))  # type: ignore[arg-type]
        with self._lock:
            self._socket = connection
            if self._is_interrupted:
                raise TimeoutError

    def _send(self, request: bytes) -> None:
        assert self._socket is not None
        self._set_time_limit()
        # sendall's time limit is for the whole (socket.socket.sendall).
        self._socket.sendall(request)

    def _set_time_limit(self) -> None:
        remaining = self._remaining()
        if remaining <= 0 or self._socket is None:
            raise TimeoutError
        self._socket.settimeout(remaining)

    def _remaining(self) -> float:
        return self._deadline - time.monotonic()

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.master}",
            "Connection: close",
            f"Content-Length: {len(body)}",
        ]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def scheduler_headers(authorization: str | None, stream_id: str | None = None) -> dict[str, str]:
    """The headers of a scheduler call; a subscription's calls name its stream."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    if stream_id is not None:
        headers["Mesos-Stream-Id"] = stream_id
    return headers


def encode_call(kind: str, framework_id: str, body: Mapping[str, object] | None = None) -> bytes:
    """A scheduler call as v1 JSON (mesos/v1/scheduler/scheduler.proto, Call)."""
    call: dict[str, object] = {"type": kind, "framework_id": {"value": framework_id}}
    if body is not None:
        call[kind.lower()] = dict(body)
    return json.dumps(call).encode()
