"""A session that lives long: thousands of remote commands, hundreds of mpiexecs, and nothing grows.

The long form, on demand, is the one that counts; CI plays a short one, in which a descriptor or a thread a command
would be seen as well. `python -m pytest -s` shows the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.broker.conftest import SHIM, Session, folder, session_with
from tests.endurance.figures import Figures, assert_flat, parts_of, settled, table
from tests.jobs.conftest import MARKER, ROOT, Bench, bench
from tests.support import on_demand, requires_open_mpi, running

__all__ = ["bench", "folder"]

AT_ONCE = 8
# Before what is there is measured: caches fill, allocators take their first arenas.
WARM_UP = 32


def tell(title: str, before: dict[str, Figures], after: dict[str, Figures]) -> None:
    print(f"\n{title}")
    for name, was in before.items():
        now = after[name]
        print(
            f"  {name:18} {was.rss_kib:6} -> {now.rss_kib:6} KiB, {was.descriptors} -> {now.descriptors} descriptors, "
            f"{was.threads} -> {now.threads} threads"
        )


def run_commands(session: Session, count: int) -> None:
    """Run so many commands, some at once, each with input, output and a status of its own."""
    numbers = iter(range(count))
    lock = threading.Lock()
    wrong: list[str] = []

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            host = session.hosts[number % len(session.hosts)]["name"]
            done = subprocess.run(
                [SHIM, host, f"cat; echo err >&2; exit {number % 100}"],
                input=b"%d" % number,
                capture_output=True,
                env=session.environment(),
            )
            if (done.stdout, done.stderr, done.returncode) != (b"%d" % number, b"err\n", number % 100):
                wrong.append(f"{number}: {done}")

    workers = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("count", [64, pytest.param(2000, marks=on_demand)])
def test_remote_commands_leave_nothing_in_the_session(folder: Path, count: int) -> None:
    """Broker, driver and proxies hold after the last what they held after the first."""
    with session_with(folder) as session:
        session.wait_until_ready()
        parts = parts_of(session.client.pid, session.hosts)
        run_commands(session, WARM_UP)
        before = table(parts)
        run_commands(session, count)
        after = settled(parts, before)
        tell(f"{count} remote commands", before, after)
        assert_flat(before, after)


@requires_open_mpi
@pytest.mark.parametrize("count", [3, pytest.param(200, marks=on_demand)])
def test_mpiexecs_leave_nothing_in_the_session(bench: Bench, count: int) -> None:
    """An allocation in which a script starts one job after another."""
    assert bench.mpi is not None
    go = bench.folder / "go"
    loop = 'i=0; while [ $i -lt $0 ]; do mpiexec -n 2 sh -c "exit 0" || exit 9; i=$((i+1)); done'
    script = f"sh -c '{loop}' 2; echo warm; until test -e {go}; do sleep 0.1; done; "
    script += f"sh -c '{loop}' {count}; echo done $?; read end"
    line = [sys.executable, "-m", "roujiamo", "alloc", "-N", "2", "-n", "2", "--master", "local"]
    line += ["--env", f"{MARKER}={bench.mark}", "--", "sh", "-c", script]
    path = f"{Path(bench.mpi.mpiexec).parent}:{os.environ['PATH']}"
    with running(
        line,
        environment={**bench.environment, "PATH": path, "PYTHONPATH": str(ROOT)},
        cwd=bench.folder,
        stdin=subprocess.PIPE,
    ) as program:
        program.wait_for_line("warm", 60)
        (state,) = session_states(bench)
        parts = {**parts_of(state["pid"], state["hosts"]), "wrapper": program.pid}
        before = table(parts)
        go.touch()
        program.wait_for_line("done 0", 30 + 5 * count)
        after = settled(parts, before)
        go.unlink()
        assert program.process.stdin is not None
        program.process.stdin.close()
        program.wait()
    tell(f"{count} mpiexecs", before, after)
    assert_flat(before, after)


def session_states(bench: Bench) -> list[dict[str, object]]:
    """What `roujiamo status` says of the bench's sessions."""
    done = subprocess.run(
        [sys.executable, "-m", "roujiamo", "status", "--json"],
        env={**os.environ, **bench.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found
