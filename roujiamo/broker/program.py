"""The broker's process before it has a loop: from a control connection to a driver that subscribes.

The owner (run, alloc, the first shim of a launcher) starts it in a process session of its own, so the terminal's Ctrl-C
and Ctrl-Z do not reach it, and hands it one end of a socket pair. The first line there is the request; what comes after
it, and what the broker writes, is `roujiamo.broker.serving`'s. All that may be wrong with the request is found here.
Then the driver is told, or the local cluster started, and both work while the rest of the broker loads.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roujiamo.broker.driver_process import DriverProcess
from roujiamo.broker.loading import loading
from roujiamo.broker.wanted import Wanted
from roujiamo.errors import RoujiamoError, UsageError
from roujiamo.session.local_master import is_local
from roujiamo.session.request import SessionRequest
from roujiamo.system.log_files import TEXT_FORMAT, open_logs
from roujiamo.system.runtime_folder import SessionFolder

MAX_REQUEST = 8 << 20
_PIECE = 1 << 16


def run(control_descriptor: int, log_descriptor: int, driver: DriverProcess | None) -> int:
    """Run one session on the control connection; return the exit status.

    `log_descriptor`: the stderr of who started us, for a session that is to show its log. `driver`: has been started
    and not been told anything; None where that did not work.
    """
    # The program that started us waits for its signals with all of them blocked, and a mask is inherited.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    raise_descriptor_limit()
    control = socket.socket(fileno=control_descriptor)
    pieces = loading()
    folder = None
    try:
        request = SessionRequest.from_json(take_request(control, pieces))
        if request.verbosity > 1:
            os.dup2(log_descriptor, 2)
        os.close(log_descriptor)
        folder = SessionFolder(Path(request.folder))
        _start_log(folder.path / "log", request)
        # A second time, what did not work says why.
        driver = driver or DriverProcess(*(["-v"] if request.verbosity > 1 else []))
        wanted = Wanted(request, folder.path.name)
        if not is_local(request.master):
            driver.tell(wanted.subscription())
        for _ in pieces:
            # Nothing can be done with one alone.
            pass
        from roujiamo.broker.serving import serve

        return serve(control, folder, driver, wanted)
    except (RoujiamoError, OSError, RuntimeError) as error:
        failure = refused(error)
        # Before the rest: a driver that has been told what to subscribe with may need a while.
        with contextlib.suppress(OSError):
            control.sendall(json.dumps(failed(failure)).encode() + b"\n")
        if driver is not None:
            driver.drop()
        if folder is not None:
            folder.remove()
        return failure.exit_status


def take_request(control: socket.socket, pieces: Iterator[str]) -> bytes:
    """Return the first line that comes; none where the connection ends before. Raises UsageError, OSError.

    While nothing comes, one of the `pieces` after another is loaded. However long the owner takes; where it ends before
    it asks, so does the connection.
    """
    poll = select.poll()
    poll.register(control, select.POLLIN)
    line = bytearray()
    while len(line) <= MAX_REQUEST:
        if not poll.poll(0) and next(pieces, ""):
            continue
        seen = control.recv(_PIECE, socket.MSG_PEEK)
        length = seen.find(b"\n") + 1
        # What is behind it stays there.
        line += control.recv(length or len(seen))
        if length or not seen:
            return bytes(line)
    raise UsageError(f"the session request is too large: more than {MAX_REQUEST >> 20} MiB")


def refused(error: RoujiamoError | OSError | RuntimeError) -> RoujiamoError:
    """Return what to tell the user: of a system without a descriptor, process, thread or space for the broker, too."""
    if isinstance(error, RoujiamoError):
        return error
    what = str(error)
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return RoujiamoError(f"the session's broker cannot go on, the system refused: {what}")


def failed(error: RoujiamoError) -> dict[str, Any]:
    """Return the event that tells the owner of it."""
    return {"event": "failed", "status": error.exit_status, "message": str(error)}


def raise_descriptor_limit() -> None:
    """Each proxy and each shim is a descriptor: take what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _start_log(path: Path, request: SessionRequest) -> None:
    """Raises UsageError where a file that the user wants cannot be written."""
    is_shown = request.verbosity > 1
    handler: logging.Handler = logging.StreamHandler() if is_shown else logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(TEXT_FORMAT))
    root = logging.getLogger("roujiamo")
    for each in (handler, *open_logs(request.log_file, request.log_json)):
        root.addHandler(each)
    root.setLevel(logging.DEBUG if is_shown else logging.INFO)
    root.propagate = False
