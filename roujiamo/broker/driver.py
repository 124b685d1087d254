"""The driver as the broker sees it: a child process that speaks JSON lines; see `roujiamo.driver` for its side.

Runs in the broker. Trusts its child. The driver is in a process session of its own and outlives a killed broker for as
long as it needs to tear the framework down; the pipe's end tells it. A driver that does not answer pings, or whose
library has been blocked for long, is killed and started again with the framework's id.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from roujiamo.broker.driver_process import TEARDOWN_SECONDS, DriverProcess

log = logging.getLogger(__name__)

# At least; the session's beat decides (`Session.run`).
PING_SECONDS = 20.0
# pymesos holds its lock while it waits for a master that does not answer; a failover of the master takes about 10 s.
BLOCKED_LIMIT_SECONDS = 90.0
LAST_LINE_SECONDS = 1.0

Event = dict[str, Any]


class Driver:
    """One driver process, and its successors. `on_event(event)` gets every event but pongs."""

    def __init__(
        self,
        settings: dict[str, Any],
        on_event: Callable[[Event], None],
        spawned: DriverProcess | None = None,
    ) -> None:
        """`settings`: the first line (see `roujiamo.driver.lines`). `spawned`: open; may have been told them."""
        self._settings = settings
        self._on_event = on_event
        self._spawned = spawned
        self._process: DriverProcess | None = None
        self._reading: asyncio.Task[None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._pinged = 0
        self._pinged_at = 0.0
        self._answered = 0
        self._ending = False
        # The master, or another driver, has taken the framework away: there is nothing to end any more.
        self._is_taken_away = False
        # A sentence, where `teardown` has found that it was so.
        self.removal = ""

    async def start(self) -> None:
        """Start the process and tell it what to subscribe with."""
        spawned, self._spawned = self._spawned, None
        if spawned is None:
            spawned = DriverProcess(*(["-v"] if self._settings["verbose"] else []))
            await spawned.open()
        self._process = spawned
        if not spawned.is_told:
            spawned.tell(self._settings)
        self._pinged = self._answered = 0
        self._pinged_at = asyncio.get_running_loop().time()
        self._reading = self._keep(self._read(self._process))

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call(self, call: str, **arguments: Any) -> None:
        """Ask for a scheduler call: accept, decline, revive, suppress, kill or reconcile."""
        self._send({"call": call, **arguments})

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None:
            self._process.write(json.dumps(message).encode() + b"\n")

    async def _read(self, process: DriverProcess) -> None:
        while line := await process.read_line():
            event = json.loads(line)
            if event.get("event") == "pong":
                self._answered = event["id"]
                if event.get("blocked_seconds", 0) > BLOCKED_LIMIT_SECONDS:
                    self._restart(process, f"blocked for {event['blocked_seconds']:.0f} s")
                continue
            if event.get("event") == "subscribed":
                self._settings["framework"]["id"] = {"value": event["framework_id"]}
            elif event.get("fatal") and event.get("kind") in ("removed", "failed_over"):
                self._is_taken_away = True
                self.removal = str(event["message"]) if self._ending else ""
            self._on_event(event)
        status = await process.wait()
        if process is self._process and not self._ending:
            log.warning("the driver ended with status %d", status)
            self._on_event({"event": "driver_ended", "status": status})

    def ping(self) -> None:
        """Ask the process whether it goes on, PING_SECONDS after the last time at the earliest; call it now and then.

        One that has not answered since the last time is replaced.
        """
        process, now = self._process, asyncio.get_running_loop().time()
        if process is None or process.status is not None or now - self._pinged_at < PING_SECONDS:
            return
        if self._answered != self._pinged:
            self._restart(process, "no answer to a ping")
            return
        self._pinged += 1
        self._pinged_at = now
        self._send({"call": "ping", "id": self._pinged})

    def _restart(self, process: DriverProcess, why: str) -> None:
        """Replace a driver that hangs; the framework goes on under its id."""
        if process is not self._process or self._ending:
            return
        log.warning("the driver hangs (%s); starting another", why)
        self._process = None
        process.kill()
        self._keep(self._start_again())

    async def _start_again(self) -> None:
        try:
            await self.start()
        except OSError as error:
            log.warning("the driver cannot be started: %s", error)
            self._on_event({"event": "driver_ended", "status": 127})

    async def restart(self) -> None:
        """Start a successor of a driver that has ended."""
        self._process = None
        await self.start()

    async def teardown(self, *, is_master_gone: bool = False) -> bool:
        """End the framework and the process; return whether the master confirmed it.

        `is_master_gone`: it and all it knew have ended, so there is nothing to wait for.
        """
        self._ending = True
        if is_master_gone and self._process is not None:
            self._process.kill()
            await self._process.wait()
            return False
        status = await self._teardown()
        if status < 0 and not self._is_taken_away and "id" in self._settings["framework"]:
            # Somebody killed it: its successor takes the framework over by its id, and ends it.
            await self.start()
            status = await self._teardown()
        return status == 0 or self._is_taken_away

    async def _teardown(self) -> int:
        """Tell the driver to end the framework; return its exit status, negative where a signal has ended it."""
        process = self._process
        if process is None:
            return -1
        self._send({"call": "teardown"})
        process.close_stdin()
        try:
            status = await asyncio.wait_for(process.wait(), TEARDOWN_SECONDS)
            # Its last line may still be in the pipe.
            await asyncio.wait({self._reading}, timeout=LAST_LINE_SECONDS)
            return status
        except TimeoutError:
            log.warning("the driver did not end within %.0f s; killing it", TEARDOWN_SECONDS)
            process.kill()
            await process.wait()
            return 1
