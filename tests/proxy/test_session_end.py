"""The end of a session: whatever ends first, nothing of it stays on the host."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from roujiamo.system.processes import running_processes, with_environment
from tests.proxy.broker import Bench, Remote
from tests.support import is_alive, requires_python36, scaled, until

# A stubborn one, one with a session of its own, and a daemon that forked away and ignores SIGTERM too.
FAMILY = """
trap '' TERM
setsid sh -c 'trap "" TERM; while :; do sleep 1000; done' &
echo $!
(setsid setsid sh -c 'trap "" TERM HUP; echo $$; while :; do sleep 1000; done' &)
while :; do sleep 1000; done
"""


def _terminate(pids: Iterable[int]) -> None:
    for pid in pids:
        # One may end because another has.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


ENDINGS: dict[str, Callable[[Bench], object]] = {
    "goodbye": lambda host: host.broker.say_goodbye(),
    "broker gone": lambda host: host.broker.close(),
    "SIGTERM to init": lambda host: host.task.process.terminate(),
    "SIGINT to init": lambda host: host.task.process.send_signal(signal.SIGINT),
    "SIGTERM to worker": lambda host: os.kill(host.worker(), signal.SIGTERM),
    "SIGKILL to worker": lambda host: os.kill(host.worker(), signal.SIGKILL),
    "SIGKILL to init": lambda host: host.task.process.kill(),
    "worker stopped, then SIGTERM to init": lambda host: (
        os.kill(host.worker(), signal.SIGSTOP),
        host.task.process.terminate(),
    ),
    "SIGTERM to all, as Mesos does": lambda host: _terminate(_of(host)),
}

STATUSES = {
    "goodbye": 0,
    "broker gone": 1,
    "SIGTERM to init": 143,
    "SIGINT to init": 130,
    "SIGTERM to worker": 143,
    "SIGKILL to worker": 137,
    "SIGKILL to init": -9,
    "worker stopped, then SIGTERM to init": 137,
    "SIGTERM to all, as Mesos does": 143,
}


def _of(host: Bench) -> list[int]:
    """All processes of the task, found by the sandbox in their environment."""
    entry = b"MESOS_SANDBOX=" + os.fsencode(host.task.sandbox)
    return [process.pid for process in with_environment(entry, running_processes().values())]


def _sockets() -> set[str]:
    return {
        line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if "@roujiamo" in line
    }


def _start_family(host: Bench) -> Remote:
    remote = host.broker.open(FAMILY)
    host.broker.until(lambda: len(remote.stdout.split()) == 2)
    return remote


# Each takes the proxy's grace of 2 s, so the old Python runs the three that differ most.
@pytest.mark.parametrize(
    ("python", "ending"),
    [
        *(("current", ending) for ending in ENDINGS),
        *(
            pytest.param("3.6", ending, marks=requires_python36)
            for ending in ("goodbye", "SIGKILL to worker", "SIGKILL to init")
        ),
    ],
    indirect=["python"],
)
def test_nothing_is_left_whatever_ends_the_session(host: Bench, ending: str) -> None:
    """Stubborn children, own sessions, daemons that forked away, the folder, the socket: all gone."""
    remote = _start_family(host)
    family = [int(word) for word in remote.stdout.split()]
    assert all(map(is_alive, family))
    until(lambda: len(_of(host)) >= 6, what="the family, proxy and all")
    socket = host.broker.run("echo $ROUJIAMO_SOCKET").stdout.decode().strip()
    assert socket in _sockets()
    worker = host.worker()
    ENDINGS[ending](host)
    assert host.wait_for_end() == STATUSES[ending]
    until(lambda: not is_alive(worker), what=f"the worker's end: {host.task.errors}")
    until(lambda: not _of(host), what=f"the end of {_of(host)}: {host.task.errors}")
    until(lambda: not list(host.task.sandbox.glob(".roujiamo-*")), what="the folder's end")
    assert not any(map(is_alive, family))
    assert socket not in _sockets()
    assert host.task.errors.count("\n") < 8
    assert "Traceback" not in host.task.errors


@pytest.mark.parametrize("ending", ["SIGTERM to init", "SIGTERM to worker", "SIGKILL to init"])
def test_the_broker_is_told_when_the_task_is_ended(host: Bench, ending: str) -> None:
    """It need not wait for the master to learn of it."""
    ENDINGS[ending](host)
    host.broker.until(lambda: host.broker.goodbye)
    assert "ending what runs here" in str(host.broker.goodbye)
    host.broker.until(lambda: host.broker.connection is None)


def test_a_session_that_runs_nothing_ends_at_once(host: Bench) -> None:
    """No grace is waited out where nobody needs it."""
    host.broker.say_goodbye()
    assert host.wait_for_end(5) == 0
    assert host.task.errors.splitlines()[-1] == (
        "roujiamo-proxy: agent1.example: the broker ends the session: the test is over"
    )


def test_a_host_that_cannot_come_back_in_time_gives_up(make_bench: Callable[..., Bench]) -> None:
    """A broker that accepts and says nothing is as good as gone."""
    host = make_bench(settings={"reconnect_grace_seconds": 0.5}).ready()
    remote = _start_family(host)
    host.broker.cut()
    # The listener stays: connections are taken by the kernel, and nobody answers.
    until(host.task.has_ended, what="the task's end")
    assert host.task.process.returncode == 1
    assert "could not be reached again within 0.5 s" in host.task.errors
    assert not any(is_alive(int(word)) for word in remote.stdout.split())


def test_the_sandbox_may_be_gone_at_the_end(host: Bench) -> None:
    """Mesos may collect it while the task still ends."""
    host.broker.run(f"rm -rf {host.task.folder}")
    host.broker.say_goodbye()
    assert host.wait_for_end() == 0


def test_orphans_are_reaped_while_the_session_runs(host: Bench) -> None:
    """A host that runs for weeks must not fill its process table with them."""
    host.broker.run("for i in 1 2 3 4 5; do (true & ) ; done")

    def zombies() -> list[str]:
        return [
            line
            for pid in os.listdir("/proc")
            if pid.isdigit()
            and (line := _stat(pid)).startswith("Z")
            and line.split()[1] == str(host.worker())
        ]

    host.broker.until(lambda: not zombies(), scaled(5), "the reaping")


def _stat(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].strip()
    except OSError:
        return ""
