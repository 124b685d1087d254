"""`--time-limit`: the session ends, whatever runs in it, with a status of its own."""

import fcntl
import os
import pty
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.jobs.conftest import MARKER, ROOT, Bench
from tests.support import running, until


def test_a_run_ends_at_its_time_limit_and_leaves_nothing(bench_of_each: Bench) -> None:
    """A rank that ignores TERM too; the bench sees that nothing is left."""
    program = ["sh", "-c", "trap '' TERM; echo up; sleep 100 & wait; sleep 100"]
    result = bench_of_each.ompirun("-N", "2", "-n", "2", "--time-limit", "0:02", "local", *program)
    assert result.status == 125, result.err
    assert result.out == "up\nup\n"
    assert "roujiamo: the time limit of 0:02 is reached (--time-limit); the run is ended\n" in result.err


def test_an_allocation_ends_at_its_time_limit(bench: Bench) -> None:
    """Who is deaf to TERM is killed."""
    deaf = ["sh", "-c", "trap '' TERM HUP; echo up; while :; do sleep 1; done"]
    line = [sys.executable, "-m", "roujiamo", "alloc", "--master", "local", "-t", "0:02"]
    with running(
        [*line, "--env", f"{MARKER}={bench.mark}", "--", *deaf],
        environment={**bench.environment, "PYTHONPATH": str(ROOT)},
        cwd=bench.folder,
        ready="up",
    ) as program:
        assert program.wait(60) == 125
        assert "the time limit of 0:02 is reached" in program.errors()


def test_a_shell_at_a_terminal_ends_with_its_jobs_at_the_time_limit(bench: Bench) -> None:
    """It ignores TERM, and hears HUP."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "roujiamo", "alloc", "--master", "local", "-t", "0:02"]
    line += ["--env", f"{MARKER}={bench.mark}", "--", "bash", "--norc"]
    started = time.monotonic()
    with running(
        line,
        environment={**bench.environment, "PYTHONPATH": str(ROOT)},
        cwd=bench.folder,
        stdin=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as program:
        os.close(theirs)
        os.write(ours, b"sleep 100 & echo up; sleep 200\n")
        program.wait_for_line("up")
        assert program.wait(60) == 125
        # The bench sees that both sleeps are gone.
    os.close(ours)
    assert time.monotonic() - started < 150, "the sleeps were not waited for"


def test_a_stopped_wrapper_cannot_hold_its_hosts_longer(bench: Bench) -> None:
    """Ctrl-Z is no way round the limit: status tells it, and the broker ends the session by itself."""
    if not os.environ.get("ROUJIAMO_TEST_FAULTS"):
        pytest.skip("takes half a minute: on demand, with ROUJIAMO_TEST_FAULTS=1")
    up = bench.folder / "up"
    line = [sys.executable, "-m", "roujiamo", "alloc", "--master", "local", "-t", "0:02"]
    with running(
        [*line, "--env", f"{MARKER}={bench.mark}", "--", "sh", "-c", f"touch {up}; sleep 300"],
        environment={**bench.environment, "PYTHONPATH": str(ROOT)},
        cwd=bench.folder,
    ) as program:
        until(Path(up).exists, 30, "the command")
        os.kill(program.process.pid, 19)
        sockets = bench.folder.glob("roujiamo*/*/socket")
        until(lambda: not list(sockets), 60, "the session's end")
        os.kill(program.process.pid, 18)
        assert program.wait(40) == 125
    up.unlink()
