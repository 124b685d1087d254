"""The broker's process: from a control connection to a session and its end.

The owner (run, alloc, the first shim of a launcher) starts it in a process session of its own, so the terminal's Ctrl-C
and Ctrl-Z do not reach it, and hands it one end of a socket pair. The first line there is the request; after that the
broker writes events, one JSON object a line, and reads {"request": "end"} (with "settle": once the remote commands
have ended) and {"request": "child", "pid": N}, a process to end with an owner that was killed: mpiexec would go on and
write where all is being removed. The session ends when the owner asks, when the connection ends, when the owner's
process does, or at SIGTERM.

An on-demand session's owner is an MPI launcher, which did not start the broker and knows nothing of it: the connection
is for its start alone, and its end no end of the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roujiamo.broker.driver import TEARDOWN_SECONDS
from roujiamo.broker.driver_process import DriverProcess
from roujiamo.broker.loop import run as run_in_loop
from roujiamo.broker.owner import Owner
from roujiamo.broker.wanted import Wanted
from roujiamo.errors import RoujiamoError
from roujiamo.session.local_master import is_local
from roujiamo.session.request import SessionRequest
from roujiamo.system.log_files import TEXT_FORMAT, open_logs
from roujiamo.system.processes import read_process
from roujiamo.system.runtime_folder import SessionFolder

if TYPE_CHECKING:
    from roujiamo.broker.session import Session

log = logging.getLogger(__name__)

DRIVER_END_SECONDS = 5.0
MAX_REQUEST = 8 << 20
TOLD_TO_END = "somebody has told the session's broker to end (SIGTERM), and the session with it"


def run(control: socket.socket, log_descriptor: int, driver: DriverProcess | None) -> int:
    """Run one session on the control connection; return the exit status.

    `log_descriptor`: the stderr of who started us, for a session that is to show its log. `driver`: has been started
    and not been told anything; None where that did not work.
    """
    # The program that started us waits for its signals with all of them blocked, and a mask is inherited.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    raise_descriptor_limit()
    descriptor = control.fileno()
    try:
        return run_in_loop(_serve(control, log_descriptor, driver))
    except (OSError, RuntimeError) as error:
        # There is no descriptor for a loop, say: the one way that is left to say so needs none.
        if driver is not None:
            driver.drop()
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(_failed(_refused(error))).encode() + b"\n")
        return RoujiamoError.exit_status


def _refused(error: OSError | RuntimeError) -> RoujiamoError:
    """Return what to tell the user of a system that has no descriptor, process, thread or space left for the broker."""
    what = str(error)
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return RoujiamoError(f"the session's broker cannot go on, the system refused: {what}")


def _failed(error: RoujiamoError) -> dict[str, Any]:
    return {"event": "failed", "status": error.exit_status, "message": str(error)}


def raise_descriptor_limit() -> None:
    """Each proxy and each shim is a descriptor: take what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(control: socket.socket, log_descriptor: int, driver: DriverProcess | None) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=MAX_REQUEST)

    def notify(event: dict[str, Any]) -> None:
        if not writer.is_closing() and not reader.at_eof():
            writer.write(json.dumps(event).encode() + b"\n")

    folder = None
    try:
        # However long its owner takes; where that ends before, so does the connection.
        request = SessionRequest.from_json(await reader.readline())
        if request.verbosity > 1:
            os.dup2(log_descriptor, 2)
        os.close(log_descriptor)
        folder = SessionFolder(Path(request.folder))
        _start_log(folder.path / "log", request)
        # A second time, what did not work says why.
        driver = driver or DriverProcess(*(["-v"] if request.verbosity > 1 else []))
        await driver.open()
        failure = await _run(request, folder, notify, reader, driver)
        status = failure.exit_status if failure else 0
    except (RoujiamoError, OSError, RuntimeError) as error:
        failure = error if isinstance(error, RoujiamoError) else _refused(error)
        notify(_failed(failure))
        status = failure.exit_status
    finally:
        if driver is not None:
            driver.drop()
            await _let_end(driver)
        if folder is not None:
            folder.remove()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()
    return status


async def _run(
    request: SessionRequest,
    folder: SessionFolder,
    notify: Any,
    reader: asyncio.StreamReader,
    driver: DriverProcess,
) -> RoujiamoError | None:
    wanted = Wanted(request, folder.path.name)
    if not is_local(request.master):
        # Subscribes while what follows loads.
        driver.tell(wanted.subscription())
    from roujiamo.broker.session import Session

    loop = asyncio.get_running_loop()
    session = Session(request, folder, notify, driver, wanted)
    end = partial(loop.call_soon_threadsafe, session.end, RoujiamoError(TOLD_TO_END))
    # Not the loop's own way, for which it would load inspect. This wakes it, too.
    signal.signal(signal.SIGTERM, lambda *_: end())
    owner = Owner(request.owner_pid, request.owner_start, session.end)
    listener = None if request.is_on_demand else loop.create_task(_listen(reader, session))
    try:
        return await session.run()
    finally:
        if listener is not None:
            listener.cancel()
        owner.close()


async def _let_end(driver: DriverProcess) -> None:
    """See that the first driver is gone, be it that the session never came to tell it anything."""
    driver.close_stdin()
    if driver.status is not None:
        return
    try:
        await asyncio.wait_for(driver.wait(), TEARDOWN_SECONDS if driver.is_told else DRIVER_END_SECONDS)
    except TimeoutError:
        driver.kill()


async def _listen(reader: asyncio.StreamReader, session: Session) -> None:
    """Follow the owner's requests; the end of the connection is the owner's end."""
    child, is_owner_gone = None, False
    try:
        while line := await reader.readline():
            try:
                request = json.loads(line)
            except ValueError:
                log.warning("a request that is no JSON")
                continue
            if isinstance(request, dict) and request.get("request") == "end":
                await session.settle(commands=bool(request.get("settle")))
                return
            if isinstance(request, dict) and request.get("request") == "child":
                child = read_process(int(request["pid"]))
        is_owner_gone = True
    except OSError as error:
        # Where we have written to it when it was closed already.
        is_owner_gone = True
        log.info("the owner's connection is lost: %s", error)
    except ValueError as error:
        log.info("the owner's connection is of no use: %s", error)
    finally:
        if child is not None and is_owner_gone and read_process(child.pid) == child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        session.end()


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
