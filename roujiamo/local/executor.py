"""The executor: one process for each task, which starts it, waits for it, and leaves nothing of it behind.

Forked by the agent. It is the subreaper of all that the task starts, so whatever calls setsid or forks twice is still
its descendant, and ends with the task. One poll loop waits for the agent's word and for children's ends; when the
agent's socket reaches its end, the agent is gone and the task is killed. It trusts its agent.

    fetching (URIs) -> running -> over
        kill: SIGTERM to all, SIGKILL to all after the grace; the first process's end is the task's end at any time
        destroyed (for its memory): SIGKILL to all at once
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from roujiamo.local.children import become, end_descendants, own_descendants
from roujiamo.local.fetcher import fetch_all
from roujiamo.local.sandbox import User
from roujiamo.system.processes import become_subreaper, reap_children, signal_all, signal_at_parents_end

# The time between SIGTERM and SIGKILL when nobody is there any more to wish for another one.
ORPHANED_GRACE_SECONDS = 0.5

# MAX_ARG_STRLEN of the kernel; what else Mesos's launcher has in that argument; and how a task ends that is too long.
MAX_ARGUMENT = 128 << 10
LAUNCH_OVERHEAD = 1500
TOO_LONG_STATUS = 7


@dataclass(frozen=True)
class Order:
    """What to run."""

    command: dict[str, Any]
    directory: Path
    environment: dict[str, str]
    user: User
    container_id: str
    max_seconds: float
    knows_killing: bool


def execute(order: Order, agent: socket.socket) -> NoReturn:
    """Be the executor of one task in a freshly forked process, and exit."""
    status = 1
    try:
        become("executor", (agent.fileno(),))
        _forget_parent(agent)
        become_subreaper()
        _Executor(order, agent).run()
        status = 0
    except BaseException as problem:  # noqa: BLE001  nothing may return into the agent's code from here
        _say(order, f"executor: {type(problem).__name__}: {problem}")
    finally:
        end_descendants(0.0)
        os._exit(status)


class _Executor:
    def __init__(self, order: Order, agent: socket.socket) -> None:
        self._order = order
        self._agent = agent
        self._received = b""
        self._child = 0
        self._is_killed = False
        self._kill_at: float | None = None
        self._expires_at: float | None = None
        self._is_expired = False
        # What the last update says of a task that the agent had destroyed.
        self._destroyed: dict[str, Any] | None = None

    def run(self) -> None:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._agent, select.POLLIN)
        poll.register(read_end, select.POLLIN)

        def wait() -> int:
            """Wait for the child's end; return its wait status."""
            while True:
                status = self._reap()
                if status is not None:
                    return status
                for descriptor, _ in poll.poll(self._timeout()):
                    if descriptor == read_end:
                        _drain(read_end)
                    else:
                        self._listen()
                self._watch_clock()

        uris = self._order.command.get("uris", [])
        if uris:
            self._start(lambda: fetch_all(uris, self._order.directory))
            status = wait()
            if status != 0:
                self._report_fetch(status)
                return
        if "value" not in self._order.command:
            _say(self._order, "executor: the command has no value")
            return
        self._report("TASK_STARTING")
        if self._order.max_seconds:
            self._expires_at = time.monotonic() + self._order.max_seconds
        self._start(lambda: _exec(self._order))
        self._report("TASK_RUNNING")
        status = wait()
        self._kill_at = None
        # The task is over when its first process is: nothing of it may outlive the update that says so.
        end_descendants(0.0)
        self._report_end(status)

    def _start(self, act: Callable[[], int]) -> None:
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            status = 1
            try:
                _prepare_child(self._order, parent)
                status = act()
            except BaseException as problem:  # noqa: BLE001  the child must end here, whatever happens
                sys.stderr.write(f"{problem}\n")
            finally:
                os._exit(status)

    def _reap(self) -> int | None:
        """Reap whoever has ended; return the child's wait status if it was among them."""
        return next((status for pid, status in reap_children() if pid == self._child), None)

    def _timeout(self) -> float | None:
        """Milliseconds until something is due."""
        due = [when for when in (self._kill_at, self._expires_at) if when is not None]
        return max(0.0, min(due) - time.monotonic()) * 1000 + 1 if due else None

    def _watch_clock(self) -> None:
        now = time.monotonic()
        if self._expires_at is not None and now >= self._expires_at:
            self._expires_at = None
            self._is_expired = True
            self._kill(3.0)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = now + 0.2
            signal_all(own_descendants(), signal.SIGKILL)

    def _listen(self) -> None:
        data = self._agent.recv(65_536)
        if not data:
            end_descendants(ORPHANED_GRACE_SECONDS)
            os._exit(1)
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "destroyed" in message:
                self._destroy(message["destroyed"])
                continue
            if not self._is_killed and not self._is_expired and self._order.knows_killing:
                self._report("TASK_KILLING")
            self._is_killed = True
            self._kill(message["grace_seconds"])

    def _kill(self, grace_seconds: float) -> None:
        signal_all(own_descendants(), signal.SIGTERM)
        when = time.monotonic() + grace_seconds
        self._kill_at = when if self._kill_at is None else min(when, self._kill_at)

    def _destroy(self, words: dict[str, Any]) -> None:
        """Kill the task at once. As in a cgroup that Mesos freezes first, none of it lives to tell of another's end."""
        self._destroyed = words
        doomed = own_descendants()
        signal_all(doomed, signal.SIGSTOP)
        # Children first: what is stopped is continued when its parent's end leaves its process group an orphan.
        signal_all(reversed(doomed), signal.SIGKILL)
        self._kill_at = time.monotonic() + 0.2

    def _report(self, state: str, **more: Any) -> None:
        self._agent.sendall(json.dumps({"state": state, "timestamp": time.time(), **more}).encode() + b"\n")

    def _report_fetch(self, status: int) -> None:
        how = _describe(status).removeprefix("Command ")
        container = self._order.container_id
        message = f"Failed to launch container: Failed to fetch all URIs for container '{container}': {how}"
        state = "TASK_KILLED" if self._is_killed else "TASK_FAILED"
        self._report(state, message=message, reason="REASON_CONTAINER_LAUNCH_FAILED", source="SOURCE_AGENT")

    def _report_end(self, status: int) -> None:
        message = _describe(status)
        if self._destroyed is not None:
            self._report("TASK_FAILED", **self._destroyed, source="SOURCE_AGENT")
        elif self._is_expired:
            self._report("TASK_FAILED", message=message, reason="REASON_MAX_COMPLETION_TIME_REACHED")
        elif self._is_killed:
            self._report("TASK_KILLED", message=message)
        else:
            self._report("TASK_FINISHED" if status == 0 else "TASK_FAILED", message=message)


