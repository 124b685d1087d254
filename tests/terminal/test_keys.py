"""Ctrl-C, Ctrl-\\, Ctrl-Z and `fg`, a hang-up, `| head -n 1`: at a real terminal, each way to start a job.

What a user of mpiexec expects: the job ends or stops, the shell is there again, and nothing of the job stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import (
    mpi_environment,
    on_demand,
    open_mpis,
    processes_with,
    requires_open_mpi,
    scaled,
    state_of,
    until,
)
from tests.terminal.shell import CTRL_BACKSLASH, CTRL_C, CTRL_Z, Shell, shell

ROOT = Path(__file__).resolve().parents[2]
MARKER = "ROUJIAMO_TEST_RUN"

pytestmark = requires_open_mpi
# What CI leaves out: another test there, or another way here, shows the same.
ON_DEMAND = {
    ("test_the_keys_that_end_a_job_end_it", "run"),
    ("test_a_terminal_that_hangs_up_ends_the_job", "alloc"),
    ("test_a_reader_that_has_enough_ends_the_job", "alloc"),
    ("test_a_reader_that_has_enough_ends_the_job", "plain"),
}


class Way(NamedTuple):
    """How a job is started: what is typed first, and the line that a program's own line follows."""

    first: str
    line: str


WAYS = {
    "run": Way("", "ompirun.sh -N 2 -n 2 local"),
    "alloc": Way(f"{sys.executable} -m roujiamo alloc -N 2 -n 2 --master local", "mpiexec"),
    "plain": Way("", "mpiexec --mca plm_rsh_agent roujiamo-rsh -H agent1,agent2"),
}


class Desk:
    """A shell, a way, and a folder; `run` starts a job that says `started` twice and ends when `go` is there."""

    def __init__(self, one: Shell, way: Way, folder: Path, mark: str) -> None:
        self.shell = one
        self.way = way
        self.folder = folder
        self._mark = mark
        if way.first:
            one.type(way.first)
            one.wait_for("yours until sh ends")

    def run(self, program: str, behind: str = "") -> None:
        self.shell.type(f"{self.way.line} sh -c '{program}' {behind}")

    def run_until_go(self) -> None:
        self.run(f"echo started; until test -e {self.folder}/go; do sleep 0.1; done; echo finished")
        self.shell.wait_for("started$", count=2)

    def processes(self, pattern: str) -> list[int]:
        """The pids of those of the desk's processes whose command line has that in it."""
        found = [each.partition(" ") for each in self._processes("")]
        return [int(pid) for pid, _, words in found if pattern in words.replace("\\x00", " ")]

    def states_of_ranks(self) -> set[str]:
        """As proc(5) gives them; a rank is the shell that waits for `go`."""
        states = set()
        for pid in self.processes("'sh -c echo started"):
            with contextlib.suppress(OSError):
                states.add(state_of(pid))
        return states

    def assert_no_rank_is_left(self) -> None:
        until(lambda: not self._processes(str(self.folder / "go")), 20, "the ranks' end")

    def assert_nothing_is_left(self) -> None:
        until(lambda: not self._processes(""), 60, f"an end of {self._processes('')}")
        until(lambda: not list(self.folder.glob("roujiamo*")), 10, "the folder's end")

    def _processes(self, pattern: str) -> list[str]:
        """All but the shell itself."""
        mine = f"{self.shell.process.pid} "
        return [
            each
            for each in processes_with(MARKER, self._mark)
            if pattern in each and not each.startswith(mine)
        ]


