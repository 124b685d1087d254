"""JSON lines over a socket pair: how master and agent, and agent and executor, talk.

Used by asyncio processes of the local cluster. Both ends are ours, forked from one another; the end of the stream is
how one learns that the other is gone, however it went.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any


class Link(asyncio.Protocol):
    """One end. `on_message` gets each message, `on_end` is called once, when the other end is gone."""

    def __init__(self, on_message: Callable[[dict[str, Any]], None], on_end: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def over(
        cls, end: socket.socket, on_message: Callable[[dict[str, Any]], None], on_end: Callable[[], None]
    ) -> Link:
        """Take over a connected socket."""
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: cls(on_message, on_end), sock=end)
        return link

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; one to an end that is gone is lost, as `on_end` will say."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        *lines, rest = self._received.split(b"\n")
        self._received = bytearray(rest)
        for line in lines:
            self._on_message(json.loads(line))

    def connection_lost(self, error: Exception | None) -> None:
        self._on_end()
