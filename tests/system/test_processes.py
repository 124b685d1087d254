"""Process trees: who belongs to one, and that nobody of it survives its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roujiamo.system import processes
from tests.support import is_alive, running, until

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 1000; done"


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


@pytest.fixture
def session() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        processes.Tree(process.pid).signal(signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _start(started: list[subprocess.Popen[bytes]], script: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_process_is_known_by_pid_and_start_time() -> None:
    """A pid alone is used again."""
    me = processes.read_process(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert me.session == os.getsid(0)
    assert me == processes.running_processes()[os.getpid()]
    assert me != processes.Process(me.pid, me.parent, me.group, me.session, me.start + 1)


def test_an_ended_process_is_not_running_before_it_is_reaped() -> None:
    """Waiting for a zombie to go would be waiting for its parent."""
    process = subprocess.Popen(["true"])
    until(lambda: processes.read_process(process.pid) is None, what="the end of true")
    assert Path(f"/proc/{process.pid}/stat").exists()
    process.wait()


def test_a_signal_never_reaches_another_process_of_the_same_pid(
    session: list[subprocess.Popen[bytes]],
) -> None:
    """The number may have been given to someone else's process in the meantime."""
    process = _start(session, "echo ready; exec sleep 1000")
    real = processes.read_process(process.pid)
    assert real is not None
    older = processes.Process(real.pid, real.parent, real.group, real.session, real.start - 1)
    assert not processes.send_signal(older, signal.SIGKILL)
    assert is_alive(process.pid)
    assert processes.send_signal(real, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_the_signal_is_sent_without_pidfds_too(
    session: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.6 has none, and neither has a kernel before 5.3."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    process = _start(session, "echo ready; exec sleep 1000")
    found = processes.read_process(process.pid)
    assert found is not None
    assert processes.send_signal(found, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    assert not processes.send_signal(found, signal.SIGTERM)


def test_a_tree_has_children_grandchildren_and_the_session(session: list[subprocess.Popen[bytes]]) -> None:
    """A child with a session of its own is still the command's, and so is an orphan of the command's session."""
    process = _start(
        session, "(sleep 1001 & ) ; setsid sleep 1002 & sh -c 'sleep 1003 & wait' & echo ready; wait"
    )
    tree = processes.Tree(process.pid)
    # sh, its sleep 1001 (orphan), 1002 (own session), inner sh, 1003
    until(lambda: len(tree.members()) == 5, what="all five processes")
    assert tree.signal(signal.SIGKILL)
    until(lambda: not tree.members(), what="the end of all five")


def test_a_daemon_is_not_in_the_tree(session: list[subprocess.Popen[bytes]]) -> None:
    """As under sshd, what took a session of its own and lost its parent outlives the command."""
    process = _start(session, "(setsid sh -c 'exec sleep 1004' >/dev/null &); echo ready; exec sleep 1000")

    def daemon() -> list[processes.Process]:
        return [
            found
            for found in processes.descendants(os.getpid(), processes.running_processes())
            # The command itself leads a session too, and has the number in its line until its exec.
            if found.pid == found.session != process.pid
            and b"1004" in Path(f"/proc/{found.pid}/cmdline").read_bytes()
        ]

    found = until(daemon, what="the daemon")
    # Its parent, the subshell, may still be about to end.
    until(lambda: found[0] not in processes.Tree(process.pid).members(), what="its leaving the tree")
    processes.signal_all(found, signal.SIGKILL)
    os.waitpid(found[0].pid, 0)


def test_who_was_seen_in_the_tree_stays_in_it(session: list[subprocess.Popen[bytes]]) -> None:
    """SIGTERM ends the parents first; SIGKILL must still find the children that ignored it."""
    process = _start(session, f'setsid sh -c "{STUBBORN}" & wait')
    tree = processes.Tree(process.pid)
    until(lambda: len(tree.members()) == 3, what="shell, stubborn shell and sleep")
    tree.signal(signal.SIGTERM)
    process.wait()
    assert tree.signal(signal.SIGKILL)
    until(lambda: not tree.members(), what="the end of the stubborn one")
    until(lambda: not _orphans(), what="its reaping")


def _orphans() -> set[int]:
    _reap()
    return set()


def test_end_all_kills_who_ignores_sigterm_and_who_is_stopped(
    session: list[subprocess.Popen[bytes]],
) -> None:
    """Neither may survive a session."""
    stubborn = _start(session, STUBBORN)
    stopped = _start(session, "echo ready; kill -STOP $$; sleep 1000")
    ours = {stubborn.pid, stopped.pid}

    def left() -> list[processes.Process]:
        return [
            found
            for found in processes.descendants(os.getpid(), processes.running_processes())
            if found.session in ours
        ]

    until(lambda: "T" in Path(f"/proc/{stopped.pid}/stat").read_text().split()[2], what="the stop")
    assert processes.end_all(left, grace_seconds=0.2) == []
    assert stubborn.wait() == -signal.SIGKILL
    assert stopped.wait() == -signal.SIGTERM


def test_processes_are_found_by_their_environment(session: list[subprocess.Popen[bytes]]) -> None:
    """The only trace of an orphan where there is no subreaper."""
    process = _start(
        session, "export ROUJIAMO_COMMAND=4711-1; (setsid sleep 1000 &) ; echo ready; exec sleep 1000"
    )

    def marked() -> list[processes.Process]:
        return processes.with_environment(b"ROUJIAMO_COMMAND=4711-", processes.running_processes().values())

    until(lambda: len(marked()) == 2, what="both")
    assert process.pid in {found.pid for found in marked()}
    assert processes.end_all(marked, grace_seconds=5, reap=lambda: None) == []
    process.wait()
    _reap()


SUBREAPER = """
import os, sys, time
from roujiamo.system import processes
assert processes.become_subreaper()
os.system("(setsid sleep 1000 &)")
while len(processes.descendants(os.getpid(), processes.running_processes())) != 1:
    time.sleep(0.01)
def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
find = lambda: processes.descendants(os.getpid(), processes.running_processes())
assert processes.end_all(find, 5, reap=reap) == []
print("ready", flush=True)
"""


def test_a_subreaper_gets_its_orphans_and_ends_them() -> None:
    """This is what keeps a host clean when the worker is killed."""
    with running([sys.executable, "-c", SUBREAPER], ready="ready") as program:
        assert program.wait() == 0


PARENT = """
import os, signal, sys, time
from roujiamo.system import processes
me = os.getpid()
child = os.fork()
if child == 0:
    assert processes.signal_at_parents_end(signal.SIGKILL, me)
    print("child", os.getpid(), flush=True)
    signal.pause()
signal.pause()
"""


def test_a_process_can_be_ended_with_its_parent() -> None:
    """The kernel sees the parent's end where nobody else is left to."""
    with running([sys.executable, "-c", PARENT], ready="child") as program:
        child = int(program.ready_line.split()[1])
        assert is_alive(child)
        program.process.kill()
        program.wait()
        until(lambda: not is_alive(child), what="the child's end")
