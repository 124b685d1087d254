"""What Mesos says of the session's tasks: their states, failed launches, planned maintenance.

Runs in the broker. Trusts the master for what it says of a task; a proxy that is connected shows better than any update
that its task lives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from roujiamo.broker.hosts import CONTACTED, LAUNCHING, LOST, READY, Host
from roujiamo.broker.moments import Moments
from roujiamo.errors import ProtocolError
from roujiamo.mesos.offers import maintenance_start
from roujiamo.mesos.task_states import TERMINAL_STATES
from roujiamo.session.explanations import remedy_of_task

log = logging.getLogger(__name__)

# TASK_RUNNING is sent at the fork; what is left is a Python start-up and a TCP connection.
CALLBACK_SECONDS = 30.0


class Tasks:
    """The tasks of `hosts` (by task id, as the session keeps them); a host whose task has failed is lost."""

    def __init__(
        self,
        hosts: Mapping[str, Host],
        targets: Callable[[], list[str]],
        on_running: Callable[[Host], None],
        warn: Callable[[str], None],
        moments: Moments,
    ) -> None:
        """`targets`: where tasks call back to. `on_running(host)`: its task runs. `warn(sentence)`: the user."""
        self._hosts = hosts
        self._targets = targets
        self._on_running = on_running
        self._warn = warn
        self._moments = moments
        self._loop = asyncio.get_running_loop()
        # In the order of their deadlines, and one timer for all: an idle broker is not woken for each host.
        self._running: deque[tuple[float, Host]] = deque()

    def on_update(self, status: dict[str, Any]) -> None:
        """Take in a status update (TaskStatus of the v1 scheduler API)."""
        task_id, state = status["task_id"]["value"], status["state"]
        message = status.get("message", "")
        host = self._hosts.get(task_id)
        log.info("task %s: %s %s", task_id, state, message)
        if host is None or host.state == LOST:
            return
        self._moments.of_update(host, state)
        if state == "TASK_RUNNING" and host.state not in (READY, CONTACTED):
            self._on_running(host)
            self._running.append((self._loop.time() + CALLBACK_SECONDS, host))
            if len(self._running) == 1:
                self._loop.call_later(CALLBACK_SECONDS, self._look_for_late)
        elif state in ("TASK_UNREACHABLE", "TASK_UNKNOWN"):
            # A task that calls back is well, whatever became of its agent's process.
            if host.link is None:
                host.lose(f"the agent {host.name} was lost before its task had called back")
            elif host.transport is None:
                host.lose(f"the agent {host.name} was lost: neither the master nor we can reach it")
        elif state in TERMINAL_STATES:
            reason = status.get("reason", "")
            host.is_offer_void = reason == "REASON_INVALID_OFFERS"
            in_words = reason.removeprefix("REASON_").replace("_", " ").lower()
            # Behind an empty line are the isolator's statistics, which are in the log.
            told = " ".join(message.partition("\n\n")[0].split()) or in_words or state
            remedy = remedy_of_task(message) or remedy_of_task(in_words)
            if host.state != READY:
                host.lose(f"the task on {host.name} ended before it was ready: {told}", remedy)
            elif host.transport is None and not remedy:
                host.lose(
                    f"{host.name} was out of reach for longer than --reconnect-grace, and its task has ended: {told}"
                )
            else:
                host.lose(f"the task on {host.name} ended: {told}", remedy)

    def on_not_accepted(self, offer_ids: set[str], message: str) -> None:
        """An ACCEPT of these offers did not reach the master: its task will never be."""
        for host in list(self._hosts.values()):
            if host.state == LAUNCHING and offer_ids.intersection(host.offer_ids):
                host.is_offer_void = True
                host.lose(f"the task on {host.name} was not launched: {message}")

    def on_maintenance(self, inverse_offers: list[dict[str, Any]]) -> None:
        """Tell the user that hosts of the session are to be maintained; the job goes on as long as it may."""
        live = {host.agent_id: host for host in self._hosts.values() if host.state != LOST}
        for offer in inverse_offers:
            host = live.get(str(offer.get("agent_id", {}).get("value", "")))
            if host is None:
                continue
            try:
                start = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(maintenance_start(offer)))
            except (ProtocolError, OverflowError, OSError) as error:
                # It only serves to tell people.
                log.warning("%s", error)
            else:
                self._warn(
                    f"{host.name} is scheduled for maintenance from {start}; until its task is ended the job goes on"
                )

    def _look_for_late(self) -> None:
        """A task that runs, and has not called back in time, is lost."""
        now = self._loop.time()
        while self._running:
            deadline, host = self._running[0]
            if host.state not in (READY, LOST):
                if now < deadline:
                    self._loop.call_at(deadline, self._look_for_late)
                    return
                host.lose(
                    f"the task on {host.name} runs but has not called back to {self._targets()[0]} after "
                    f"{CALLBACK_SECONDS:.0f} s; is the port open to the agents? (--callback-address, --callback-port)"
                )
            self._running.popleft()
