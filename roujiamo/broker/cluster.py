"""The local cluster of a session whose master is `local` or `local:N`: started before the driver, ended after it.

Runs in the broker. The cluster is a process of its own that holds one end of a pipe: when the broker is gone, however
it ended, the cluster ends all its tasks and itself.

Its ports are open to every user of this machine, and what it is told to run it runs as this user. So it lets in only
who knows a secret that is made for it; that travels through a pipe, and the session's broker alone has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable

from roujiamo.errors import LocalClusterError
from roujiamo.session.local_master import agent_count
from roujiamo.system.programs import program_command

log = logging.getLogger(__name__)

START_SECONDS = 30.0
STOP_SECONDS = 8.0
PRINCIPAL = "roujiamo"


class LocalCluster:
    """A local cluster that lives as long as the session; frameworks are to be PRINCIPAL, with `secret`."""

    def __init__(self, master: str, hosts: int, on_lost: Callable[[LocalClusterError], None]) -> None:
        """`master`: `local` or `local:N`. `hosts`: how many the session wants. Raises UsageError.

        `on_lost(error)`: it has ended by itself, so no host will come of it, and none that it had is left.
        """
        self.secret = os.urandom(16).hex()
        self._agents = agent_count(master, hosts)
        self._on_lost = on_lost
        self._process: asyncio.subprocess.Process | None = None
        self._owner_pipe = -1
        self._last_words = ""
        self._watching: asyncio.Future[None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.returncode is not None

    async def start(self) -> str:
        """Start it and return its master's host:port. Raises LocalClusterError."""
        ready_end, ready_of_child = os.pipe()
        owner_of_child, self._owner_pipe = os.pipe()
        credentials_of_child, credentials = os.pipe()
        known = {"credentials": [{"principal": PRINCIPAL, "secret": self.secret}]}
        # It fits into the pipe.
        os.write(credentials, json.dumps(known).encode())
        os.close(credentials)
        theirs = (ready_of_child, owner_of_child, credentials_of_child)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *program_command(
                    "roujiamo.local",
                    "--agents",
                    str(self._agents),
                    "--port",
                    "0",
                    "--credentials",
                    f"/dev/fd/{credentials_of_child}",
                    "--authenticate-all",
                    "--ready-fd",
                    str(ready_of_child),
                    "--owner-fd",
                    str(owner_of_child),
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=theirs,
                start_new_session=True,
            )
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        loop = asyncio.get_running_loop()
        ending = loop.create_task(self._wait_for_end(self._process))
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ready_end, "rb")
        )
        reading = loop.create_task(reader.readline())
        try:
            await asyncio.wait((reading, ending), timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                master = str(json.loads(await reading)["master"])
                # What it has said of its start is no reason for its end.
                self._last_words = ""
                self._watching = loop.create_task(self._tell_end(ending))
                return master
            how = "has ended at its start" if ending.done() else f"did not start within {START_SECONDS:.0f} s"
        except (ValueError, KeyError, OSError):
            # The end of the pipe.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ending), STOP_SECONDS)
            how = "has ended at its start"
        finally:
            reading.cancel()
            transport.close()
        await self.stop()
        raise LocalClusterError(
            f"the local cluster {how}: {self._last_words or '`roujiamo local` shows why'}"
        )

    async def _wait_for_end(self, process: asyncio.subprocess.Process) -> None:
        """Wait until the process has ended; keep what it said last, which is why."""
        assert process.stderr is not None
        async for line in process.stderr:
            text = line.decode("utf-8", "replace").strip()
            if text:
                log.info("local cluster: %s", text)
                self._last_words = text.removeprefix("roujiamo local: ")
        await process.wait()

    async def _tell_end(self, ending: asyncio.Future[None]) -> None:
        await ending
        why = self._last_words or "its master or its keeper was killed"
        self._on_lost(LocalClusterError(f"the local cluster of this run has ended before the run did: {why}"))

    async def stop(self) -> None:
        """End it with all its tasks."""
        if self._process is None:
            return
        if self._watching is not None:
            self._watching.cancel()
        os.close(self._owner_pipe)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._process = None
