"""`roujiamo run`: a session around one mpiexec.

Runs in the user's shell. It finds the mpiexec, starts a broker, waits until the hosts are ready, writes the hostfile,
runs mpiexec with the environment that makes it use the session, ends the session, and gives back mpiexec's status.
stdin, stdout and stderr are mpiexec's own; what this program says goes to stderr.

Ctrl-C once asks for a clean stop, twice for one now. While mpiexec runs the terminal tells it itself; a signal that was
sent to this process alone is passed on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from roujiamo.errors import LauncherError, RoujiamoError, SessionGone, UsageError
from roujiamo.run import launcher as launchers
from roujiamo.run.options import RunOptions
from roujiamo.run.progress import Progress
from roujiamo.run.session_client import SessionClient, current_user, new_session_folder
from roujiamo.run.waiting import BrokerSaid, ChildEnded, SignalCame, Waiting
from roujiamo.session.request import SessionRequest

# After a host is lost, or the broker, the launcher ends by itself when its agents do; this is for one that does not.
LAUNCHER_GRACE_SECONDS = 20.0
KILL_SECONDS = 3.0
# Goodbyes, TEARDOWN with its retries, and the local cluster's end all have deadlines of their own in the broker.
CLOSE_SECONDS = 45.0

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Interrupted(RoujiamoError):
    """The user asked for the end before mpiexec ran."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}; nothing was started")
        self.exit_status = 128 + number


