"""`roujiamo logs`: what the proxies of a session's hosts have written, read from the tasks' sandboxes.

Runs in the user's shell; how they are read is in `roujiamo.system.sandboxes`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from roujiamo.errors import RoujiamoError, UsageError
from roujiamo.status.program import NO_SESSION, choose
from roujiamo.system.sandboxes import Log, find_logs
from roujiamo.system.sessions import session_paths

FOLLOW_SECONDS = 0.5


def logs(
    session: str | None, *, hosts: Sequence[str], streams: Sequence[str], lines: int | None, follow: bool
) -> int:
    """Print the logs of one session; with `follow` until it ends. Return the exit status. Raises RoujiamoError."""
    path, status = _only(session)
    complaints: list[str] = []
    files = find_logs(path, status, hosts, streams, complaints.append)
    if complaints and not files:
        raise RoujiamoError(complaints[0])
    for sentence in complaints:
        print(sentence, file=sys.stderr)
    is_many = len(files) > 1
    for file in files:
        there = file.read().decode("utf-8", "replace").splitlines()
        for text in there if lines is None else there[-lines:] if lines else []:
            _print(file, text, with_name=is_many)
    partial = dict.fromkeys(range(len(files)), b"")
    while follow and path in session_paths():
        time.sleep(FOLLOW_SECONDS)
        for number, file in enumerate(files):
            try:
                data = partial[number] + file.read()
            except RoujiamoError:
                # The sandbox goes with the local cluster, the agent may be away for a moment.
                continue
            *whole, partial[number] = data.split(b"\n")
            for line in whole:
                _print(file, line.decode("utf-8", "replace"), with_name=is_many)
    return 0


def _print(file: Log, line: str, *, with_name: bool) -> None:
    print(f"{file.host} {file.stream}: {line}" if with_name else line, flush=True)


def _only(session: str | None) -> tuple[Any, dict[str, Any]]:
    found = choose([session] if session else [])
    if not found:
        raise RoujiamoError(
            f"{NO_SESSION}; a session's logs are read while it runs (its sandboxes are Mesos's after that)"
        )
    if len(found) > 1:
        names = ", ".join(f"{status['session']} ({status['name']})" for _, status in found)
        raise UsageError(f"which session? there are {names}")
    return found[0]
