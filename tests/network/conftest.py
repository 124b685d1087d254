"""Sessions whose call-backs go through a relay that breaks in every manner: real broker, real proxies, real shims."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.broker.conftest import SHIM, Session, folder, session_with
from tests.support import scaled
from tests.support.relay import Relay

__all__ = ["Echo", "folder", "free_port", "relayed_session"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def relayed_session(folder: Path, **wanted: Any) -> Iterator[tuple[Session, Relay]]:
    """A ready session, and the relay through which its hosts call back."""
    port = free_port()
    with (
        Relay(f"127.0.0.1:{port}") as relay,
        session_with(
            folder, callback_address=relay.address, callback_ports=(port, port), **wanted
        ) as session,
    ):
        session.wait_until_ready()
        yield session, relay


class Echo:
    """A remote `cat` under a shim: bytes go to a host and come back, and are held against one another."""

    def __init__(self, session: Session, host: str, blocks: list[bytes]) -> None:
        self.sent = hashlib.sha256(b"".join(blocks)).hexdigest()
        self.size = sum(map(len, blocks))
        self.received = 0
        self._digest = hashlib.sha256()
        self._shim = subprocess.Popen(
            [SHIM, host, "cat; exit 7"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=session.environment(),
        )
        self._threads = [
            threading.Thread(target=self._write, args=(blocks,)),
            threading.Thread(target=self._read),
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, blocks: list[bytes]) -> None:
        assert self._shim.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            for block in blocks:
                self._shim.stdin.write(block)
            self._shim.stdin.close()

    def _read(self) -> None:
        assert self._shim.stdout is not None
        while piece := self._shim.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            self._digest.update(piece)
            self.received += len(piece)

    @property
    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self) -> None:
        """Wait for its end; every byte has come back once, and the status is the command's."""
        assert self._shim.stderr is not None
        status = self._shim.wait(scaled(120))
        for thread in self._threads:
            thread.join()
        errors = self._shim.stderr.read()
        self._shim.stderr.close()
        assert self._shim.stdout is not None
        self._shim.stdout.close()
        assert (status, errors) == (7, b"")
        assert (self.received, self._digest.hexdigest()) == (self.size, self.sent)
