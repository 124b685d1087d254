"""Listens on the loopback interface to what is said to one TCP port, as somebody on the path could.

Imported by the test process only; needs root (packet(7)). One thread; lost packets are possible and cost a test its
recording, never a false pass.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from types import TracebackType

_ETH_P_IP = 0x0800
_SO_RCVBUFFORCE = 33


class WireTap:
    """Records, for the time of a with-block, what each client port sends to `port`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 32 << 20)
        self._socket.bind(("lo", _ETH_P_IP))
        self._segments: dict[int, dict[int, bytes]] = {}
        self._stop, self._stopping = os.pipe()
        self._thread = threading.Thread(target=self._record)

    def __enter__(self) -> WireTap:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._stopping)
        self._thread.join()
        os.close(self._stop)
        self._socket.close()

    def conversations(self) -> list[bytes]:
        """What each client has said, from its first byte to the first that is missing."""
        found = []
        for segments in self._segments.values():
            (position, *_) = sorted(segments)
            said = b""
            while (piece := segments.get(position)) is not None:
                said += piece
                position = (position + len(piece)) % (1 << 32)
            found.append(said)
        return found

    def _record(self) -> None:
        while self._stop not in select.select([self._socket, self._stop], [], [])[0]:
            packet = self._socket.recv(1 << 17)
            if packet[9] != socket.IPPROTO_TCP:
                continue
            segment = packet[(packet[0] & 15) * 4 : struct.unpack_from("!H", packet, 2)[0]]
            source, target, sequence = struct.unpack_from("!HHI", segment)
            payload = segment[(segment[12] >> 4) * 4 :]
            if target == self._port and payload:
                self._segments.setdefault(source, {}).setdefault(sequence, payload)
