"""The broker's loop: a session on its control connection, and its end.

Behind the request (`roujiamo.broker.program`) the broker writes events there, one JSON object a line, and reads
{"request": "end"} (with "settle": once the remote commands have ended) and {"request": "child", "pid": N}, a process to
end with an owner that was killed: mpiexec would go on and write where all is being removed. The session ends when the
owner asks, when the connection ends, when the owner's process does, or at SIGTERM.

An on-demand session's owner is an MPI launcher, which did not start the broker and knows nothing of it: the connection
is for its start alone, and its end no end of the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from functools import partial
from typing import Any

from roujiamo.broker.driver_process import TEARDOWN_SECONDS, DriverProcess
from roujiamo.broker.loop import run as run_in_loop
from roujiamo.broker.owner import Owner
from roujiamo.broker.program import failed, refused
from roujiamo.broker.session import Session
from roujiamo.broker.wanted import Wanted
from roujiamo.errors import RoujiamoError
from roujiamo.system.processes import read_process
from roujiamo.system.runtime_folder import SessionFolder

log = logging.getLogger(__name__)

DRIVER_END_SECONDS = 5.0
# Of a line of the owner's; its requests are short.
MAX_LINE = 1 << 16
TOLD_TO_END = "somebody has told the session's broker to end (SIGTERM), and the session with it"


def serve(control: socket.socket, folder: SessionFolder, driver: DriverProcess, wanted: Wanted) -> int:
    """Run the session until it is over and nothing of it is left; return the exit status.

    `driver` may have been told to subscribe as `wanted` says. Raises OSError or RuntimeError where there is no loop.
    """
    return run_in_loop(_serve(control, folder, driver, wanted))


async def _serve(control: socket.socket, folder: SessionFolder, driver: DriverProcess, wanted: Wanted) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=MAX_LINE)

    def notify(event: dict[str, Any]) -> None:
        if not writer.is_closing() and not reader.at_eof():
            writer.write(json.dumps(event).encode() + b"\n")

    try:
        await driver.open()
        failure = await _run(folder, notify, reader, driver, wanted)
    except (RoujiamoError, OSError, RuntimeError) as error:
        failure = refused(error)
        notify(failed(failure))
    finally:
        driver.drop()
        await _let_end(driver)
        folder.remove()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()
    return failure.exit_status if failure else 0


async def _run(
    folder: SessionFolder, notify: Any, reader: asyncio.StreamReader, driver: DriverProcess, wanted: Wanted
) -> RoujiamoError | None:
    request = wanted.request
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
