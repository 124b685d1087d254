"""The local cluster of a session whose master is `local` or `local:N`: started before the driver, ended after it.

Runs in the broker. The cluster is a process of its own that holds one end of a pipe: when the broker is gone, however
it ended, the cluster ends all its tasks and itself.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable

from roujiamo.errors import LocalClusterError
from roujiamo.session.local_master import agent_count
from roujiamo.system.programs import program_command

START_SECONDS = 30.0
STOP_SECONDS = 8.0


class LocalCluster:
    """A local cluster that lives as long as the session."""

    def __init__(self, master: str, hosts: int, on_lost: Callable[[LocalClusterError], None]) -> None:
        """`master`: `local` or `local:N`. `hosts`: how many the session wants. Raises UsageError.

        `on_lost(error)`: it has ended by itself, so no host will come of it, and none that it had is left.
        """
        self._agents = agent_count(master, hosts)
        self._on_lost = on_lost
        self._watching: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._owner_pipe = -1

    async def start(self) -> str:
        """Start it and return its master's host:port. Raises LocalClusterError."""
        ready_end, ready_of_child = os.pipe()
        owner_of_child, self._owner_pipe = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *program_command(
                    "roujiamo.local",
                    "--agents",
                    str(self._agents),
                    "--port",
                    "0",
                    "--ready-fd",
                    str(ready_of_child),
                    "--owner-fd",
                    str(owner_of_child),
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(ready_of_child, owner_of_child),
                start_new_session=True,
            )
        finally:
            os.close(ready_of_child)
            os.close(owner_of_child)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ready_end, "rb")
        )
        try:
            line = await asyncio.wait_for(reader.readline(), START_SECONDS)
            address = str(json.loads(line)["master"])
            self._watching = asyncio.get_running_loop().create_task(self._watch(self._process))
            return address
        except (TimeoutError, ValueError, KeyError) as error:
            what = f"did not start within {START_SECONDS:.0f} s"
            if not isinstance(error, TimeoutError):
                what = "ended before it had started"
            await self.stop()
            raise LocalClusterError(
                f"the local cluster {what}; `roujiamo local` by itself shows why"
            ) from error
        finally:
            transport.close()

    @property
    def is_lost(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.returncode is not None

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        self._on_lost(
            LocalClusterError(
                "the local cluster of this run has ended before the run did: its master or its keeper was killed"
            )
        )

    async def stop(self) -> None:
        """End it with all its tasks."""
        if self._watching is not None:
            self._watching.cancel()
        if self._process is None:
            return
        os.close(self._owner_pipe)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._process = None
