"""A session that a program of the user's shell holds: started, waited for, and ended with it.

Runs in `roujiamo run` and `roujiamo alloc`. Trusts the broker, which it starts itself.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roujiamo.errors import RoujiamoError
from roujiamo.run.progress import Progress
from roujiamo.run.waiting import BrokerSaid, ChildEnded, Happening, SignalCame, Waiting
from roujiamo.session import timeline
from roujiamo.session.request import SessionRequest
from roujiamo.session.timeline import Moment
from roujiamo.system.broker_client import SessionClient
from roujiamo.system.processes import read_process
from roujiamo.system.runtime_folder import remove_left
from roujiamo.system.session_client import current_user, new_session_folder

# Goodbyes, TEARDOWN with its retries, and the local cluster's end all have deadlines of their own in the broker.
CLOSE_SECONDS = 45.0
KILL_SECONDS = 3.0
# Between two looks at what has no way to wake us.
LOOK_SECONDS = 0.05

# What asks a program to stop, and does not stop it at once.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

BROKER_GONE = "the session's broker is gone; the job cannot go on"


class Interrupted(RoujiamoError):
    """The user asked for the end before anything ran."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}; nothing was started")
        self.exit_status = 128 + number


class HeldSession:
    """One session. `request` is complete; `ready` is the broker's event of that name, once `wait_until_ready` is done.

    `losses`: a sentence for each host that was lost, or for the broker; `remedies`: the same with what to do, where
    that is known. `failed_commands`: the broker's events, one for each command on each host.
    `is_unused`: no command was ever started on any of its hosts; `causes`: sentences that may explain a failure that
    nothing else explains; both known once the session is closed. `moments`: what happened when, where that is wanted.
    `is_time_up`: its time limit is reached.
    """

    def __init__(
        self,
        request: SessionRequest,
        waiting: Waiting,
        progress: Progress,
        name: str = "",
        client: SessionClient | None = None,
    ) -> None:
        """Start the broker of the session `name` (""; one is made up), or ask `client`'s. Raises RoujiamoError."""
        self.request = request._replace(
            user=request.user or current_user(),
            folder=str(new_session_folder(name)),
            owner_pid=os.getpid(),
        )
        self.ready: dict[str, Any] = {}
        self.losses: list[str] = []
        self.remedies: list[str] = []
        self._failed_commands: dict[tuple[str, str], dict[str, Any]] = {}
        self.is_unused = False
        self.causes: list[str] = []
        self.moments: list[Moment] = [Moment(_begun_at(), timeline.BEGUN)]
        self._is_closing = False
        self._is_closed = False
        self.stop_signals = 0
        self.is_time_up = False
        self._waiting = waiting
        self._progress = progress
        self._is_broker_gone = False
        self._client = client or SessionClient()
        self._client.ask_for(self.request)
        waiting.watch(self._client.pid)
        waiting.follow(self._client.control)

    def wait_until_ready(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Raises what kept the hosts from being ready.

        `meanwhile` is called once, when the master has answered: before that our own programs load on all cores, and
        for a while after it Mesos is to be waited for.
        """
        while True:
            happening = self._waiting.next(self._progress.next_refresh())
            if happening is None:
                self._progress.refresh()
            elif isinstance(happening, SignalCame) and happening.number in STOPPING:
                raise self._interrupted(happening.number)
            elif isinstance(happening, ChildEnded) and happening.pid == self._client.pid:
                self._is_broker_gone = True
                raise RoujiamoError(
                    "the session's broker ended before the hosts were ready; -vv shows its log"
                )
            elif isinstance(happening, BrokerSaid) and happening.event is not None:
                event = happening.event
                if event["event"] == "moment":
                    self.moments.append(Moment.of_event(event))
                elif event["event"] == "ready":
                    self.ready = event
                    self._progress.clear()
                    return
                elif event["event"] == "failed":
                    raise _reported_failure(event)
                else:
                    self._progress.show(event)
                    if meanwhile is not None and event.get("phase") == "offers":
                        meanwhile()
                        meanwhile = None

    def wait_for_child(self, pid: int, seconds: float) -> bool:
        """Wait until a child of ours has ended, for so long; return whether it has. Raises Interrupted."""
        self._waiting.watch(pid)
        deadline = time.monotonic() + seconds
        while (happening := self._waiting.next(deadline)) is not None:
            if isinstance(happening, ChildEnded) and happening.pid == pid:
                return True
            if isinstance(happening, SignalCame) and happening.number in STOPPING:
                raise self._interrupted(happening.number)
            self.take_in(happening)
        return False

    def _interrupted(self, number: int) -> Interrupted:
        self.stop_signals += 1
        return Interrupted(number)

    def note(self, what: str) -> None:
        """A moment of our own has come: the program was started, or has ended."""
        self.moments.append(Moment(time.time(), what))

    def take_in(self, happening: Happening) -> bool:
        """Take in what happened to the session; return whether it has lost something since."""
        if isinstance(happening, ChildEnded):
            if happening.pid != self._client.pid:
                return False
            self._is_broker_gone = True
            return not self._is_closed and self._lose(BROKER_GONE)
        if not isinstance(happening, BrokerSaid):
            return False
        if happening.event is None:
            return not self._is_closed and self._lose(BROKER_GONE)
        event = happening.event
        if event["event"] == "time_is_up":
            self.is_time_up = True
            self._progress.say(0, f"{event['message']} (--time-limit); the run is ended")
            return False
        if event["event"] == "failed" and self.is_time_up:
            return False
        if event["event"] in ("host_lost", "failed"):
            return self._lose(str(event["message"]), str(event.get("remedy", "")))
        if event["event"] == "moment":
            self.moments.append(Moment.of_event(event))
        elif event["event"] == "warning":
            self._progress.show(event)
        elif event["event"] == "command_failed":
            # It comes once more when the command has said all.
            self._failed_commands[event["host"], event["command"]] = event
        elif event["event"] == "closed":
            self._is_closed = True
            self.is_unused = event["commands"] == 0
            self.causes = event["causes"]
            if not event["clean"]:
                self._progress.say(
                    0,
                    "the master did not confirm the end of the framework; it removes it by itself within "
                    f"{self.request.failover_timeout_seconds:g} s (--failover-timeout)",
                )
            if not self._is_closing:
                # Not asked for by us: the reason has been told, or there is none but this.
                return bool(self.losses) or self._lose(BROKER_GONE)
        return False

    def name_child(self, pid: int) -> None:
        """Have the broker end that child of ours too, should this process be killed."""
        self._client.name_child(pid)

    def take_stop_signal(self, came: SignalCame) -> None:
        """Note that the user, or somebody else, wants the end; one who is not at the terminal is told so."""
        self.stop_signals += 1
        if self.stop_signals == 1 and not came.from_terminal:
            self._progress.say(
                0, f"{signal.Signals(came.number).name} came and was passed on: the run is ended"
            )

    def tell(self, sentence: str) -> None:
        """Say something about the run to its user."""
        self._progress.say(0, sentence)

    @property
    def failed_commands(self) -> list[dict[str, Any]]:
        """The remote commands that have ended with another status than 0."""
        return list(self._failed_commands.values())

    def _lose(self, sentence: str, remedy: str = "") -> bool:
        if sentence not in self.losses:
            self.losses.append(sentence)
            self._progress.say(0, sentence)
            if remedy:
                self.remedies.append(f"{sentence}; {remedy}")
        return True

    def wait_while(self, goes_on: Callable[[], bool], deadline: float, *, explains: bool) -> None:
        """Wait, behind the program, for the end of something; no longer once somebody wants the end of all.

        `explains`: see `_is_last`.
        """
        self._is_closing = True
        while goes_on() and not self._is_broker_gone and time.monotonic() < deadline:
            happening = self._waiting.next(min(deadline, time.monotonic() + LOOK_SECONDS))
            if isinstance(happening, SignalCame) and happening.number in STOPPING:
                self.stop_signals += 1
                return
            self._take_in_last(happening, explains=explains)

    def _take_in_last(self, happening: Happening | None, *, explains: bool) -> None:
        """Take in what happens once the program has ended."""
        if isinstance(happening, ChildEnded):
            self._is_broker_gone = self._is_broker_gone or happening.pid == self._client.pid
        elif (
            isinstance(happening, BrokerSaid)
            and happening.event is not None
            and _is_last(happening.event, explains=explains)
        ):
            self.take_in(happening)

    def close(self, *, settle: bool = False) -> None:
        """End the session and wait until nothing is left; with `settle` its daemons may end by themselves first.

        Without, a launcher has failed, perhaps before Mesos's word had come on a host that it has lost.
        """
        self._progress.clear()
        self._is_closing = True
        self._client.end(settle=settle)
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self._is_broker_gone:
            happening = self._waiting.next(deadline)
            if happening is None:
                self._progress.say(
                    0, "the session did not end in time; its broker is killed, its tasks end by themselves"
                )
                self._client.kill()
                deadline = time.monotonic() + KILL_SECONDS
            elif isinstance(happening, SignalCame) and happening.number in STOPPING:
                self.stop_signals += 1
                if self.stop_signals > 1:
                    self._client.kill()
            else:
                self._take_in_last(happening, explains=not settle and not self.stop_signals)
        # What a killed broker has left, or a launcher that was still starting when the broker had removed it.
        remove_left(Path(self.request.folder))
        self.note(timeline.CLOSED)


def _begun_at() -> float:
    """Return when this process was started, as time.time() would have said it; to a hundredth of a second."""
    process = read_process(os.getpid())
    if process is None:
        return time.time()
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - process.start / os.sysconf("SC_CLK_TCK"))


def _is_last(event: dict[str, Any], *, explains: bool) -> bool:
    """Tell whether an event says something while the session ends; `explains`: a host's loss may, after a failure."""
    told = ("command_failed", "failed", "closed", "moment")
    return event["event"] in told or (explains and event["event"] == "host_lost")


def _reported_failure(event: dict[str, Any]) -> RoujiamoError:
    """Return the error that a broker's `failed` event tells of."""
    failure = RoujiamoError(str(event["message"]))
    failure.exit_status = int(event["status"])
    return failure
