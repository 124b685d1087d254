"""The user's command under `roujiamo run` and `roujiamo alloc`: started, told of signals, waited for.

Runs in the user's shell. The child has our stdin, stdout and stderr, and our process group: what the terminal sends
reaches it by itself, what was sent to this process alone is passed on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from roujiamo.errors import LauncherError
from roujiamo.run.held_session import KILL_SECONDS, STOPPING
from roujiamo.run.waiting import ChildEnded, Happening, SignalCame, Waiting
from roujiamo.system.programs import IGNORED_BY_PYTHON

# After a host is lost, or the broker, a launcher ends by itself when its agents do; this is for one that does not.
GRACE_SECONDS = 20.0
# Between SIGTERM and SIGKILL where the session's time is over.
LIMIT_SECONDS = 10.0


class Followed(Protocol):
    """The session that a command runs in, as far as following the command needs it: `HeldSession`, `JoinedSession`."""

    stop_signals: int

    @property
    def losses(self) -> Sequence[str]:
        """A sentence for each thing that it has lost."""

    @property
    def is_time_up(self) -> bool:
        """Whether its time limit is reached."""

    def take_in(self, happening: Happening) -> bool:
        """Take in what happened to it; return whether it has lost something since."""

    def take_stop_signal(self, came: SignalCame) -> None:
        """Note that somebody wants the end."""

    def tell(self, sentence: str) -> None:
        """Say something about the run to its user."""


class Child:
    """One command. With `is_own_master` it decides by itself what Ctrl-C and a lost host mean, as a shell does."""

    def __init__(
        self,
        path: str,
        line: list[str],
        environment: Mapping[str, str],
        waiting: Waiting,
        *,
        is_own_master: bool,
    ) -> None:
        """Start it. Raises LauncherError, with the status that a shell gives."""
        self._path = path
        self._waiting = waiting
        self._is_own_master = is_own_master
        try:
            self.pid = os.posix_spawn(
                path,
                line,
                environment,
                setsigmask=waiting.previous_mask,
                setsigdef=IGNORED_BY_PYTHON,
            )
        except OSError as error:
            failure = LauncherError(f"cannot start {path}: {error.strerror}")
            failure.exit_status = 127 if isinstance(error, FileNotFoundError) else 126
            raise failure from error
        waiting.watch(self.pid)

    def follow(self, session: Followed, look: Callable[[], float | None] | None = None) -> int:
        """Wait for its end; pass signals on; end it where it cannot end by itself. Return its status.

        `look` is called now and again and returns when it wants to be called next (time.monotonic()), or None.
        """
        kill_signals = iter((signal.SIGTERM, signal.SIGKILL))
        deadline: float | None = None
        look_at = look() if look is not None else None
        stopped_by = 0
        is_limit_told = False
        while True:
            happening = self._waiting.next(
                min((at for at in (deadline, look_at) if at is not None), default=None)
            )
            now = time.monotonic()
            if look is not None and look_at is not None and now >= look_at:
                look_at = look()
            if happening is None:
                if deadline is not None and now >= deadline:
                    os.kill(self.pid, next(kill_signals, signal.SIGKILL))
                    deadline = now + KILL_SECONDS
            elif isinstance(happening, ChildEnded) and happening.pid == self.pid:
                # Whose reader has had enough knows why it ended: `| head -n 1`.
                is_told = happening.status == 128 + signal.SIGPIPE
                if happening.by_signal and not (
                    is_told
                    or session.stop_signals
                    or session.losses
                    or session.is_time_up
                    or self._is_own_master
                ):
                    session.tell(f"{self._path} was ended by signal {happening.status - 128}")
                return happening.status if not stopped_by else (happening.status or 128 + stopped_by)
            elif isinstance(happening, SignalCame):
                if not happening.from_terminal:
                    os.kill(self.pid, happening.number)
                if self._is_end(happening):
                    session.take_stop_signal(happening)
                    stopped_by = stopped_by or happening.number
                    # Open MPI 5 does not end at all while agents are pending; the second time means now.
                    grace = GRACE_SECONDS if session.stop_signals == 1 else KILL_SECONDS
                    deadline = min(deadline or now + grace, now + grace)
            elif session.take_in(happening) and not self._is_own_master:
                deadline = deadline or now + GRACE_SECONDS
            if session.is_time_up and not is_limit_told:
                is_limit_told = True
                # A shell at a terminal ignores TERM, and passes HUP on to its jobs (bash(1), SIGNALS). Without job
                # control its jobs are of our own process group, which is not to be hung up.
                is_shell = self._is_own_master and os.isatty(0)
                for number in (signal.SIGTERM, *((signal.SIGHUP,) if is_shell else ())):
                    os.kill(self.pid, number)
                kill_signals = iter((signal.SIGKILL,))
                deadline = now + LIMIT_SECONDS

    def _is_end(self, came: SignalCame) -> bool:
        if self._is_own_master:
            return came.number in (signal.SIGTERM, signal.SIGHUP)
        return came.number in STOPPING