def _describe(status: int) -> str:
    """A wait status in Mesos's words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"Command terminated with signal {signal.strsignal(number) or number}"
    return f"Command exited with status {os.WEXITSTATUS(status)}"


def _prepare_child(order: Order, parent: int) -> None:
    """Make this forked child a process as the task expects it: session, streams, folder, user, signals."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        # The C library keeps two for itself.
        if signal.getsignal(number) is not None:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    order.user.become()
    os.chdir(order.directory)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
    os.closerange(3, 1 << 20)
    # After setuid, which clears it. Should the executor be killed, the agent finds what else there is.
    signal_at_parents_end(signal.SIGKILL, parent)


def _is_too_long(command: dict[str, Any]) -> bool:
    """Whether a real agent could not start this: its launcher gets the command as JSON in one argument (measured).

    The environment is in there twice.
    """
    variables = command.get("environment", {}).get("variables", [])
    environment = json.dumps([{**one, "type": "VALUE"} for one in variables], ensure_ascii=False)
    text = json.dumps([command["value"], *command.get("arguments", [])], ensure_ascii=False)
    length = len(text.encode()) + 2 * len(environment.encode()) + LAUNCH_OVERHEAD
    return length > MAX_ARGUMENT


def _exec(order: Order) -> int:
    command = order.command
    value = command["value"]
    if _is_too_long(command):
        return TOO_LONG_STATUS
    try:
        if command.get("shell", True):
            os.execvpe("sh", ["sh", "-c", value], order.environment)
        os.execvpe(value, command.get("arguments") or [value], order.environment)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        os.write(2, f"Failed to execute '{value[:200]}': {reason}\n".encode("utf-8", "replace"))
    return 1


def _forget_parent(agent: socket.socket) -> None:
    """Drop what was the agent's: its signal handlers, its streams."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN if number != signal.SIGTERM else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    agent.setblocking(True)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass


def _say(order: Order, sentence: str) -> None:
    """Put a line of ours where the task's user looks."""
    try:
        descriptor = os.open(order.directory / "stderr", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        os.write(descriptor, f"{sentence}\n".encode("utf-8", "replace"))
    finally:
        os.close(descriptor)
