"""Limits that are reached: descriptors and processes, of the launch host's programs and of a running session."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.conftest import SHIM, folder, session_with
from tests.jobs.conftest import MARKER, ROOT, Bench, bench
from tests.support import on_demand, requires_open_mpi, scaled, until

__all__ = ["bench", "folder"]

# cgroup v1's and v2's controller for numbers of processes (Documentation/admin-guide/cgroup-v1/pids.rst).
PIDS = [Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")]


@requires_open_mpi
@pytest.mark.parametrize("count", [13, *(pytest.param(count, marks=on_demand) for count in range(11, 30))])
def test_too_few_descriptors_for_a_broker_are_one_sentence(bench: Bench, count: int) -> None:
    """`ulimit -n` of a shell that somebody has made small; with less than 11, a /bin/sh cannot even read a script."""
    script = f'ulimit -n {count}; exec "$0" -N 2 -n 2 --env {MARKER}={bench.mark} local true'
    done = subprocess.run(
        ["sh", "-c", script, ROOT / "bin" / "ompirun.sh"],
        capture_output=True,
        text=True,
        env={**os.environ, **bench.environment},
        timeout=scaled(60),
    )
    assert done.returncode not in (0, 2)
    assert "Traceback" not in done.stderr
    if count < 16:
        # With more of them it is the MPI that meets the limit, and says what it says.
        assert done.stderr.startswith("ompirun.sh: ")
        assert "Too many open files" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_session_without_descriptors_serves_again_when_there_are_some(folder: Path) -> None:
    """Who comes in that time waits, and nobody who is there is disturbed."""
    with session_with(folder, nodes=1, processes=1) as session, contextlib.ExitStack() as stack:
        session.wait_until_ready()
        (host,) = session.hosts
        running = subprocess.Popen(
            [SHIM, host["name"], "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=session.environment(),
        )
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"before\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"before\n"
        descriptors = Path(f"/proc/{session.client.pid}/fd")
        used = len(list(descriptors.iterdir()))
        resource.prlimit(session.client.pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
        crowd = []
        for _ in range(60):
            crowd.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
            crowd[-1].connect(session.request.folder + "/socket")
        until(lambda: len(list(descriptors.iterdir())) >= used + 20, 10, "the limit")
        late = subprocess.Popen(
            [SHIM, host["name"], "echo late"], stdout=subprocess.PIPE, env=session.environment()
        )
        running.stdin.write(b"meanwhile\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"meanwhile\n"
        for connection in crowd:
            connection.close()
        assert late.communicate(timeout=scaled(30))[0] == b"late\n"
        assert running.communicate(timeout=scaled(30))[0] == b""
        assert (late.returncode, running.returncode) == (0, 0)


@contextlib.contextmanager
def process_limit(count: int) -> Iterator[Path]:
    """A cgroup in which there may be so many processes and threads."""
    for root in PIDS:
        place = root / f"rjtest-{os.getpid()}-{count}"
        try:
            place.mkdir()
            (place / "pids.max").write_text(str(count))
        except OSError:
            with contextlib.suppress(OSError):
                place.rmdir()
            continue
        try:
            yield place
        finally:
            until(lambda: not (place / "cgroup.procs").read_text(), 20, "the end of what ran in the cgroup")
            place.rmdir()
        return
    pytest.skip("no cgroup here that limits processes (needs root and the pids controller)")


@requires_open_mpi
# From some twenty on Open MPI 4.1's mpiexec may be the one that cannot fork: it says so, and waits for ever.
@pytest.mark.parametrize("count", [4, *(pytest.param(count, marks=on_demand) for count in range(5, 20))])
def test_too_few_processes_end_the_run_with_a_sentence(bench: Bench, count: int) -> None:
    """systemd's TasksMax, or a container's: wherever it bites, the run ends in time and leaves nothing."""
    with process_limit(count) as place:
        options = f"-N 2 -n 2 --timeout 8 --env {MARKER}={bench.mark}"
        script = f'echo $$ > {place}/cgroup.procs; exec "$0" {options} local true'
        started = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", script, ROOT / "bin" / "ompirun.sh"],
            capture_output=True,
            text=True,
            env={**os.environ, **bench.environment},
            timeout=scaled(90),
        )
        assert time.monotonic() - started < scaled(60)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert done.stderr
        if count < 13:
            # With more of them it is the MPI, or a shell of its, that meets the limit, and says what it says.
            assert done.returncode != 2
            assert done.stderr.startswith("ompirun.sh: "), done.stderr
