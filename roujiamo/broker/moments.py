"""The moments of a session, told to its owner where that wants them (`--timeline`): see `roujiamo.session.timeline`.

Runs in the broker. They are told one by one as they happen, so that the owner has them whatever becomes of the broker;
where nobody wants them, nothing is kept and nothing is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from roujiamo.broker.hosts import MAX_TOLD_COMMAND, Host
from roujiamo.protocol.route import Route
from roujiamo.session.secret_words import line_without_secrets
from roujiamo.session.timeline import (
    ACCEPTED,
    COMMAND_ENDED,
    COMMAND_STARTED,
    OFFERED,
    RUNNING,
    STARTING,
)

_OF_STATES = {"TASK_STARTING": STARTING, "TASK_RUNNING": RUNNING}


class Moments:
    """Tells moments by `notify(event)`; with None, none."""

    def __init__(self, notify: Callable[[dict[str, Any]], None] | None) -> None:
        self._notify = notify
        self._offered: dict[str, float] = {}  # agent id -> when it was offered last

    def of_session(self, what: str) -> None:
        """Something has happened to the session."""
        if self._notify is not None:
            self._notify({"event": "moment", "at": time.time(), "what": what})

    def of_host(self, host: Host, what: str) -> None:
        """Something has happened to a host."""
        if self._notify is not None:
            self._tell(host, what, time.time())

    def of_update(self, host: Host, state: str) -> None:
        """Mesos says that the host's task has reached this state."""
        if state in _OF_STATES:
            self.of_host(host, _OF_STATES[state])

    def of_offers(self, offers: Iterable[dict[str, Any]]) -> None:
        """These agents are offered."""
        if self._notify is not None:
            now = time.time()
            self._offered.update((str(each["agent_id"]["value"]), now) for each in offers)

    def of_accept(self, host: Host) -> None:
        """The host's offers are accepted."""
        if self._notify is not None:
            now = time.time()
            self._tell(host, OFFERED, self._offered.pop(host.agent_id, now))
            self._tell(host, ACCEPTED, now)

    def of_command(self, host: Host, number: int, route: Route, is_over: bool) -> None:
        """A remote command was sent to its host, or has ended."""
        if self._notify is not None:
            # Whole until it holds no secret: half of one may not look like any.
            text = "" if is_over else line_without_secrets(route.command.decode("utf-8", "replace"))
            what = COMMAND_ENDED if is_over else COMMAND_STARTED
            self._tell(host, what, time.time(), number=number, text=text[:MAX_TOLD_COMMAND])

    def _tell(self, host: Host, what: str, at: float, **more: Any) -> None:
        assert self._notify is not None
        self._notify(
            {"event": "moment", "at": at, "what": what, "task": host.task_id, "host": host.name, **more}
        )