@dataclass
class Run:
    """One run; `execute` is its story."""

    options: RunOptions
    launcher: launchers.Launcher
    waiting: Waiting
    progress: Progress
    stop_signals: int = 0
    host_losses: list[str] = field(default_factory=list)
    failed_commands: list[str] = field(default_factory=list)
    is_broker_gone: bool = False

    def execute(self) -> int:
        """Return the exit status. Raises RoujiamoError for what kept mpiexec from running."""
        launchers.shim_folder()
        request = build_request(self.options)
        client = SessionClient(request)
        self.waiting.watch(client.pid)
        self.waiting.follow(client.control)
        try:
            ready = self._wait_for_hosts(client)
            self.progress.clear()
            status = self._run_launcher(request, ready)
        finally:
            self.progress.clear()
            self._close(client)
        return self._truth(status)

    def _truth(self, status: int) -> int:
        """Return `status`, but never a success of a launcher that has lost a daemon on the way."""
        failures = self.host_losses or self.failed_commands
        if status or not failures:
            return status
        self.progress.say(
            0, f"{failures[0]}; {self.launcher.path} said 0 all the same, so the result cannot be trusted"
        )
        return RoujiamoError.exit_status

    def _wait_for_hosts(self, client: SessionClient) -> dict[str, Any]:
        """Return the broker's `ready` event. Raises what kept the hosts from being ready."""
        while True:
            happening = self.waiting.next(self.progress.next_refresh())
            if happening is None:
                self.progress.refresh()
            elif isinstance(happening, SignalCame) and happening.number in _STOPPING:
                self.stop_signals += 1
                raise Interrupted(happening.number)
            elif isinstance(happening, ChildEnded) and happening.pid == client.pid:
                self.is_broker_gone = True
                raise SessionGone("the session's broker ended before the hosts were ready; -vv shows its log")
            elif isinstance(happening, BrokerSaid) and happening.event is not None:
                event = happening.event
                if event["event"] == "ready":
                    return event
                if event["event"] == "failed":
                    raise reported_failure(event)
                self.progress.show(event)

    def _run_launcher(self, request: SessionRequest, ready: dict[str, Any]) -> int:
        launcher = self.launcher
        hosts = launchers.launch_hosts(ready["hosts"])
        hostfile = os.path.join(request.folder, "hostfile")
        try:
            with open(hostfile, "w", encoding="utf-8") as file:
                file.write(launchers.hostfile(launcher, hosts))
        except OSError as error:
            raise RoujiamoError(f"cannot write the hostfile {hostfile}: {error.strerror}") from error
        processes = self.options.processes or sum(host.slots for host in hosts)
        line = launchers.launch_line(launcher, processes, self.options.mpi_arguments, self.options.command)
        environment = launchers.launch_environment(
            launcher, hosts, hostfile, ready["socket"], bind=self.options.exclusive
        )
        self.progress.say(1, f"{launcher.dialect.name}: {' '.join(line)}")
        try:
            pid = os.posix_spawn(
                launcher.path,
                line,
                environment,
                setsigmask=self.waiting.previous_mask,
                # Python ignores these two for itself.
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError as error:
            raise LauncherError(f"cannot start {launcher.path}: {error.strerror}") from error
        self.waiting.watch(pid)
        return self._follow_launcher(pid)

    def _follow_launcher(self, pid: int) -> int:
        """Wait for mpiexec; pass signals on; end it where it cannot end by itself. Return its status."""
        kill_signals = iter((signal.SIGTERM, signal.SIGKILL, signal.SIGKILL))
        deadline: float | None = None
        stopped_by = 0
        while True:
            happening = self.waiting.next(deadline)
            now = time.monotonic()
            if happening is None:
                os.kill(pid, next(kill_signals, signal.SIGKILL))
                deadline = now + KILL_SECONDS
            elif isinstance(happening, ChildEnded) and happening.pid == pid:
                return happening.status if not stopped_by else (happening.status or 128 + stopped_by)
            elif isinstance(happening, SignalCame):
                if not happening.from_terminal:
                    os.kill(pid, happening.number)
                if happening.number in _STOPPING:
                    self.stop_signals += 1
                    stopped_by = stopped_by or happening.number
                    # Open MPI 5 does not end at all while agents are pending; the second time means now.
                    grace = LAUNCHER_GRACE_SECONDS if self.stop_signals == 1 else KILL_SECONDS
                    deadline = min(deadline or now + grace, now + grace)
            elif isinstance(happening, (BrokerSaid, ChildEnded)) and self._is_loss(happening):
                deadline = deadline or now + LAUNCHER_GRACE_SECONDS

    def _is_loss(self, happening: BrokerSaid | ChildEnded) -> bool:
        """Take in what the broker said; return whether the job can no longer go on."""
        if isinstance(happening, ChildEnded):
            self.is_broker_gone = True
        if isinstance(happening, ChildEnded) or happening.event is None:
            self._lose("the session's broker is gone; the job cannot go on")
            return True
        event = happening.event
        if event["event"] == "command_failed":
            if not self.launcher.dialect.is_daemon(str(event["command"])):
                return False
            self.failed_commands.append(
                f"{self.launcher.dialect.daemon} on {event['host']} ended with status {event['status']}"
            )
            return False
        if event["event"] in ("host_lost", "failed"):
            self._lose(str(event["message"]))
            return True
        return False

    def _lose(self, sentence: str) -> None:
        if sentence not in self.host_losses:
            self.host_losses.append(sentence)
            self.progress.say(0, sentence)

    def _close(self, client: SessionClient) -> None:
        """End the session and wait until nothing is left of it."""
        client.end()
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self.is_broker_gone:
            happening = self.waiting.next(deadline)
            if happening is None:
                self.progress.say(
                    0, "the session did not end in time; its broker is killed, its tasks end by themselves"
                )
                client.kill()
                deadline = time.monotonic() + KILL_SECONDS
            elif isinstance(happening, ChildEnded):
                self.is_broker_gone = self.is_broker_gone or happening.pid == client.pid
            elif isinstance(happening, SignalCame) and happening.number in _STOPPING:
                self.stop_signals += 1
                if self.stop_signals > 1:
                    client.kill()
            elif not isinstance(happening, BrokerSaid) or happening.event is None:
                continue
            elif happening.event["event"] == "command_failed":
                self._is_loss(happening)
            elif happening.event.get("clean") is False:
                self.progress.say(
                    0,
                    "the master did not confirm the end of the framework; it removes it by itself within a minute",
                )


def reported_failure(event: dict[str, Any]) -> RoujiamoError:
    """Return the error that a broker's `failed` event tells of."""
    failure = RoujiamoError(str(event["message"]))
    failure.exit_status = int(event["status"])
    return failure


def build_request(options: RunOptions) -> SessionRequest:
    """Return the request for the session that `options` want. Raises RoujiamoError."""
    return SessionRequest(
        master=options.master,
        name=options.name or os.path.basename(options.command[0]),
        user=options.user or current_user(),
        folder=str(new_session_folder()),
        owner_pid=os.getpid(),
        role=options.role,
        principal=options.principal,
        secret=options.secret,
        nodes=options.nodes,
        processes=options.processes,
        cpus_per_process=options.cpus_per_process,
        mem_per_process=options.mem_per_process,
        overhead_cpus=options.overhead_cpus,
        overhead_mem=options.overhead_mem,
        exclusive=options.exclusive,
        image=options.image,
        containerizer=options.containerizer,
        uris=options.uris,
        environment=chosen_environment(options.environment),
        timeout_seconds=options.timeout_seconds,
        reconnect_grace_seconds=options.reconnect_grace_seconds,
        callback_address=options.callback_address,
        callback_ports=options.callback_ports,
        verbosity=options.verbosity,
    )


def chosen_environment(names: Sequence[str]) -> dict[str, str]:
    """Return the variables that `--env NAME[=VALUE]` chose; one without a value is taken from here.

    Raises UsageError.
    """
    chosen = {}
    for entry in names:
        name, has_value, value = entry.partition("=")
        if not name:
            raise UsageError(f"--env {entry}: write NAME or NAME=VALUE")
        if not has_value:
            if name not in os.environ:
                raise UsageError(f"--env {name}: there is no such variable here; write {name}=VALUE")
            value = os.environ[name]
        chosen[name] = value
    return chosen


def run(options: RunOptions) -> int:
    """Do what `roujiamo run` does; return the exit status. Raises RoujiamoError."""
    progress = Progress(sys.stderr, verbosity=options.verbosity, quiet=options.quiet)
    launcher = launchers.find_launcher(options.mpiexec)
    with Waiting() as waiting:
        return Run(options, launcher, waiting, progress).execute()