@pytest.fixture(params=WAYS)
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk for each way; when it is left, nothing stays."""
    is_left_out = (request.function.__name__, request.param) in ON_DEMAND
    if is_left_out and os.environ.get("ROUJIAMO_TEST_FAULTS") != "1":
        pytest.skip("on demand, ROUJIAMO_TEST_FAULTS=1")
    # A unix socket's address must fit.
    folder = Path(tempfile.mkdtemp(prefix="rj-"))
    mark = uuid.uuid4().hex
    mpiexec = open_mpis()[0].mpiexec
    environment = {
        **mpi_environment(),
        "PATH": f"{ROOT / 'bin'}:{Path(mpiexec).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder),
        "XDG_RUNTIME_DIR": "",
        "SHELL": "/bin/sh",
        "ROUJIAMO_PYTHON": sys.executable,
        "ROUJIAMO_MASTER": "local:2",
        "ROUJIAMO_ENV": f"{MARKER}={mark}",
        MARKER: mark,
    }
    try:
        with shell(environment, folder) as one:
            sitting = Desk(one, WAYS[request.param], folder, mark)
            yield sitting
            one.hang_up()
            sitting.assert_nothing_is_left()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_ctrl_z_stops_the_job_and_fg_lets_it_go_on(desk: Desk) -> None:
    """The shell is there meanwhile, and the hosts stay; afterwards the job ends as if nothing had been.

    An mpiexec of Open MPI does not stop itself: it has the ranks stopped, and lets them go on at a SIGCONT. Where the
    shell has started it itself there is no prompt, here or without us, and the SIGCONT comes from elsewhere.
    """
    desk.run_until_go()
    desk.shell.keys(CTRL_Z)
    desk.shell.wait_for("Forwarding signal 20")
    until(lambda: desk.states_of_ranks() == {"T"}, 20, "the ranks' stop")
    if desk.way == WAYS["run"]:
        desk.shell.wait_for("Stopped")
        desk.shell.keys(b"\n")
        assert desk.shell.status() > 128
        desk.shell.type("fg")
        # An mpiexec that was about to read what was typed meanwhile is in the middle of that, and reads a line now.
        desk.shell.keys(b"\n")
    else:
        (launcher,) = desk.processes("mpiexec sh -c" if desk.way.first else "mpiexec --mca")
        os.kill(launcher, signal.SIGCONT)
    (desk.folder / "go").touch()
    desk.shell.wait_for("finished$", count=2)
    assert desk.shell.status() == 0


@pytest.mark.parametrize(
    "keys", [CTRL_C, pytest.param(CTRL_BACKSLASH, marks=on_demand)], ids=["c", "backslash"]
)
def test_the_keys_that_end_a_job_end_it(desk: Desk, keys: bytes) -> None:
    """Not 0, no rank goes on, and in an allocation the next job runs."""
    desk.run_until_go()
    desk.shell.keys(keys)
    assert desk.shell.status() != 0
    desk.assert_no_rank_is_left()
    if desk.way.first:
        desk.run("echo again; sleep 1")
        desk.shell.wait_for("again$", count=2)
        assert desk.shell.status() == 0


def test_a_terminal_that_hangs_up_ends_the_job(desk: Desk) -> None:
    """Its window was closed, or the connection to this machine was lost."""
    desk.run_until_go()
    desk.shell.hang_up()
    desk.assert_nothing_is_left()


def test_a_reader_that_has_enough_ends_the_job(desk: Desk) -> None:
    """`| head -n 1`: one line, and the shell is there again."""
    desk.run("while echo line; do sleep 0.2; done", behind="| head -n 1")
    desk.shell.wait_for("line$")
    desk.shell.status()
    assert desk.shell.read().count("line\n") == 1


@on_demand
def test_in_a_pipe_a_reader_that_has_enough_ends_the_job_too() -> None:
    """A script has no terminal; the pipeline ends all the same, and nothing of the job stays."""
    with tempfile.TemporaryDirectory(prefix="rj-") as folder:
        mark = uuid.uuid4().hex
        script = "bin/ompirun.sh -N 2 -n 2 local sh -c 'while echo line; do sleep 0.2; done' | head -n 1"
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=ROOT,
            timeout=scaled(60),
            env={
                **os.environ,
                **mpi_environment(),
                "TMPDIR": folder,
                "XDG_RUNTIME_DIR": "",
                "ROUJIAMO_MPIEXEC": open_mpis()[0].mpiexec,
                "ROUJIAMO_ENV": f"{MARKER}={mark}",
                MARKER: mark,
            },
        )
        assert done.stdout == b"line\n"
        until(lambda: not processes_with(MARKER, mark), 20, "an end of all")
        assert not list(Path(folder).glob("roujiamo*"))
