"""The user's sessions, found by their folders, and what is asked of their brokers.

Used by the programs that look at sessions or end them. A broker is trusted: its socket lies in a folder of this user's
alone. Each question is bounded in time.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roujiamo.errors import ProtocolError, RoujiamoError, SessionGone
from roujiamo.protocol import frames
from roujiamo.system.runtime_folder import SOCKET, existing_sessions

ANSWER_SECONDS = 5.0
END_SECONDS = 60.0
_PAUSE_SECONDS = 0.05


def session_paths() -> list[Path]:
    """Return the folders of this user's sessions, oldest first. Raises RoujiamoError."""
    return [path for path in existing_sessions() if (path / SOCKET).exists()]


def allocation_here(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of the session that this process is in, where it is on the launch host of one."""
    socket = environment.get("ROUJIAMO_SOCKET", "")
    # A task has an abstract socket: there is no broker to ask.
    return Path(socket).parent if socket.startswith("/") else None


def ask(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to the broker of the session in `folder`; return its answer.

    Raises SessionGone where there is none any more, RoujiamoError where it does not answer.
    """
    decoder = frames.Decoder()
    deadline = time.monotonic() + ANSWER_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(os.fspath(folder / SOCKET))
            connection.sendall(frames.encode(frames.CONTROL, 0, json.dumps(request).encode()))
            while True:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                data = connection.recv(1 << 16)
                if not data:
                    raise SessionGone(f"the session {folder.name} has ended")
                for frame_type, _, payload in decoder.receive_data(data):
                    if frame_type == frames.CONTROL:
                        answer = json.loads(payload)
                        if isinstance(answer, dict):
                            return answer
        except TimeoutError as error:
            raise RoujiamoError(
                f"the session {folder.name} does not answer within {ANSWER_SECONDS:.0f} s; is its broker stopped?"
            ) from error
        except (FileNotFoundError, ConnectionError) as error:
            raise SessionGone(f"the session {folder.name} has ended") from error
        except (OSError, ValueError, ProtocolError) as error:
            raise RoujiamoError(f"the session {folder.name} cannot be asked: {error}") from error


def end(folder: Path) -> None:
    """End the session in `folder` and wait until nothing is left of it. Raises RoujiamoError."""
    try:
        ask(folder, {"request": "end"})
    except SessionGone:
        return
    deadline = time.monotonic() + END_SECONDS
    while folder.exists():
        if time.monotonic() > deadline:
            raise RoujiamoError(f"the session {folder.name} has not ended after {END_SECONDS:.0f} s")
        time.sleep(_PAUSE_SECONDS)
